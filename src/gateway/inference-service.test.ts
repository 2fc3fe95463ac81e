// Goal: routes count their versions, and a bundle holds what a sandbox may have and nothing dead.
// Method: a real gateway over gRPC; where time matters, a clock that the test moves.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { FakeClock } from '../../test/support/fake-clock.ts'
import {
  openaiProvider,
  refusal,
  startTestGateway,
  type TestGateway,
  until,
  VERTEX,
  vertexProvider,
} from '../../test/support/gateway.ts'
import type { ErrorCode } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { callUnary, type GatewayChannel } from '../wire/client.ts'
import { Delivery } from '../wire/gen/openshell/delivery/v1/delivery_pb.ts'
import {
  Inference,
  type SetInferenceRouteRequestSchema,
} from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'

const { method } = Inference
const BASE = '/v1/projects/demo-project/locations/us-east1'

let world: TestGateway
before(async () => {
  world = await startTestGateway()
  await addProviders(world, '')
})
after(() => world[Symbol.asyncDispose]())

async function addProviders(to: TestGateway, workspace: string): Promise<void> {
  const providers = [vertexProvider(to.lab, 'vx'), openaiProvider(to.lab, 'oa')]
  for (const provider of providers)
    await to.call(OpenShell.method.createProvider, { provider, workspace })
}
const set = (request: MessageInitShape<typeof SetInferenceRouteRequestSchema>) =>
  world.call(method.setInferenceRoute, request)
const fetchBundle = (channel: GatewayChannel) =>
  callUnary(channel, method.getInferenceBundle, {}, { timeoutMs: 10_000 })

test('a route is set, counted, read and deleted', async () => {
  await assert.rejects(world.call(method.getInferenceRoute, {}), refusal('not_found'))
  const first = await set({ providerName: 'oa', modelId: 'gpt-1' })
  assert.equal(first.version, 1n)
  assert.equal(first.routeName, 'inference.local')
  assert.equal(first.workspace, 'default')
  assert.equal(first.timeoutSecs, 0n)
  assert.equal(first.validatedEndpoints[0]?.url, `${world.lab.origin}/openai/v1/chat/completions`)
  const second = await set({
    providerName: 'vx',
    modelId: 'claude-3-7-sonnet',
    routeName: 'inference.local',
    timeoutSecs: 90n,
  })
  assert.equal(second.version, 2n)
  const { $typeName: _, ...read } = await world.call(method.getInferenceRoute, { routeName: '' })
  assert.deepEqual(read, {
    providerName: 'vx',
    modelId: 'claude-3-7-sonnet',
    version: 2n,
    routeName: 'inference.local',
    timeoutSecs: 90n,
    workspace: 'default',
  })
  assert.equal(
    (await set({ providerName: 'oa', modelId: 'm', routeName: 'sandbox-system' })).version,
    1n,
  )
  assert.equal((await world.call(method.deleteInferenceRoute, {})).deleted, true)
  assert.equal((await world.call(method.deleteInferenceRoute, {})).deleted, false)
  assert.ok(await world.call(method.getInferenceRoute, { routeName: 'sandbox-system' }))
})

test('what cannot serve is refused', async t => {
  const oa = { providerName: 'oa', modelId: 'm' }
  const rows: readonly [string, Parameters<typeof set>[0], ErrorCode | null][] = [
    ['unknown provider', { ...oa, providerName: 'nope' }, 'failed_precondition'],
    ['no provider', { ...oa, providerName: '' }, 'failed_precondition'],
    ['unknown route', { ...oa, routeName: 'other' }, 'invalid_argument'],
    ['timeout of a day', { ...oa, timeoutSecs: 86_400n }, null],
    ['timeout above a day', { ...oa, timeoutSecs: 86_401n }, 'invalid_argument'],
    ['largest timeout there is', { ...oa, timeoutSecs: 2n ** 64n - 1n }, 'invalid_argument'],
    ['no model', { ...oa, modelId: '' }, 'invalid_argument'],
    ['model that climbs', { providerName: 'vx', modelId: '../x' }, 'invalid_argument'],
    ['model with a query', { providerName: 'vx', modelId: 'claude?x=1' }, 'invalid_argument'],
    ['provider of another workspace', { ...oa, workspace: 'elsewhere' }, 'failed_precondition'],
  ]
  for (const [label, request, code] of rows) {
    await t.test(label, async () => {
      if (code === null) assert.ok(await set(request))
      else await assert.rejects(set(request), refusal(code))
    })
  }
  const other = { routeName: 'x' }
  await assert.rejects(world.call(method.getInferenceRoute, other), refusal('invalid_argument'))
  await assert.rejects(world.call(method.deleteInferenceRoute, other), refusal('invalid_argument'))
})

