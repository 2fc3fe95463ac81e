// Goal: OpenShell's supervisor boots, polls and renews its token here. Its program cannot be had, so its
// calls are replayed in its order, with messages made by hand from the table of field numbers.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import {
  openaiProvider,
  startTestGateway,
  type TestGateway,
  vertexProvider,
} from '../support/gateway.ts'
import { connect, type ForeignClient } from './client.ts'
import { integer, message, nested, text } from './fields.ts'

const SANDBOX = 'box'

let world: TestGateway
let supervisor: ForeignClient
let token = ''
let sandboxId = ''

before(async () => {
  world = await startTestGateway()
  supervisor = connect(world.origin)
  token = (await world.sandbox(SANDBOX)).token.reveal()
  const admin = world.adminToken.reveal()
  const call = (method: string, request: Buffer) => supervisor.call(method, request, admin)
  sandboxId = (await call('GetSandbox', text(1, SANDBOX))).one(1).one(1).text(1)
  for (const made of [vertexProvider(world.lab, 'vx'), openaiProvider(world.lab, 'oa')]) {
    const entries = (field: number, map: object) =>
      message(
        ...Object.entries(map).map(([key, value]) =>
          nested(field, message(text(1, key), text(2, String(value)))),
        ),
      )
    const { metadata, type, credentials, config } = made
    const provider = message(
      ...[nested(1, text(2, metadata.name)), text(2, type)],
      ...[entries(3, credentials), entries(4, config)],
    )
    await call('CreateProvider', nested(1, provider))
    const attach = message(text(1, SANDBOX), text(2, metadata.name))
    await call('AttachSandboxProvider', attach)
  }
  const route = (provider: string, model: string, name: string) =>
    message(text(1, provider), text(2, model), text(3, name), integer(5, 1))
  await call('SetInferenceRoute', route('vx', 'claude-sonnet-4-5', ''))
  await call('SetInferenceRoute', route('oa', 'gpt-5.5', 'sandbox-system'))
})
after(async () => {
  supervisor.close()
  await world[Symbol.asyncDispose]()
})

const ask = (method: string, request?: Buffer) => supervisor.call(method, request, token)
const own = () => text(1, sandboxId)
const rotate = () =>
  supervisor.call('RotateProviderCredential', text(1, 'vx'), world.adminToken.reveal())

test('without a policy it tells the one that it started with, and gets that from then on', async () => {
  const first = await ask('GetSandboxConfig', own())
  assert.ok(!first.has(1), 'no policy yet')
  const rule = message(text(1, 'api'), nested(2, text(1, 'api')))
  const policy = message(integer(1, 1), nested(5, rule))
  const told = await ask('UpdateConfig', message(text(1, SANDBOX), nested(2, policy)))
  assert.equal(told.integer(1), 1n)
  const second = await ask('GetSandboxConfig', own())
  assert.deepEqual([second.integer(2), second.text(3)], [1n, told.text(2)])
  assert.deepEqual(second.one(1).keys(5), ['api'])
  assert.equal(second.integer(6), 1n, 'the policy is the sandbox’s own')
  assert.equal(second.text(10), 'default')
  assert.ok(second.keys(4).includes('ocsf_json_enabled'))
})

test('the environment: values, their ends, their places, and what is no secret', async () => {
  const answer = await ask('GetSandboxProviderEnvironment', message(own(), integer(2, 1)))
  const environment = answer.map(1)
  assert.match(environment.GOOGLE_VERTEX_AI_TOKEN ?? '', /^ya29\./)
  assert.equal(environment.GCP_PROJECT_ID, 'demo-project')
  assert.ok(!Object.values(environment).some(value => value.includes('PRIVATE KEY')))
  const [end] = answer.all(3)
  assert.equal(end?.text(1), 'GOOGLE_VERTEX_AI_TOKEN')
  assert.ok((end?.integer(2) ?? 0n) > BigInt(Date.now()))
  const open = answer.texts(6)
  const secrets = Object.keys(environment).filter(key => !open.includes(key))
  assert.deepEqual(answer.keys(5).toSorted(), secrets.toSorted(), 'each secret has its place')
  for (const entry of answer.all(5)) {
    const binding = entry.one(2)
    const endpoint = binding.one(1)
    assert.deepEqual([endpoint.text(1), endpoint.text(3)], ['127.0.0.1', '/**'])
    assert.equal(endpoint.integer(2), BigInt(new URL(world.lab.origin).port))
    assert.match(binding.text(3), /^[0-9a-f]{64}$/)
  }
  const config = await ask('GetSandboxConfig', own())
  assert.equal(config.integer(8), answer.integer(2), 'the poll tells the same revision')
})

