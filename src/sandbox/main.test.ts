// Goal: a sandbox from registration to its last trace. Method: the program in a process of its own,
// before a scripted gateway on loopback that knows no push, so that routes come by poll.
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import net from 'node:net'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { type ScriptedGateway, startScriptedGateway } from '../../test/support/scripted-gateway.ts'
import { AppError } from '../core/errors.ts'

const SCRIPT = {
  listProviderProfiles: () => ({ profiles: [{ credentials: [{ envVars: ['ACME_LOGIN'] }] }] }),
  createSandbox: () => ({}),
  createSandboxToken: () => ({ token: 'sandbox-token' }),
  deleteSandbox: () => ({ deleted: true }),
  getInferenceBundle: () => ({ revision: 'r1' }),
}

/** What stands between the test and the program: its options as JSON, the exit code back. */
const LAUNCHER = `
import { runSandbox, serveSandbox } from ${JSON.stringify(new URL('main.ts', import.meta.url))}
import { Secret } from ${JSON.stringify(new URL('../core/secret.ts', import.meta.url))}
const { token, ...given } = JSON.parse(process.argv[1])
const note = (event, fields) => process.stderr.write(event + JSON.stringify(fields ?? {}) + '\\n')
const stop = new AbortController()
const options = {
  workspace: 'default', name: null, allow: [], listen: '127.0.0.1:0', pollIntervalMs: 200,
  environment: process.env, log: { debug() {}, info: note, warn: note, error: note },
  adminToken: () => new Secret('admin-token'),
  sandboxToken: () => (token === undefined ? null : new Secret(token)),
  output: 'json', stop: stop.signal,
  tracing: { collector: null, isPassedUpstream: false }, ...given,
}
try {
  if (given.command === undefined) process.once('SIGTERM', () => stop.abort())
  process.exitCode = await (given.command === undefined ? serveSandbox : runSandbox)(options)
} catch (error) {
  process.stderr.write(error.code + ': ' + error.message + '\\n')
  process.exitCode = 99
}`

function launch(options: object, env: NodeJS.ProcessEnv = {}): ChildProcess {
  const args = ['--input-type=module', '--eval', LAUNCHER, JSON.stringify(options)]
  return spawn(process.execPath, args, { env: { PATH: process.env.PATH, ...env } })
}

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

async function ended(program: ChildProcess): Promise<Ended> {
  assert.ok(program.stdout !== null && program.stderr !== null)
  const [stdout, stderr, [code]] = await Promise.all([
    text(program.stdout),
    text(program.stderr),
    once(program, 'exit'),
  ])
  return { code, stdout, stderr }
}

function methods(gateway: ScriptedGateway): readonly string[] {
  const asked = gateway.calls.filter(({ method }) => method !== 'GetInferenceBundle')
  return asked.map(({ method }) => method)
}

test('a command runs with its own router, and nothing of it is left', async () => {
  await using gateway = await startScriptedGateway(SCRIPT)
  const script =
    'echo "$ACME_LOGIN|$HTTPS_PROXY|$SSL_CERT_FILE"; curl -sS https://inference.local/v1/messages -d "{}"; exit 5'
  const command = ['sh', '-c', script]
  const options = { gatewayEndpoint: gateway.origin, command }
  const run = await ended(launch(options, { ACME_LOGIN: 'a secret' }))
  assert.equal(run.code, 5, run.stderr)
  const [variables = '', answer = ''] = run.stdout.split('\n')
  const [secret, proxy = '', bundle = ''] = variables.split('|')
  assert.equal(secret, '')
  assert.match(proxy, /^http:\/\/127\.0\.0\.1:\d+$/)
  assert.match(answer, /No model is configured/)
  assert.equal(existsSync(bundle), false)
  assert.deepEqual(methods(gateway), [
    'ListProviderProfiles',
    'CreateSandbox',
    'CreateSandboxToken',
    'DeleteSandbox',
  ])
  for (const { method, authorization } of gateway.calls) {
    const isRouter = method === 'GetInferenceBundle'
    assert.equal(authorization, isRouter ? 'Bearer sandbox-token' : 'Bearer admin-token', method)
  }
})

test('a named sandbox that is there is used and stays', async () => {
  const createSandbox = () => {
    throw new AppError('already_exists', 'It is there')
  }
  await using gateway = await startScriptedGateway({ ...SCRIPT, createSandbox })
  const options = { gatewayEndpoint: gateway.origin, name: 'ci', command: ['true'] }
  assert.equal((await ended(launch(options))).code, 0)
  const token = gateway.calls.find(({ method }) => method === 'CreateSandboxToken')
  assert.deepEqual(token?.request, { sandboxName: 'ci', workspace: 'default' })
  assert.ok(!methods(gateway).includes('DeleteSandbox'))
})

