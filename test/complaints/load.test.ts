// Goal: what people complain of elsewhere when many requests, many providers and long-lived programs
// meet a token that dies does not happen here.
// Method: real gateway, routers and vendors on a clock that only the test moves. Each test names the
// public threads where the complaint was made.
import assert from 'node:assert/strict'
import http from 'node:http'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import type { Bundle } from '../../src/core/bundle.ts'
import { bundleFromWire } from '../../src/wire/bundle.ts'
import { callUnary } from '../../src/wire/client.ts'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { present } from '../store/records.ts'
import { openaiProvider, until } from '../support/gateway.ts'
import { oauthProvider } from '../support/oauth-provider.ts'
import { allServed, ask, assertNoTokenRefused, MINUTE_MS, startComplaintWorld } from './world.ts'

// BerriAI/litellm#26024, BerriAI/litellm#26569, BerriAI/litellm#37604, experiientallabs#618
test('a thousand requests at expiry make one mint and block nobody', async () => {
  await using world = await startComplaintWorld({ tokenLifetimeMs: MINUTE_MS })
  await world.serveVertex('default')
  await world.serveVertex('other')
  const [router, other] = await Promise.all([world.router('default'), world.router('other')])
  const burst = (count: number) => Array.from({ length: count }, () => ask(router))
  const { lab, clock } = world
  const calls = () => world.calls('google.token').length
  const rotate = (workspace: string) =>
    world.gateway.call(OpenShell.method.rotateProviderCredential, { provider: 'vx', workspace })
  const { token } = await world.credentialOf('default', 'vx')
  lab.faults.set('google.token status=503')
  await clock.advance(present(token).expiresAtMs - 1_200 - clock.nowMs())
  lab.faults.clear()
  await rotate('other')
  await until(() => generationIn(other.table.current()) === 2n, 'the other token')
  const [mintsBefore, callsBefore] = [lab.counts().mints, calls()]

  // The answer comes 200 ms before the token's end; from 500 ms before it no router sends it.
  world.hold('default', 'google.token delay=1s')
  const rotated = rotate('default')
  await until(() => calls() === callsBefore + 1, 'the mint')
  await clock.advance(750)
  const sleepers = clock.sleepers
  const waiting = burst(1_000)
  await until(() => clock.sleepers >= sleepers + 1_000, 'a thousand waiting requests')
  assert.equal((await ask(other)).status, 200, 'another provider had to wait')
  await clock.advance(300)
  await rotated
  await allServed(waiting)
  assert.equal(calls(), callsBefore + 1)
  assert.equal(lab.counts().mints, mintsBefore + 1)
  assertNoTokenRefused(world)

  // The same when the vendor, not the clock, ends the token: two hundred refusals at once.
  await clock.advance(16_000)
  lab.revokeTokens({ subject: 'vx-default@demo' })
  const revoked = burst(200)
  await until(() => calls() === callsBefore + 2, 'the forced refresh')
  assert.equal((await ask(other)).status, 200, 'another provider had to wait')
  await clock.advance(1_000)
  await allServed(revoked)
  assert.equal(lab.counts().mints, mintsBefore + 2)
})

// ogx-ai/ogx#4928, maximhq/bifrost#3206, watson-developer-cloud/node-sdk#1038, grok-cli#286
test('a token is minted once in its life, however many requests and refusals there are', async () => {
  await using world = await startComplaintWorld()
  await world.serveVertex('default')
  const routers = [await world.router('default'), await world.router('default')]
  const { lab, clock } = world
  const askAll = () => allServed(routers.flatMap(one => Array.from({ length: 40 }, () => ask(one))))
  for (let quarter = 0; quarter < 3; quarter += 1) {
    await askAll()
    await clock.advance(15 * MINUTE_MS)
  }
  assert.equal(lab.counts().mints, 1)
  await world.turnOver('default', 'vx')
  await askAll()
  assert.equal(lab.counts().mints, 2)

  // A vendor that says no for reasons of its own is not asked for tokens because of it.
  lab.faults.set('vertex status=403')
  for (const router of routers) assert.equal((await ask(router)).status, 403)
  assert.equal(lab.counts().mints, 2)
  // And one that takes no token at all costs one forced mint, not one a request.
  lab.faults.clear()
  lab.faults.set('vertex status=401')
  for (let round = 0; round < 5; round += 1) {
    const told = await Promise.all(routers.map(router => ask(router)))
    assert.deepEqual(
      told.map(one => one.code),
      ['credential_rejected', 'credential_rejected'],
    )
  }
  assert.equal(lab.counts().mints, 3)
})

// A vendor whose answer names no life, or an absurd one, is where a mint on every request begins.
test('an answer without a usable life does not make every request a mint', async () => {
  await using world = await startComplaintWorld()
  const { lab, clock } = world
  for (const life of ['missing', '1e18', '2147483648', '"3599"']) {
    const name = `life-${life.replace(/\W/g, '')}`
    lab.faults.set(`google.token expires_in=${life} count=1`)
    await world.serveVertex(name, { name })
    const router = await world.router(name)
    const before = lab.counts().mints
    for (let minute = 0; minute < 5; minute += 1) {
      await allServed(Array.from({ length: 10 }, () => ask(router)))
      await clock.advance(MINUTE_MS)
    }
    assert.equal(lab.counts().mints, before, `expires_in ${life}`)
  }
})