test('a route to a provider without a token is refused, unless told to', async () => {
  const workspace = 'tokenless'
  world.lab.faults.set('google.token status=400 error=invalid_grant')
  await world.call(OpenShell.method.createProvider, {
    provider: vertexProvider(world.lab, 'dead'),
    workspace,
    noVerify: true,
  })
  world.lab.faults.clear()
  const route = { providerName: 'dead', modelId: 'claude-3-7-sonnet', workspace }
  await assert.rejects(
    set(route),
    refusal('no_valid_token', /"dead" has no valid token.*--no-verify/),
  )
  assert.equal((await set({ ...route, noVerify: true })).version, 1n)
})

test('of many settings at once none is lost unnoticed', async () => {
  const workspace = 'crowd'
  await addProviders(world, workspace)
  const settled = await Promise.allSettled(
    Array.from({ length: 20 }, (_, index) =>
      set({ providerName: 'oa', modelId: `m${index}`, workspace }),
    ),
  )
  for (const one of settled) {
    if (one.status === 'rejected') refusal('version_conflict', /Repeat/)(one.reason)
  }
  const wins = settled.filter(one => one.status === 'fulfilled').length
  assert.equal((await world.call(method.getInferenceRoute, { workspace })).version, BigInt(wins))
})

test('a route that the vendor would not serve is refused, in its words, unless told to', async () => {
  const workspace = 'validated'
  await addProviders(world, workspace)
  const wrong = { OPENAI_API_KEY: 'no-such-key' }
  await world.call(OpenShell.method.updateProvider, {
    provider: { metadata: { name: 'oa' }, credentials: wrong },
    workspace,
  })
  const route = { providerName: 'oa', modelId: 'gpt-4o', workspace }
  await assert.rejects(set(route), refusal('failed_precondition', /answered 401.*--no-verify/s))
  const told = await set({ ...route, noVerify: true })
  assert.deepEqual(
    [told.validationPerformed, told.validatedEndpoints, told.version],
    [false, [], 1n],
  )
  const good = await set({ providerName: 'vx', modelId: 'claude-3-7-sonnet', workspace })
  assert.equal(good.validationPerformed, true)
  assert.ok(good.validatedEndpoints.some(one => one.protocol === 'anthropic_messages'))
  world.lab.faults.set('openai status=503')
  const sick = set(route)
  await assert.rejects(sick, refusal('failed_precondition', /answered 503/))
  world.lab.faults.clear('openai')
})

test('only a living sandbox gets a bundle', async () => {
  const { token, channel } = await world.sandbox('doomed')
  const rows: readonly [string, Secret | null, ErrorCode][] = [
    ['administrator', world.adminToken, 'permission_denied'],
    ['nobody', null, 'unauthenticated'],
    ['garbage', new Secret('garbage'), 'unauthenticated'],
    ['a token cut short', new Secret(token.reveal().slice(0, -2)), 'unauthenticated'],
    ['two words', new Secret(`${token.reveal()} x`), 'unauthenticated'],
  ]
  for (const [label, wrong, code] of rows)
    await assert.rejects(fetchBundle(world.channel(wrong)), refusal(code), label)
  await fetchBundle(channel)
  await world.call(OpenShell.method.deleteSandbox, { name: 'doomed' })
  await assert.rejects(fetchBundle(channel), refusal('not_found', /deleted/))
  await assert.rejects(
    callUnary(channel, OpenShell.method.listProviders, {}, { timeoutMs: 5_000 }),
    refusal('not_found'),
  )
})

test('a sandbox may not administer', async () => {
  const { channel } = await world.sandbox('curious')
  const options = { timeoutMs: 5_000 }
  const list = callUnary(channel, OpenShell.method.listProviders, {}, options)
  await assert.rejects(list, refusal('permission_denied'))
  const issue = { sandboxName: 'curious' }
  const token = callUnary(channel, Delivery.method.createSandboxToken, issue, options)
  await assert.rejects(token, refusal('permission_denied'))
})

test('a bundle without routes is an answer', async () => {
  const { channel } = await world.sandbox('lonely', 'empty')
  const bundle = await fetchBundle(channel)
  assert.deepEqual([bundle.routes, bundle.failures], [[], []])
  assert.match(bundle.revision, /^[0-9a-f]{16}$/)
})

test('a route that cannot be resolved stands beside the one that can', async () => {
  const workspace = 'mixed'
  await addProviders(world, workspace)
  await set({ providerName: 'oa', modelId: 'm', workspace })
  await set({
    providerName: 'vx',
    modelId: 'claude-3-7-sonnet',
    routeName: 'sandbox-system',
    workspace,
  })
  const { channel } = await world.sandbox('s', workspace)
  assert.equal((await fetchBundle(channel)).routes.length, 2)
  await world.call(OpenShell.method.deleteProvider, { name: 'vx', workspace })
  const { routes, failures } = await fetchBundle(channel)
  assert.deepEqual(
    routes.map(one => one.name),
    ['inference.local'],
  )
  assert.deepEqual(
    failures.map(one => [one.name, one.code, one.providerName]),
    [['sandbox-system', 'provider_not_found', 'vx']],
  )
})

