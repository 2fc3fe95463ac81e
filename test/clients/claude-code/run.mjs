// Opt-in acceptance, not part of `npm test`: Claude Code answers `-p hi` beside a router, with a lab
// as Google Vertex AI. Run `npm install && npm run check` in this folder, after `npm start` or
// `npm run build` in the root.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'

const run = promisify(execFile)
const here = import.meta.dirname
const executable = path.resolve(here, '../../../dist/openshell.mjs')
const folder = mkdtempSync(path.join(os.tmpdir(), 'openshell-claude-'))
const keyFile = path.join(folder, 'sa.json')
const [labPort, gatewayPort] = [17_780, 17_770]
const env = {
  PATH: process.env.PATH,
  HOME: folder,
  OPENSHELL_STATE_DIR: path.join(folder, 'state'),
  OPENSHELL_GATEWAY_ENDPOINT: `http://127.0.0.1:${gatewayPort}`,
}
const programs = []

/** Starts a program and waits for a line that contains `text`. */
async function start(args, text) {
  const child = spawn(process.execPath, [executable, ...args], { env, cwd: folder })
  programs.push(child)
  const lines = [child.stdout, child.stderr].map(input => createInterface({ input }))
  await new Promise((resolve, reject) => {
    for (const reader of lines) reader.on('line', line => line.includes(text) && resolve())
    child.once('close', code => reject(new Error(`openshell ${args[0]} ended with ${code}`)))
  })
}

const openshell = (...args) => run(process.execPath, [executable, ...args], { env, cwd: folder })

try {
  const lab = `127.0.0.1:${labPort}`
  const place = ['--listen', lab, '--token-lifetime', '20s', '--key-file', keyFile]
  await start(['lab', 'start', ...place], lab)
  const listen = ['--listen', `127.0.0.1:${gatewayPort}`, '--allow-endpoint', lab]
  await start(['gateway', 'start', ...listen, '--log-format', 'json'], 'gateway.started')
  await openshell(
    ...['provider', 'add', '--type', 'vertex', '--name', 'my-vertex'],
    ...['--credential-file', `GOOGLE_SERVICE_ACCOUNT_JSON=${keyFile}`],
    ...['--config', `VERTEX_BASE_URL=http://${lab}/v1/projects/demo-project/locations/us-east1`],
  )
  await openshell('inference', 'set', '--provider', 'my-vertex', '--model', 'claude-sonnet-4-5')
  const claude = path.join(here, 'node_modules/.bin/claude')
  const agent = spawn(process.execPath, [executable, 'sandbox', 'run', '--', claude, '-p', 'hi'], {
    env,
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let answer = ''
  agent.stdout.setEncoding('utf8').on('data', text => {
    answer += text
  })
  const [code] = await once(agent, 'close')
  const calls = await (await fetch(`http://${lab}/lab/journal`)).json()
  process.stdout.write(`${answer}\n`)
  for (const call of calls) {
    process.stdout.write(`${call.status} ${call.method} ${call.path}\n`)
  }
  if (code !== 0 || answer.trim() === '') throw new Error(`Claude Code ended with ${code}`)
  process.stdout.write('1 passed, 0 failed\n')
} finally {
  for (const child of programs) child.kill()
  rmSync(folder, { recursive: true, force: true })
}
