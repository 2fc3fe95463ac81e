// Opt-in acceptance, not part of `npm test`: Anthropic's client for Vertex AI, with a placeholder for
// Google's sign-in, beside a router with a lab as Google Vertex AI. Run `npm install && npm run check`
// in this folder, after `npm run build` in the root.
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
const folder = mkdtempSync(path.join(os.tmpdir(), 'openshell-vertex-'))
const keyFile = path.join(folder, 'sa.json')
const [labPort, gatewayPort] = [17_786, 17_776]
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
  const place = `projects/demo-project/locations/us-east1`
  await start(['lab', 'start', '--listen', lab, '--key-file', keyFile], lab)
  const listen = ['--listen', `127.0.0.1:${gatewayPort}`, '--allow-endpoint', lab]
  await start(['gateway', 'start', ...listen, '--log-format', 'json'], 'gateway.started')
  await openshell(
    ...['provider', 'add', '--type', 'vertex', '--name', 'my-vertex'],
    ...['--credential-file', `GOOGLE_SERVICE_ACCOUNT_JSON=${keyFile}`],
    ...['--config', `VERTEX_BASE_URL=http://${lab}/v1/${place}`],
  )
  await openshell('inference', 'set', '--provider', 'my-vertex', '--model', 'claude-sonnet-4-5')
  const command = [
    executable,
    'sandbox',
    'run',
    '--',
    process.execPath,
    path.join(here, 'agent.mjs'),
  ]
  const agent = spawn(process.execPath, command, {
    env,
    cwd: folder,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  const [code] = await once(agent, 'close')
  const calls = await (await fetch(`http://${lab}/lab/journal`)).json()
  for (const call of calls) process.stdout.write(`${call.status} ${call.method} ${call.path}\n`)
  if (code !== 0) throw new Error(`The agent ended with ${code}`)
  const models = `/v1/${place}/publishers/anthropic/models`
  const wanted = [
    `${models}/claude-sonnet-4-5@20250929:rawPredict`,
    `${models}/claude-sonnet-4-5@20250929:streamRawPredict`,
    `${models}/count-tokens:rawPredict`,
  ]
  const served = calls
    .filter(call => call.status === 200)
    .map(call => decodeURIComponent(call.path))
  const missing = wanted.filter(one => !served.includes(one))
  if (missing.length > 0) throw new Error(`Vertex was never asked at ${missing.join(', ')}`)
  process.stdout.write('1 passed, 0 failed\n')
} finally {
  for (const child of programs) child.kill()
  rmSync(folder, { recursive: true, force: true })
}
