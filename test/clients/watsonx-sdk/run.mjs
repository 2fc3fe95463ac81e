// Opt-in acceptance, not part of `npm test`: IBM's own SDK with a placeholder token, beside a router
// with a lab as IBM Cloud. Run `npm install && npm run check` in this folder, after `npm run build`
// in the root.
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
const folder = mkdtempSync(path.join(os.tmpdir(), 'openshell-watsonx-'))
const [labPort, gatewayPort] = [17_784, 17_774]
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
  await start(['lab', 'start', '--listen', lab, '--token-lifetime', '20s'], lab)
  const listen = ['--listen', `127.0.0.1:${gatewayPort}`, '--allow-endpoint', lab]
  await start(['gateway', 'start', ...listen, '--log-format', 'json'], 'gateway.started')
  const { ibm } = await (await fetch(`http://${lab}/lab/keys`)).json()
  const given = (flag, names) => names.flatMap(name => [flag, `${name}=${ibm[name]}`])
  await openshell(
    ...['provider', 'add', '--type', 'watsonx', '--name', 'my-watsonx'],
    ...given('--credential', ['IBM_CLOUD_API_KEY']),
    ...given('--config', ['WATSONX_URL', 'IBM_IAM_URL', 'WATSONX_PROJECT_ID']),
  )
  const model = 'ibm/granite-3-3-8b-instruct'
  await openshell('inference', 'set', '--provider', 'my-watsonx', '--model', model)
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
  const asked = calls.filter(call => call.path.startsWith('/ml/'))
  for (const call of asked) {
    process.stdout.write(`${call.status} ${call.method} ${call.path}\n`)
    const body = await (await fetch(`http://${lab}/lab/journal/${call.id}/body`)).json()
    if (body.model_id !== model || body.project_id !== ibm.WATSONX_PROJECT_ID) {
      throw new Error("The agent's model or project reached watsonx")
    }
  }
  if (code !== 0 || asked.length === 0) throw new Error(`The agent ended with ${code}`)
  process.stdout.write('1 passed, 0 failed\n')
} finally {
  for (const child of programs) child.kill()
  rmSync(folder, { recursive: true, force: true })
}