test('the bundle: both routes, each with what a router of OpenShell picks headers and paths by', async () => {
  const bundle = await ask('GetInferenceBundle')
  assert.match(bundle.text(2), /^[0-9a-f]{16}$/)
  assert.ok(bundle.integer(3) > 0n)
  const [user, system] = bundle.all(1)
  assert.equal(user?.text(1), 'inference.local')
  assert.match(user?.text(2) ?? '', /\/publishers\/anthropic\/models$/)
  assert.ok(user?.texts(3).includes('anthropic_messages'))
  assert.match(user?.text(4) ?? '', /^ya29\./)
  assert.match(user?.text(5) ?? '', /^claude-sonnet-4-5/)
  assert.equal(user?.text(6), 'google-vertex-ai')
  assert.deepEqual([user?.integer(7), user?.integer(8)], [60n, 1n])
  assert.equal(user?.text(9), ':rawPredict')
  assert.deepEqual([system?.text(1), system?.text(6)], ['sandbox-system', 'openai'])
  assert.ok(!system?.has(9), 'absent is not the same as empty')
})

test('polls: the same until a token is new, then another revision in both answers', async () => {
  const bundle = await ask('GetInferenceBundle')
  const config = await ask('GetSandboxConfig', own())
  assert.equal((await ask('GetInferenceBundle')).text(2), bundle.text(2))
  await rotate()
  const later = await ask('GetInferenceBundle')
  assert.notEqual(later.text(2), bundle.text(2))
  assert.notEqual(later.all(1)[0]?.text(4), bundle.all(1)[0]?.text(4))
  assert.notEqual((await ask('GetSandboxConfig', own())).integer(8), config.integer(8))
})

test('the token is renewed; the new one serves', async () => {
  const renewed = await ask('RefreshSandboxToken')
  assert.ok(renewed.integer(2) > BigInt(Date.now()))
  const payload = Buffer.from(renewed.text(1).split('.')[1] ?? '', 'base64url').toString()
  assert.equal(JSON.parse(payload).sub, `spiffe://openshell/sandbox/${sandboxId}`)
  await supervisor.call('GetSandboxConfig', own(), renewed.text(1))
})

test('reports are taken, and shown to people', async () => {
  await ask('ReportPolicyStatus', message(own(), integer(2, 1), integer(3, 2)))
  await ask('ReportMainProcessExit', message(own(), text(2, 'run'), integer(3, 9)))
  const box = await supervisor.call('GetSandbox', text(1, SANDBOX), world.adminToken.reveal())
  const status = box.one(1).one(3)
  assert.deepEqual([status.integer(6), status.integer(7)], [2n, 1n])
  assert.deepEqual([status.text(8), status.integer(9)], ['run', 9n])
})

test('who asks wrongly is told by the status that its exit code follows', async () => {
  const admin = world.adminToken.reveal()
  assert.equal(
    await supervisor.statusOf('GetSandboxConfig', text(1, 'other'), token),
    'PERMISSION_DENIED',
  )
  assert.equal(await supervisor.statusOf('GetSandboxConfig', own(), admin), 'PERMISSION_DENIED')
  assert.equal(await supervisor.statusOf('GetSandboxConfig', own(), 'x.y.z'), 'UNAUTHENTICATED')
  assert.equal(await supervisor.statusOf('GetSandboxConfig', own()), 'UNAUTHENTICATED')
  assert.equal(
    await supervisor.statusOf('IssueSandboxToken', undefined, token),
    'PERMISSION_DENIED',
  )
  await supervisor.call('DeleteSandbox', text(1, SANDBOX), admin)
  assert.equal(await supervisor.statusOf('GetInferenceBundle', undefined, token), 'NOT_FOUND')
})
