// Goal: what a person notes on a provider is kept, and an expiry means what it says.
// Method: a real gateway over gRPC.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import {
  openaiProvider,
  refusal,
  startTestGateway,
  type TestGateway,
  VERTEX,
  vertexProvider,
} from '../../test/support/gateway.ts'
import { callUnary } from '../wire/client.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'

const { method } = OpenShell

let world: TestGateway
before(async () => {
  world = await startTestGateway()
})
after(() => world[Symbol.asyncDispose]())

const get = async (name: string) => {
  const { provider } = await world.call(method.getProvider, { name })
  assert.ok(provider !== undefined)
  return provider
}
const update = (name: string, more: object) =>
  world.call(method.updateProvider, { provider: { metadata: { name }, ...more } })

test('labels and annotations are kept, merged, and taken away by an empty value', async () => {
  const { lab } = world
  const metadata = { name: 'noted', labels: { team: 'a', tier: '1' }, annotations: { why: 'x' } }
  await world.call(method.createProvider, {
    provider: { ...openaiProvider(lab, 'noted'), metadata },
  })
  const read = (await get('noted')).metadata
  assert.deepEqual([read?.labels, read?.annotations], [metadata.labels, metadata.annotations])
  await world.call(method.updateProvider, {
    provider: { metadata: { name: 'noted', labels: { team: 'b', tier: '' } } },
  })
  const changed = (await get('noted')).metadata
  assert.deepEqual(changed?.labels, { team: 'b' })
  assert.deepEqual(changed?.annotations, { why: 'x' })
  assert.equal(changed?.resourceVersion, 2n)
})

test('an expiry is set by either field, cleared by 0, and only for a credential that is there', async () => {
  await world.call(method.createProvider, { provider: openaiProvider(world.lab, 'expiring') })
  const expire = (credentialExpiresAtMs: Record<string, bigint>) =>
    world.call(method.updateProvider, {
      provider: { metadata: { name: 'expiring' } },
      credentialExpiresAtMs,
    })
  await expire({ OPENAI_API_KEY: 4_000_000_000_000n })
  assert.deepEqual((await get('expiring')).credentialExpiresAtMs, {
    OPENAI_API_KEY: 4_000_000_000_000n,
  })
  await update('expiring', { credentialExpiresAtMs: { OPENAI_API_KEY: 0n } })
  assert.deepEqual((await get('expiring')).credentialExpiresAtMs, {})
  await assert.rejects(expire({ OTHER: 1n }), refusal('invalid_argument', /"OTHER"/))
  await assert.rejects(expire({ OPENAI_API_KEY: -1n }), refusal('invalid_argument'))
})

test('a static key whose expiry has come is in no bundle', async () => {
  await world.call(method.createProvider, { provider: openaiProvider(world.lab, 'ended') })
  await world.call(Inference.method.setInferenceRoute, { providerName: 'ended', modelId: 'm' })
  const { channel } = await world.sandbox('reader')
  const bundle = () =>
    callUnary(channel, Inference.method.getInferenceBundle, {}, { timeoutMs: 9_000 })
  const later = BigInt(Date.now() + 3_600_000)
  await update('ended', { credentialExpiresAtMs: { OPENAI_API_KEY: later } })
  assert.equal((await bundle()).routes[0]?.expiresAtMs, later)
  await update('ended', { credentialExpiresAtMs: { OPENAI_API_KEY: 1n } })
  const after = await bundle()
  assert.deepEqual(after.routes, [])
  assert.equal(after.failures[0]?.code, 'credential_expired')
})

test('what the type mints has its end among the expiries', async () => {
  await world.call(method.createProvider, { provider: vertexProvider(world.lab, 'vx') })
  const { credentials, credentialExpiresAtMs } = await get('vx')
  assert.deepEqual(credentials, { GOOGLE_SERVICE_ACCOUNT_JSON: 'REDACTED' })
  assert.ok((credentialExpiresAtMs.GOOGLE_VERTEX_AI_TOKEN ?? 0n) > BigInt(Date.now()))
  const byHand = update('vx', { credentials: { GOOGLE_VERTEX_AI_TOKEN: 'mine' } })
  await assert.rejects(byHand, refusal('failed_precondition', /refreshes GOOGLE_VERTEX_AI_TOKEN/))
})

test('a provider without a credential waits for its refresh, unless the caller needs one', async () => {
  const bare = { metadata: { name: 'bare' }, type: 'openai' }
  const needed = world.call(method.createProvider, { provider: bare, needsCredential: true })
  await assert.rejects(needed, refusal('invalid_credential', /OPENAI_API_KEY is missing/))
  const { mint } = await world.call(method.createProvider, { provider: bare })
  assert.match(mint?.warning ?? '', /no credential yet.*refresh configure bare/)
})

test('a token that was handed in serves Vertex until it ends', async () => {
  const { lab } = world
  await world.call(method.createProvider, {
    provider: {
      metadata: { name: 'static' },
      type: VERTEX,
      credentials: { GOOGLE_VERTEX_AI_TOKEN: 'handed-in' },
      config: { VERTEX_BASE_URL: `${lab.origin}/v1/projects/demo-project/locations/us-east1` },
    },
  })
  await world.call(Inference.method.setInferenceRoute, {
    ...{ providerName: 'static', modelId: 'claude-3-7-sonnet', routeName: 'sandbox-system' },
    noVerify: true,
  })
  const { channel } = await world.sandbox('second')
  const { routes } = await callUnary(
    channel,
    Inference.method.getInferenceBundle,
    {},
    { timeoutMs: 9_000 },
  )
  const route = routes.find(one => one.name === 'sandbox-system')
  assert.deepEqual([route?.apiKey, route?.expiresAtMs], ['handed-in', 0n])
})