test('a run whose port is taken ends without leaving its sandbox behind', async () => {
  await using gateway = await startScriptedGateway(SCRIPT)
  const listen = new URL(gateway.origin).host
  const options = { gatewayEndpoint: gateway.origin, listen, command: ['true'] }
  const run = await ended(launch(options))
  assert.match(run.stderr, /^port_taken: /m)
  assert.equal(methods(gateway).at(-1), 'DeleteSandbox')
})

for (const { name, options, expected } of [
  {
    name: 'no gateway',
    options: { gatewayEndpoint: 'http://127.0.0.1:1' },
    expected: /^gateway_unreachable: Cannot reach the gateway at "http:\/\/127\.0\.0\.1:1"$/m,
  },
  {
    name: 'an address that is none',
    options: { gatewayEndpoint: 'nonsense' },
    expected: /^invalid_usage: /m,
  },
  {
    name: 'a listen address that is none',
    options: { gatewayEndpoint: 'http://127.0.0.1:1', listen: '4000' },
    expected: /^invalid_usage: Cannot listen on "4000"/m,
  },
  {
    name: 'an allowed host that is none',
    options: { gatewayEndpoint: 'http://127.0.0.1:1', allow: ['*'] },
    expected: /^invalid_argument: /m,
  },
]) {
  test(`a run with ${name} fails in words`, async () => {
    const run = await ended(launch({ ...options, command: ['true'] }))
    assert.equal(run.code, 99)
    assert.match(run.stderr, expected)
  })
}

test('a run that is not allowed says what the gateway said', async () => {
  const createSandbox = () => {
    throw new AppError('permission_denied', 'Only administrators may')
  }
  await using gateway = await startScriptedGateway({ ...SCRIPT, createSandbox })
  const run = await ended(launch({ gatewayEndpoint: gateway.origin, command: ['true'] }))
  assert.match(run.stderr, /^permission_denied: Only administrators may$/m)
})

test('a run that is ended while it waits for routes cleans up', async () => {
  const { getInferenceBundle: _, ...withoutRoutes } = SCRIPT
  await using gateway = await startScriptedGateway(withoutRoutes)
  const program = launch({ gatewayEndpoint: gateway.origin, command: ['true'] })
  const end = ended(program)
  while (!gateway.calls.some(({ method }) => method === 'GetInferenceBundle')) await pause()
  program.kill('SIGTERM')
  assert.equal((await end).code, 143)
  assert.equal(methods(gateway).at(-1), 'DeleteSandbox')
})

test('a router with a token of its own serves until it is stopped', async () => {
  await using gateway = await startScriptedGateway(SCRIPT)
  const options = { gatewayEndpoint: gateway.origin, name: 'ci', token: 'given-token' }
  const program = launch(options)
  const addresses = await firstLine(program)
  assert.deepEqual(Object.keys(addresses), ['sandbox', 'proxyUrl', 'baseUrl', 'caFile'])
  assert.equal(addresses.sandbox, 'ci')
  assert.ok(existsSync(String(addresses.caFile)))
  const answer = await fetch(`${addresses.baseUrl}/v1/messages`, { method: 'POST', body: '{}' })
  assert.equal(answer.headers.get('x-openshell-error'), 'inference_not_configured')
  program.kill('SIGTERM')
  assert.equal((await once(program, 'exit'))[0], 0)
  assert.equal(existsSync(String(addresses.caFile)), false)
  assert.deepEqual(methods(gateway), [])
  assert.equal(gateway.calls[0]?.authorization, 'Bearer given-token')
})

test('a router without a token waits for its gateway, registers and leaves', async () => {
  const door = net.createServer()
  door.listen(0, '127.0.0.1')
  await once(door, 'listening')
  const address = door.address()
  assert.ok(address !== null && typeof address === 'object')
  // The first connection is refused like any to a gateway that is not up yet.
  const refused = once(door, 'connection').then(([socket]) => socket.destroy())
  const program = launch({ gatewayEndpoint: `http://127.0.0.1:${address.port}` })
  await refused
  await using gateway = await startScriptedGateway(SCRIPT)
  door.on('connection', socket => {
    const inside = net.connect(Number(new URL(gateway.origin).port), '127.0.0.1')
    socket.pipe(inside).pipe(socket)
    socket.on('error', () => inside.destroy())
    inside.on('error', () => socket.destroy())
  })
  const { sandbox } = await firstLine(program)
  assert.match(String(sandbox), /^run-[0-9a-f]{10}$/)
  program.kill('SIGTERM')
  assert.equal((await once(program, 'exit'))[0], 0)
  assert.equal(methods(gateway).at(-1), 'DeleteSandbox')
  door.close()
})

async function firstLine(program: ChildProcess): Promise<Record<string, unknown>> {
  assert.ok(program.stdout !== null)
  const [line] = await once(program.stdout, 'data')
  return JSON.parse(String(line))
}

function pause(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, 10))
}
