import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { NOW_MS, nextJsonLine, runOpenShell } from '../../test/support/command-line.ts'
import { type ScriptedGateway, startScriptedGateway } from '../../test/support/scripted-gateway.ts'
import { AppError } from '../core/errors.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'openshell-cli-'))

after(() => rmSync(folder, { recursive: true }))

/** What a gateway without routes says to a router. */
const EMPTY_GATEWAY = {
  listProviderProfiles: () => ({}),
  createSandbox: () => ({}),
  createSandboxToken: () => ({ token: 'sandbox-token', sandboxId: 's-1' }),
  deleteSandbox: () => ({ deleted: true }),
  getInferenceBundle: () => ({ revision: 'r1' }),
}

function run(gateway: ScriptedGateway, words: readonly string[], stop?: AbortSignal) {
  const env = { OPENSHELL_GATEWAY_ENDPOINT: gateway.origin, PATH: process.env.PATH ?? '' }
  return runOpenShell(['sandbox', ...words], stop === undefined ? { env } : { env, stop })
}

test('create, list and delete say what was done', async () => {
  const metadata = {
    id: 's-1',
    name: 'ci',
    workspace: 'default',
    createdAtMs: BigInt(NOW_MS - 6e4),
  }
  await using gateway = await startScriptedGateway({
    createSandbox: () => ({ sandbox: { metadata } }),
    listSandboxes: () => ({ sandboxes: [{ metadata }] }),
    deleteSandbox: () => ({ deleted: gateway.calls.at(-1)?.method === 'DeleteSandbox' }),
  })
  assert.equal((await run(gateway, ['create', 'ci'])).out, '✓ Created sandbox ci\n')
  assert.equal(
    (await run(gateway, ['list'])).out,
    'NAME  ID   CREATED\nci    s-1  13:04:00 (60 s ago)\n',
  )
  assert.deepEqual(JSON.parse((await run(gateway, ['list', '-o', 'json'])).out), [
    { id: 's-1', name: 'ci', workspace: 'default', created_at: '2099-11-24T12:04:00.000Z' },
  ])
  assert.equal((await run(gateway, ['delete', 'ci'])).out, '✓ Deleted sandbox ci\n')
  gateway.script = { deleteSandbox: () => ({}), listSandboxes: () => ({}) }
  assert.deepEqual(await run(gateway, ['delete', 'ci']), {
    code: 1,
    out: '',
    err: '! Sandbox ci not found\n',
  })
  assert.equal((await run(gateway, ['list'])).out, 'No sandboxes found.\n')
})

test('a sandbox is created with providers and labels', async () => {
  await using gateway = await startScriptedGateway({ createSandbox: () => ({}) })
  const words = ['create', 'ci', '--provider', 'vx', '--provider', 'oa', '--label', 'env=test']
  assert.equal((await run(gateway, words)).code, 0)
  assert.deepEqual(gateway.calls[0]?.request, {
    ...{ name: 'ci', workspace: 'default', labels: { env: 'test' } },
    spec: { providers: ['vx', 'oa'] },
  })
})

test('token prints the bare token', async () => {
  await using gateway = await startScriptedGateway(EMPTY_GATEWAY)
  assert.deepEqual(await run(gateway, ['token', 'ci']), {
    code: 0,
    out: 'sandbox-token\n',
    err: '',
  })
  assert.deepEqual(gateway.calls[0]?.request, { sandboxName: 'ci', workspace: 'default' })
})

test('run hands everything behind its name to the command, and passes its exit code', async () => {
  await using gateway = await startScriptedGateway(EMPTY_GATEWAY)
  const script = 'process.exit(process.argv[2] === "-o" && process.argv[3] === "--" ? 7 : 1)'
  const file = path.join(folder, 'agent.cjs')
  writeFileSync(file, script)
  const { code, err } = await run(gateway, ['run', '--', process.execPath, file, '-o', '--'])
  assert.equal(err, '')
  assert.equal(code, 7)
  assert.ok(gateway.calls.some(call => call.method === 'DeleteSandbox'))
})

test('run says why a gateway refused, and where the token was looked for', async () => {
  await using gateway = await startScriptedGateway({
    ...EMPTY_GATEWAY,
    createSandbox: () => {
      throw new AppError('unauthenticated', 'A token is required')
    },
  })
  const { code, err } = await run(gateway, ['run', '--', 'true'])
  assert.equal(code, 4)
  assert.match(err, /^error: A token is required\nhint: There is no token at /)
})

test('a wrong flag of run or serve is refused before anything starts', async () => {
  await using gateway = await startScriptedGateway(EMPTY_GATEWAY)
  const rows: readonly (readonly [words: readonly string[], line: RegExp])[] = [
    [['run'], /missing required argument/],
    [['run', '--allow', 'a/b', '--', 'true'], /Cannot allow endpoint "a\/b"/],
    [['serve', '--listen', 'here', '-o', 'yaml'], /--listen takes .*; -o takes text, json/],
    [['serve', '--sandbox-token-file', '/nonexistent'], /Cannot read the sandbox token file/],
  ]
  for (const [words, line] of rows) {
    const { code, err } = await run(gateway, words)
    assert.equal(code, 2, err)
    assert.match(err, line)
  }
  assert.equal(gateway.calls.length, 0)
})

test('serve uses the token of the sandbox and ends with 0 when it is stopped', async t => {
  await using gateway = await startScriptedGateway(EMPTY_GATEWAY)
  const file = path.join(folder, 'sandbox.token')
  writeFileSync(file, 'from-file\n')
  const stop = new AbortController()
  const ready = nextJsonLine(t)
  const ended = run(gateway, ['serve', '--sandbox-token-file', file, '-o', 'json'], stop.signal)
  const { proxyUrl } = JSON.parse(await ready)
  const answer = Promise.withResolvers<number | undefined>()
  request(`${proxyUrl}/v1/models`, response => {
    response.resume()
    answer.resolve(response.statusCode)
  }).end()
  assert.equal(await answer.promise, 503)
  stop.abort()
  assert.equal((await ended).code, 0)
  const calls = gateway.calls.map(call => `${call.method} ${call.authorization}`)
  assert.deepEqual([...new Set(calls)], ['GetInferenceBundle Bearer from-file'])
})
