// What the opt-in client scripts share: a lab and a gateway of their own, and an agent beside a router.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const run = promisify(execFile)
const executable = path.resolve(import.meta.dirname, '../../dist/openshell.mjs')

/**
 * Starts a lab and a gateway that may reach it, in a folder of their own, and hands `use` what it needs:
 * the lab's `host:port`, the `keyFile` of its service account, `openshell(...args)`, `agent(command)`
 * that runs a command in a sandbox and answers `{ code, output }`, and `journal()`, the lab's calls.
 * Whatever `use` throws fails the script; all is removed in the end.
 */
export async function besideLab({ labPort, gatewayPort, labOptions = [] }, use) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'openshell-client-'))
  const keyFile = path.join(folder, 'sa.json')
  const lab = `127.0.0.1:${labPort}`
  const env = {
    PATH: process.env.PATH,
    HOME: folder,
    OPENSHELL_STATE_DIR: path.join(folder, 'state'),
    OPENSHELL_GATEWAY_ENDPOINT: `http://127.0.0.1:${gatewayPort}`,
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

  const agent = async command => {
    const args = [executable, 'sandbox', 'run', '--', ...command]
    const stdio = ['ignore', 'pipe', 'inherit']
    const child = spawn(process.execPath, args, { env, cwd: folder, stdio })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', text => {
      output += text
      process.stdout.write(text)
    })
    const [code] = await once(child, 'close')
    return { code, output }
  }

  /** The lab's calls, each also printed. */
  const journal = async () => {
    const calls = await (await fetch(`http://${lab}/lab/journal`)).json()
    for (const { status, method, path: at } of calls) {
      process.stdout.write(`${status} ${method} ${at}\n`)
    }
    return calls
  }

  try {
    const place = ['--listen', lab, '--key-file', keyFile, ...labOptions]
    await start(['lab', 'start', ...place], lab)
    const listen = ['--listen', `127.0.0.1:${gatewayPort}`, '--allow-endpoint', lab]
    await start(['gateway', 'start', ...listen, '--log-format', 'json'], 'gateway.started')
    await use({ lab, keyFile, openshell, agent, journal })
    process.stdout.write('1 passed, 0 failed\n')
  } finally {
    for (const child of programs) child.kill()
    rmSync(folder, { recursive: true, force: true })
  }
}
