// Goal: what people complain of elsewhere when clocks, lives and expiries are not what a program took
// them for does not happen here.
// Method: real gateway, routers and vendors on a clock that only the test moves; the vendors refuse
// what is dead. Each test names the public threads where the complaint was made.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { usableToken } from '../../src/core/credential.ts'
import { bundleFromWire } from '../../src/wire/bundle.ts'
import { callUnary } from '../../src/wire/client.ts'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { present } from '../store/records.ts'
import { until } from '../support/gateway.ts'
import {
  allServed,
  ask,
  askAcross,
  assertNoTokenRefused,
  HOUR_MS,
  MINUTE_MS,
  startComplaintWorld,
} from './world.ts'

// envoyproxy/envoy#44674, onecli#433, BerriAI/litellm#4417, BerriAI/litellm#9219,
// BerriAI/litellm#41251, hermes-agent#69096
test('an expired token is never injected: the agent is told, and why', async () => {
  await using world = await startComplaintWorld({ tokenLifetimeMs: 10 * MINUTE_MS })
  await world.serveVertex('default')
  const router = await world.router('default')
  const deaf = await world.router('default')
  const { clock, lab } = world
  const { token } = await world.credentialOf('default', 'vx')
  const endMs = present(token).expiresAtMs
  lab.faults.set('google.token status=503')
  // This one has to see by itself that the token dies.
  await deaf.cutOff()
  // Near the end a request may wait a little for a token that does not come, and takes the old one.
  for (const beforeMs of [5 * MINUTE_MS, 2 * MINUTE_MS, MINUTE_MS, 5_000]) {
    await clock.advance(endMs - beforeMs - clock.nowMs())
    for (const { status } of await askAcross(world, [router, deaf], 2_000))
      assert.equal(status, 200)
  }
  const served = world.calls('vertex').length
  await clock.advance(endMs - clock.nowMs())
  const { channel } = await world.gateway.sandbox('foreign', 'default')
  for (const afterMs of [0, 5_000, 2 * MINUTE_MS]) {
    await clock.advance(endMs + afterMs - clock.nowMs())
    const polled = await callUnary(
      channel,
      Inference.method.getInferenceBundle,
      {},
      {
        timeoutMs: 5_000,
      },
    )
    const { routes, failures } = bundleFromWire(polled)
    assert.deepEqual([routes.length, failures[0]?.code], [0, 'credential_expired'])
    await until(() => router.table.current()?.routes.length === 0, 'the bundle without the token')
    for (const told of await askAcross(world, [router, deaf], 10_000)) {
      assert.deepEqual([told.status, told.code], [503, 'credential_expired'], told.text)
      assert.ok(told.retryAfterSeconds > 0)
      assert.match(told.text, /vx/)
    }
  }
  const [told] = await askAcross(world, [router], 10_000)
  assert.match(told?.text ?? '', /answered 503/, 'the reason is missing')
  assert.equal(world.calls('vertex').length, served, 'a request went out without a token')
  assertNoTokenRefused(world)
})

// Portkey-AI/gateway#915, Portkey-AI/gateway#916, pydantic/pydantic-ai#1186, pydantic/pydantic-ai#1195,
// labring/aiproxy#126, BerriAI/litellm#41251, BerriAI/litellm#29410
test('a half-used token is believed for what is left of it, and a short one for no longer', async () => {
  await using world = await startComplaintWorld()
  const { clock, lab, gateway } = world
  const add = async (workspace: string) => {
    const provider = {
      ...{ metadata: { name: 'machine' }, type: 'vertex' },
      config: {
        VERTEX_BASE_URL: `${lab.origin}/v1/projects/demo-project/locations/us-east1`,
        GCE_METADATA_HOST: new URL(lab.origin).host,
      },
    }
    await gateway.call(OpenShell.method.createProvider, { provider, workspace })
    await world.route(workspace, 'machine', 'claude-3-7-sonnet')
    return world.credentialOf(workspace, 'machine')
  }
  const first = present((await add('first')).token)
  // Whoever asks later gets the token that the metadata server has already, with what is left of it.
  lab.faults.set('google.metadata same_token')
  await clock.advance(40 * MINUTE_MS)
  const second = await add('second')
  const router = await world.router('second')
  assert.equal(second.token?.value.reveal(), first.value.reveal())
  assert.ok(Math.abs(present(second.token).expiresAtMs - first.expiresAtMs) <= 1_000)
  const revision = router.table.current()?.revision
  await clock.advance(first.expiresAtMs - MINUTE_MS - clock.nowMs())
  assert.equal(router.table.current()?.revision, revision, 'the same token was news')
  const asked = world.calls('google.metadata').length
  assert.ok(asked < 20, `${asked} calls for a token that had not changed`)
  // A minute before the end the server has a new one.
  lab.faults.clear()
  await clock.advance(20_000)
  const renewed = present((await world.credentialOf('second', 'machine')).token)
  assert.notEqual(renewed.value.reveal(), first.value.reveal())
  await until(() => router.table.current()?.revision !== revision, 'the new token')
  await clock.advance(MINUTE_MS)
  await allServed([ask(router)])

  // A life of 20 s is less than any usual floor: nothing is served past it, nothing asked in a loop.
  lab.faults.set('google.token expires_in=20 count=100')
  await world.serveVertex('short')
  const before = lab.counts().mints
  for (let second = 0; second < 60; second += 1) {
    await clock.advance(1_000)
    const row = await world.credentialOf('short', 'vx')
    const token = present(usableToken(row, clock.nowMs()))
    assert.ok(token.expiresAtMs - token.issuedAtMs <= 20_000)
  }
  const mints = lab.counts().mints - before
  assert.ok(mints >= 5 && mints <= 10, `${mints} mints in three lives`)
  assertNoTokenRefused(world)
})

