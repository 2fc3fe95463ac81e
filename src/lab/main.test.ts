// Goal: the program starts, says what to do, and stops. Method: run it as its own process.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { send, startTestLab } from '../../test/support/lab.ts'
import { type LabOptions, runLab } from './main.ts'

const PROGRAM = `
  import { runLab } from ${JSON.stringify(path.join(import.meta.dirname, 'main.ts'))}
  const stop = new AbortController()
  process.on('SIGTERM', () => stop.abort())
  process.exitCode = await runLab(JSON.parse(process.argv[1]), stop.signal)
`

const OPTIONS: LabOptions = {
  listen: '127.0.0.1:0',
  tokenLifetimeMs: 20_000,
  faults: [],
  output: 'json',
}

async function withProgram(
  options: LabOptions,
  use: (stdout: string) => Promise<void>,
): Promise<void> {
  const child = spawn(process.execPath, [
    '--input-type=module',
    '-e',
    PROGRAM,
    JSON.stringify(options),
  ])
  const exited = once(child, 'exit')
  try {
    const [first] = await once(child.stdout, 'data')
    await use(String(first))
  } finally {
    child.kill('SIGTERM')
  }
  assert.deepEqual(await exited, [0, null])
}

test('as JSON it is one line, and the key file is its owner’s alone', async () => {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'lab-'))
  const keyFile = path.join(folder, 'key.json')
  await writeFile(keyFile, 'old', { mode: 0o644 })
  const faults = ['google.token status=503 count=1']
  await withProgram({ ...OPTIONS, keyFile, faults }, async stdout => {
    assert.match(stdout, /^[^\n]+\n$/)
    const place = JSON.parse(stdout)
    assert.equal(place.serviceAccountFile, keyFile)
    assert.equal(place.baseUrl, `${place.origin}/v1/projects/demo-project/locations/us-east1`)
    assert.equal((await stat(keyFile)).mode & 0o777, 0o600)
    const { text } = await send(place.serviceAccountUrl)
    assert.equal(await readFile(keyFile, 'utf8'), text)
    assert.equal((await send(`${place.origin}/token`, { body: 'a=b' })).status, 503)
  })
  await rm(folder, { recursive: true })
})

test('as text it says the two commands, ready to paste', async () => {
  await withProgram({ ...OPTIONS, output: 'text' }, async stdout => {
    const [origin = ''] = /http:\/\/127\.0\.0\.1:\d+/.exec(stdout) ?? []
    const lines = [
      `openshell gateway start --allow-endpoint ${new URL(origin).host}`,
      'openshell provider add --type vertex',
      `"$(curl -s ${origin}/lab/service-account.json)"`,
      `--config VERTEX_BASE_URL=${origin}/v1/projects/demo-project/locations/us-east1`,
      'openshell inference set --provider lab-vertex',
    ]
    for (const line of lines) assert.ok(stdout.includes(line), line)
  })
})

const MISTAKES: readonly (readonly [string, Partial<LabOptions>, string])[] = [
  ['an address without a port', { listen: '127.0.0.1' }, 'invalid_usage'],
  ['a port beyond 65535', { listen: '127.0.0.1:65536' }, 'invalid_usage'],
  ['an address of another machine', { listen: '192.0.2.1:1' }, 'invalid_argument'],
  ['a fault that says nothing', { faults: ['vertex'] }, 'invalid_usage'],
  ['a key file that cannot be written', { keyFile: '/nowhere/at/all' }, 'invalid_argument'],
]

for (const [what, changes, code] of MISTAKES) {
  test(`${what} is refused`, async () => {
    const stop = AbortSignal.abort()
    await assert.rejects(runLab({ ...OPTIONS, ...changes }, stop), { name: 'AppError', code })
  })
}

test('a port that another program has is refused in one line', async () => {
  await using testLab = await startTestLab()
  const listen = new URL(testLab.lab.origin).host
  await assert.rejects(runLab({ ...OPTIONS, listen }, AbortSignal.abort()), {
    code: 'port_taken',
    message: `Cannot listen on ${listen}: another program does`,
  })
})

test('who starts it in its own process is told what to configure', async () => {
  const stop = new AbortController()
  const options: LabOptions = {
    ...OPTIONS,
    onReady({ baseUrl, serviceAccountKey }) {
      assert.match(baseUrl, /\/v1\/projects\/demo-project\/locations\/us-east1$/)
      const { origin } = new URL(baseUrl)
      assert.equal(JSON.parse(serviceAccountKey.reveal()).token_uri, `${origin}/token`)
      stop.abort()
    },
  }
  assert.equal(await runLab(options, stop.signal), 0)
})
