// What the opt-in client scripts share: a lab and a gateway of their own, and an agent beside a router.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const run = promisify(execFile)
/** No agent may take longer. */
const AGENT_MS_MAX = 120_000
const POLL_MS = 1_000
const PRINTED_CHARACTERS_MAX = 2_000
const executable = path.resolve(import.meta.dirname, '../../dist/openshell.mjs')

/**
 * Starts a lab and a gateway that may reach it, in a folder of their own, and hands `use` what it needs:
 * the `host:port` of the lab and of the gateway, the `keyFile` of its service account, `openshell(...args)`,
 * `agent(command, { input, isInterrupted, env })` that runs a command in a sandbox, with `input` on its
 * standard input, perhaps interrupted while an answer comes, and with more in its environment, and answers `{ code, output }`, and `journal()`, the lab's calls.
 * Whatever `use` throws fails the script; all is removed in the end.
 */
export async function besideLab({ labOptions = [], gatewayOptions = [] }, use) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'openshell-client-'))
  const keyFile = path.join(folder, 'sa.json')
  const lab = await freeAddress()
  const gateway = await freeAddress()
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    OPENSHELL_STATE_DIR: path.join(folder, 'state'),
    OPENSHELL_GATEWAY_ENDPOINT: `http://${gateway}`,
  }
  const programs = []

  /** Starts a program and waits for a line that contains `text`. */
  const start = async (args, text) => {
    const child = spawn(process.execPath, [executable, ...args], { env, cwd: folder })
    programs.push(child)
    const lines = [child.stdout, child.stderr].map(input => createInterface({ input }))
    await new Promise((resolve, reject) => {
      for (const reader of lines) reader.on('line', line => line.includes(text) && resolve())
      child.once('close', code => reject(new Error(`openshell ${args[0]} ended with ${code}`)))
    })
  }

  const openshell = (...args) => run(process.execPath, [executable, ...args], { env, cwd: folder })

  /** Waits until an inference API has been answering a child for a moment. */
  const whileAnswered = async child => {
    const isOpen = ({ outcome, tokenId }) => outcome === 'open' && tokenId !== ''
    while (child.exitCode === null) {
      await sleep(POLL_MS)
      if ((await journal()).some(isOpen)) break
    }
    await sleep(POLL_MS)
  }

  const agent = async (command, { input = '', isInterrupted = false, env: more = {} } = {}) => {
    const args = [executable, 'sandbox', 'run', '--', ...command]
    // A file, because a program may fail at a pipe that cannot take all at once.
    const logFile = path.join(folder, 'agent.log')
    const stdio = ['pipe', 'pipe', openSync(logFile, 'w')]
    const place = { env: { ...env, ...more }, cwd: folder, stdio, detached: true }
    const child = spawn(process.execPath, args, place)
    closeSync(stdio[2])
    const limit = setTimeout(() => child.kill('SIGKILL'), AGENT_MS_MAX)
    // As a terminal does it: all programs of the group hear it.
    if (isInterrupted) void whileAnswered(child).then(() => process.kill(-child.pid, 'SIGINT'))
    let output = ''
    child.stdin.on('error', () => undefined).end(input)
    child.stdout.setEncoding('utf8').on('data', text => {
      output += text
      process.stdout.write(shortened(text))
    })
    const [code] = await once(child, 'close')
    clearTimeout(limit)
    const log = readFileSync(logFile, 'utf8')
    process.stdout.write(shortened(log))
    return { code, output: output + log }
  }

  /** The lab's calls, oldest first. */
  const journal = async () => (await fetch(`http://${lab}/lab/journal?limit=5000`)).json()

  try {
    const place = ['--listen', lab, '--key-file', keyFile, ...labOptions]
    await start(['lab', 'start', ...place], lab)
    const listen = ['--listen', gateway, '--allow-endpoint', lab, ...gatewayOptions]
    await start(['gateway', 'start', ...listen, '--log-format', 'json'], 'gateway.started')
    await use({ lab, gateway, keyFile, openshell, agent, journal })
    process.stdout.write('1 passed, 0 failed\n')
  } finally {
    for (const child of programs) child.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A loopback address that was free a moment ago. */
async function freeAddress() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  return `127.0.0.1:${port}`
}

function shortened(text) {
  if (text.length <= PRINTED_CHARACTERS_MAX) return text
  return `${text.slice(0, PRINTED_CHARACTERS_MAX)}… (${text.length} characters)\n`
}