// router-for-me/CLIProxyAPI#5584, ltratt/pizauth#47, ltratt/pizauth#48, librespot#1617, omamail#238,
// copilot-api#170, paude#248
test('after two hours of sleep the first requests wait once and none carries a dead token', async () => {
  await using world = await startComplaintWorld()
  await world.serveVertex('default')
  const router = await world.router('default')
  await allServed([ask(router)])
  const { clock, lab } = world
  const sent = world.calls('vertex').length
  // The monotonic clock stands still while the machine sleeps; only the wall knows.
  clock.stepWall(2 * HOUR_MS)
  const sleepers = clock.sleepers
  const waking = Array.from({ length: 50 }, () => ask(router))
  await until(() => clock.sleepers >= sleepers + 50, 'the requests to wait')
  assert.equal(world.calls('vertex').length, sent, 'a dead token was sent')
  await clock.advance(6_000)
  await until(
    async () => (await world.credentialOf('default', 'vx')).generation === 2,
    'a new token',
  )
  await allServed(waking)
  assert.equal(lab.counts().mints, 2)
  assertNoTokenRefused(world)
})

// prapaa-ai/agav#295
test('a clock that is ten minutes off, either way, costs at most one second try', async () => {
  // A clock that is behind the vendor's costs nothing until the assertion is past its end there.
  for (const [offset, tries] of [
    ['-10m', 2],
    ['10m', 1],
    ['2h', 2],
  ] as const) {
    await using world = await startComplaintWorld()
    world.lab.faults.set(`google.token clock_offset=${offset}`)
    const calls = () => world.calls('google.token').length
    await world.serveVertex('default')
    assert.equal(calls(), tries, `the first mint at a vendor whose clock is off by ${offset}`)
    const { token } = await world.turnOver('default', 'vx')
    assert.equal(calls(), tries + 1, `what was learnt of ${offset} is kept`)
    // The life is counted from our own clock, whatever the vendor's says.
    assert.equal(present(token).expiresAtMs - world.clock.nowMs(), HOUR_MS)
  }
})

// The other half of the same complaint: a correction that does harm.
test('a vendor that lies about the time, or a clock that is set back, spoils nothing', async () => {
  await using world = await startComplaintWorld()
  const { clock, lab } = world
  const calls = () => world.calls('google.token').length
  await world.serveVertex('lied-to')
  const unreasonable =
    'Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.'
  lab.faults.set([
    ...['google.token', 'status=400', 'error=invalid_grant', `description=${unreasonable}`],
    ...['date_offset=-50h', 'count=2'],
  ])
  const { generation } = await world.credentialOf('lied-to', 'vx')
  const rotate = { provider: 'vx', workspace: 'lied-to' }
  await assert.rejects(world.gateway.call(OpenShell.method.rotateProviderCredential, rotate))
  await clock.advance(MINUTE_MS)
  const before = calls()
  await world.gateway.call(OpenShell.method.rotateProviderCredential, rotate)
  assert.equal(calls() - before, 1)
  assert.equal((await world.credentialOf('lied-to', 'vx')).generation, generation + 1)

  // Our own clock is set back by an hour: what was planned under the old one is not waited for.
  clock.stepWall(-HOUR_MS)
  await clock.advance(10_000)
  const row = await world.credentialOf('lied-to', 'vx')
  assert.equal(row.generation, generation + 2)
  assert.ok(present(row.token).expiresAtMs <= clock.nowMs() + HOUR_MS)
})