// envoyproxy/ai-gateway#1036, agentgateway/agentgateway#2630, agentgateway/agentgateway#2637
test('one stuck vendor among many delays none of the others', async () => {
  await using world = await startComplaintWorld({ alsoAllow: ['localhost'] })
  const { lab, clock, gateway } = world
  // The lab by another name: another token host.
  const config = { OAUTH2_TOKEN_URL: `http://localhost:${new URL(lab.origin).port}/oauth2/token` }
  for (let index = 0; index < 20; index += 1) {
    const provider = oauthProvider(lab, `stuck-${index}`, { method: 'post', config })
    await gateway.call(OpenShell.method.createProvider, { provider, workspace: 'stuck' })
  }
  await world.serveVertex('default')
  const router = await world.router('default')
  // Three ways to be stuck: silence, a head without an end, a body that drips.
  world.hold(
    'stuck',
    'oauth2.token hang count=10\noauth2.token drip_head=5s count=10\noauth2.token drip=5s',
  )
  const { dueAtMs } = await world.credentialOf('default', 'vx')
  await clock.advance(present(dueAtMs) - clock.nowMs())
  const held = () => world.calls('oauth2.token').filter(call => call.outcome === 'open').length
  await until(() => held() > 0, 'a stuck call')
  await until(() => generationIn(router.table.current()) === 2n, 'the token of the healthy vendor')
  assert.ok(held() > 0, 'the stuck vendor came free')
  await allServed([ask(router)])
  // Each stuck attempt ends by its own deadline, and the row says so.
  await clock.advance(2 * MINUTE_MS)
  const row = await world.credentialOf('stuck', 'stuck-0')
  assert.equal(row.failure?.class, 'T')
  assertNoTokenRefused(world)
})

// envoyproxy/ai-gateway#2603, dam-agents#217, open-policy-agent/cert-controller#50, NVIDIA/NemoClaw#6287
test('what was minted is delivered: by push at once, by poll at the next', async () => {
  await using world = await startComplaintWorld()
  await world.serveVertex('default')
  const router = await world.router('default')
  const { channel } = await world.gateway.sandbox('foreign', 'default')
  const poll = async () =>
    bundleFromWire(
      await callUnary(channel, Inference.method.getInferenceBundle, {}, { timeoutMs: 5_000 }),
    )
  for (const generation of [2n, 3n]) {
    const { token } = await world.turnOver('default', 'vx')
    const mintedAtMs = world.clock.nowMs()
    assert.equal(generationIn(await poll()), generation)
    await until(() => generationIn(router.table.current()) === generation, 'the push')
    assert.equal(world.clock.nowMs(), mintedAtMs, 'the push took a timer')
    await allServed([ask(router)])
    const shown = world.lab.tokens().find(one => one.value.reveal() === token?.value.reveal())
    assert.equal(world.calls('vertex').at(-1)?.tokenId, shown?.id, 'a stale token was sent')
  }
  const reached = async () => {
    const request = { provider: 'vx' }
    const { credentials } = await world.gateway.call(
      OpenShell.method.getProviderRefreshStatus,
      request,
    )
    return [credentials[0]?.routers, credentials[0]?.routersCurrent]
  }
  await until(async () => (await reached()).join() === '2,2', 'the acknowledgements')
  // A route that changed is as much news as a token.
  await world.gateway.call(OpenShell.method.createProvider, {
    provider: openaiProvider(world.lab, 'oa'),
  })
  await world.route('default', 'oa', 'gpt-5.5')
  await until(() => router.table.current()?.routes[0]?.providerName === 'oa', 'the new route')
})

// NVIDIA/OpenShell#1306, NVIDIA/OpenShell#2777, NVIDIA/OpenShell#2780, BerriAI/litellm#27945,
// BerriAI/litellm#28625, BerriAI/litellm#29113
test('an agent that keeps one client and one connection for days never holds a dead token', async () => {
  await using world = await startComplaintWorld()
  await world.serveVertex('default')
  const router = await world.router('default')
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  const ports = new Set<number | undefined>()
  const say = async (prompt: string, isStream = false) => {
    const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>()
    const request = http.request(`${router.baseUrl}/v1/messages`, {
      ...{ method: 'POST', agent, headers: { 'content-type': 'application/json' } },
    })
    request.on('error', reject).on('response', resolve)
    const messages = [{ role: 'user', content: prompt }]
    request.end(JSON.stringify({ model: 'any', max_tokens: 16, stream: isStream, messages }))
    const response = await promise
    ports.add(response.socket.localPort)
    return response
  }
  const whole = async () => {
    const response = await say('hi')
    await text(response)
    return response.statusCode
  }
  for (let turnover = 0; turnover < 8; turnover += 1) {
    assert.equal(await whole(), 200)
    await world.turnOver('default', 'vx')
    await until(() => generationIn(router.table.current()) === BigInt(turnover + 2), 'the push')
  }
  assert.equal(ports.size, 1, 'the client had to open a new connection')
  const shown = new Set(world.calls('vertex').map(call => call.tokenId))
  assert.equal(shown.size, 8)
  assertNoTokenRefused(world)

  // An answer that is under way when its token is replaced, and then revoked, goes on to its end.
  const stream = await say('lab:events=4,interval=10s', true)
  const received = text(stream)
  const before = await world.credentialOf('default', 'vx')
  await world.gateway.call(OpenShell.method.rotateProviderCredential, { provider: 'vx' })
  await until(
    () => generationIn(router.table.current()) === BigInt(before.generation + 1),
    'the push',
  )
  for (let event = 0; event < 6; event += 1) await world.clock.advance(10_000)
  assert.match(await received, /event: message_stop/)
  agent.destroy()
})

function generationIn(bundle: Bundle | null): bigint {
  return BigInt(bundle?.routes[0]?.generation ?? 0)
}