test('a foreign sandbox finds what it needs in its own fields', async () => {
  const workspace = 'foreign'
  await addProviders(world, workspace)
  const { channel } = await world.sandbox('s', workspace)
  const { origin } = world.lab
  const resolved = async (providerName: string, modelId: string, timeoutSecs = 0n) => {
    await set({ providerName, modelId, timeoutSecs, workspace })
    const [route] = (await fetchBundle(channel)).routes
    assert.ok(route !== undefined)
    return route
  }
  const claude = await resolved('vx', 'claude-3-7-sonnet')
  assert.equal(claude.baseUrl, `${origin}${BASE}/publishers/anthropic/models`)
  assert.equal(claude.modelInPath, true)
  assert.equal(claude.requestPathOverride, ':rawPredict')
  assert.equal(claude.modelId, 'claude-3-7-sonnet@20250219')
  assert.ok(claude.protocols.includes('anthropic_messages'))
  assert.equal(claude.providerType, VERTEX)
  assert.equal(claude.timeoutSecs, 60n)
  assert.equal(claude.apiKey, world.lab.tokens().at(-1)?.value.reveal())
  const gemini = await resolved('vx', 'gemini-2.5-flash', 7n)
  assert.equal(gemini.baseUrl, `${origin}${BASE.replace('v1', 'v1beta1')}/endpoints/openapi`)
  assert.equal(gemini.modelInPath, false)
  assert.equal(gemini.requestPathOverride, '/chat/completions')
  assert.deepEqual(gemini.protocols, [
    'openai_chat_completions',
    ...['gemini_generate_content', 'gemini_stream_generate_content', 'gemini_count_tokens'],
  ])
  assert.equal(gemini.modelId, 'google/gemini-2.5-flash')
  assert.equal(gemini.timeoutSecs, 7n)
  const openai = await resolved('oa', 'gpt-1')
  assert.equal(openai.baseUrl, `${origin}/openai/v1`)
  assert.equal(openai.modelInPath, false)
  assert.equal(openai.requestPathOverride, undefined)
  assert.equal(openai.providerType, 'openai')
  assert.equal(openai.apiKey, world.lab.openaiKey().reveal())
  assert.equal(openai.expiresAtMs, 0n)
})

test('a revision is the content alone: the same after a restart, another with each token', async () => {
  await using own = await startTestGateway()
  await addProviders(own, '')
  const route = { providerName: 'vx', modelId: 'claude-3-7-sonnet' }
  await own.call(method.setInferenceRoute, route)
  const { token, channel } = await own.sandbox('s')
  const first = await fetchBundle(channel)
  await own.call(method.setInferenceRoute, route)
  assert.equal((await fetchBundle(channel)).revision, first.revision, 'a version is not content')
  await own.restart()
  const restarted = own.channel(token)
  const again = await fetchBundle(restarted)
  assert.equal(again.revision, first.revision)
  await own.call(OpenShell.method.rotateProviderCredential, { provider: 'vx' })
  const rotated = await fetchBundle(restarted)
  assert.notEqual(rotated.revision, first.revision)
  assert.equal(rotated.routes[0]?.generation, 2n)
  await own.call(method.setInferenceRoute, { ...route, timeoutSecs: 61n })
  assert.notEqual((await fetchBundle(restarted)).revision, rotated.revision)
})

test('no expired token is in a bundle, and the reason is', async () => {
  const clock = new FakeClock()
  await using own = await startTestGateway({ clock, tokenLifetimeMs: 100_000 })
  await addProviders(own, '')
  await own.call(method.setInferenceRoute, { providerName: 'vx', modelId: 'claude-3-7-sonnet' })
  const { channel } = await own.sandbox('s')
  const [route] = (await fetchBundle(channel)).routes
  assert.ok(route !== undefined && Number(route.expiresAtMs) > clock.nowMs())
  own.lab.faults.set('google.token status=503')
  await clock.advance(Number(route.expiresAtMs) - clock.nowMs() - 1)
  assert.equal((await fetchBundle(channel)).routes.length, 1, 'a millisecond before its end')
  await clock.advance(1)
  const dead = await fetchBundle(channel)
  assert.deepEqual(dead.routes, [])
  assert.equal(dead.failures[0]?.code, 'credential_expired')
  assert.equal(dead.failures[0]?.sinceMs, route.expiresAtMs)
  assert.match(dead.failures[0]?.message ?? '', /503/)
  const refused = own.call(method.setInferenceRoute, {
    providerName: 'vx',
    modelId: 'claude-3-7-sonnet',
  })
  await assert.rejects(refused, refusal('no_valid_token'))
  own.lab.faults.clear()
  await until(async () => {
    await clock.advance(500)
    return (await fetchBundle(channel)).routes.length === 1
  }, 'service again')
  const [back] = (await fetchBundle(channel)).routes
  assert.ok(Number(back?.expiresAtMs) > clock.nowMs())
})
