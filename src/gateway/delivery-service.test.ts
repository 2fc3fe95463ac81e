// Goal: every router has the newest bundle a moment after it was made, nobody is flooded, and a
// refused token costs one mint. Method: real streams over gRPC.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, afterEach, before, test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import {
  openaiProvider,
  refusal,
  startTestGateway,
  type TestGateway,
  until,
  vertexProvider,
  watchBundles,
} from '../../test/support/gateway.ts'
import { AppError } from '../core/errors.ts'
import { callUnary, type GatewayChannel, openStream } from '../wire/client.ts'
import { Delivery } from '../wire/gen/openshell/delivery/v1/delivery_pb.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'

const options = { timeoutMs: 10_000 }

let world: TestGateway
before(async () => {
  world = await startTestGateway()
})
afterEach(() => world.lab.faults.clear())
after(() => world[Symbol.asyncDispose]())

async function serve(to: TestGateway, workspace: string, name = 'vx'): Promise<void> {
  const provider = vertexProvider(to.lab, name, `${workspace}-${name}@demo`)
  await to.call(OpenShell.method.createProvider, { provider, workspace })
  const route = { providerName: name, modelId: 'claude-3-7-sonnet', workspace }
  await to.call(Inference.method.setInferenceRoute, route)
}
const setTimeoutOf = (workspace: string, timeoutSecs: bigint) =>
  world.call(Inference.method.setInferenceRoute, {
    ...{ providerName: 'vx', modelId: 'claude-3-7-sonnet', workspace },
    timeoutSecs,
  })
const reachOf = async (workspace: string, to = world) => {
  const { credentials } = await to.call(OpenShell.method.getProviderRefreshStatus, { workspace })
  const [status] = credentials
  return [status?.routers, status?.routersCurrent]
}
const revisionOf = async (workspace: string) => {
  const { credentials } = await world.call(OpenShell.method.getProviderRefreshStatus, { workspace })
  return credentials[0]?.revision ?? ''
}
const report = (channel: GatewayChannel, generation: bigint, providerName = 'vx') =>
  callUnary(channel, Delivery.method.reportRejectedToken, { providerName, generation }, options)

test('the first bundle comes at once, each change after it, and reach counts the confirmed', async () => {
  await serve(world, 'push')
  assert.deepEqual(await reachOf('push'), [0, 0])
  const { channel } = await world.sandbox('s', 'push')
  const watcher = watchBundles(channel, { acknowledges: false })
  const first = await watcher.push(1)
  assert.deepEqual(await reachOf('push'), [1, 0])
  watcher.serve(first.revision)
  await until(async () => (await reachOf('push'))[1] === 1, 'the confirmation')
  assert.equal(await revisionOf('push'), first.revision)
  const changedAtMs = performance.now()
  await setTimeoutOf('push', 5n)
  const second = await watcher.push(2)
  assert.ok(performance.now() - changedAtMs < 500)
  assert.equal(second.routes[0]?.timeoutMs, 5_000)
  assert.deepEqual(await reachOf('push'), [1, 0])
  watcher.cancel()
  assert.ok((await watcher.ended) instanceof Error)
  await until(async () => (await reachOf('push'))[0] === 0, 'the leave')
})

test('a router that serves the newest already gets nothing until something changes', async () => {
  await serve(world, 'known')
  const { channel } = await world.sandbox('s', 'known')
  const watcher = watchBundles(channel, { acknowledges: true })
  await watcher.push(1)
  watcher.serve(await revisionOf('known'))
  await world.call(Inference.method.setInferenceRoute, {
    ...{ providerName: 'vx', modelId: 'claude-3-7-sonnet', workspace: 'known' },
  })
  await setTimeoutOf('known', 9n)
  await watcher.push(2)
  assert.equal(watcher.bundles.length, 2)
  watcher.cancel()
})

test("each push and each answer says what the gateway's clock showed when it was sent", async () => {
  const clock = new FakeClock()
  await using own = await startTestGateway({ clock })
  await serve(own, 'time')
  const { channel } = await own.sandbox('s', 'time')
  const poll = () => callUnary(channel, Inference.method.getInferenceBundle, {}, options)
  const first = await poll()
  assert.equal(Number(first.sentAtMs), clock.nowMs())
  await clock.advance(5_000)
  const second = await poll()
  assert.equal(Number(second.sentAtMs), clock.nowMs())
  assert.deepEqual({ ...second, sentAtMs: 0n }, { ...first, sentAtMs: 0n })
  const stream = openStream(channel, Delivery.method.watchInferenceBundle)
  stream.on('error', () => {})
  stream.write({ revision: '' })
  const [push] = await once(stream, 'data')
  assert.equal(Number(push.sentAtMs), clock.nowMs())
  assert.equal(push.bundle.revision, first.revision)
  stream.cancel()
})

test('a bundle that a router declines is not sent again, the next one is', async () => {
  await serve(world, 'declined')
  const { channel } = await world.sandbox('s', 'declined')
  const watcher = watchBundles(channel, { acknowledges: false })
  await watcher.push(1)
  for (let times = 0; times < 3; times++) watcher.serve('something newer')
  await setTimeoutOf('declined', 5n)
  await watcher.push(2)
  watcher.serve('something newer')
  await setTimeoutOf('declined', 6n)
  const third = await watcher.push(3)
  assert.equal(third.routes[0]?.timeoutMs, 6_000)
  assert.equal(watcher.bundles.length, 3)
  watcher.cancel()
})

test('a slow router has one push on the way, then gets the newest and none between', async () => {
  await serve(world, 'slow')
  const { channel } = await world.sandbox('s', 'slow')
  const slow = watchBundles(channel, { acknowledges: false })
  const quick = watchBundles(channel, { acknowledges: true })
  const first = await slow.push(1)
  await quick.push(1)
  for (const seconds of [1n, 2n, 3n, 4n, 5n]) {
    await setTimeoutOf('slow', seconds)
    await until(
      () => quick.bundles.at(-1)?.routes[0]?.timeoutMs === Number(seconds) * 1_000,
      'quick',
    )
  }
  assert.equal(slow.bundles.length, 1)
  slow.serve(first.revision)
  assert.equal((await slow.push(2)).routes[0]?.timeoutMs, 5_000)
  assert.equal(slow.bundles.length, 2)
  for (const watcher of [slow, quick]) watcher.cancel()
})

test('a change in one workspace is no news in another', async () => {
  for (const workspace of ['here', 'there']) await serve(world, workspace)
  const here = watchBundles((await world.sandbox('s', 'here')).channel, { acknowledges: true })
  const there = watchBundles((await world.sandbox('s', 'there')).channel, { acknowledges: true })
  await Promise.all([here.push(1), there.push(1)])
  await setTimeoutOf('here', 3n)
  await here.push(2)
  assert.equal(there.bundles.length, 1)
  for (const watcher of [here, there]) watcher.cancel()
})

test('a router that polls counts too, until it has not been heard of for a while', async () => {
  const clock = new FakeClock()
  await using own = await startTestGateway({ clock })
  await serve(own, 'poll')
  const { channel } = await own.sandbox('s', 'poll')
  await callUnary(channel, Inference.method.getInferenceBundle, {}, options)
  assert.deepEqual(await reachOf('poll', own), [1, 1])
  await own.call(OpenShell.method.rotateProviderCredential, { provider: 'vx', workspace: 'poll' })
  assert.deepEqual(await reachOf('poll', own), [1, 0])
  await clock.advance(76_000)
  assert.deepEqual(await reachOf('poll', own), [0, 0])
})

test('who has no sandbox token may not watch', async () => {
  for (const [token, code] of [
    [world.adminToken, 'permission_denied'],
    [null, 'unauthenticated'],
  ] as const) {
    const watcher = watchBundles(world.channel(token), { acknowledges: false })
    const error = await watcher.ended
    assert.ok(error !== null && 'code' in error)
    assert.equal(error.code, code === 'permission_denied' ? 7 : 16)
  }
})

test('a deleted sandbox loses its stream, its place on the roster and its token', async () => {
  await serve(world, 'gone')
  const { channel } = await world.sandbox('s', 'gone')
  const doomed = watchBundles(channel, { acknowledges: true })
  const other = watchBundles((await world.sandbox('t', 'gone')).channel, { acknowledges: true })
  await Promise.all([doomed.push(1), other.push(1)])
  await callUnary(channel, Inference.method.getInferenceBundle, {}, options)
  const request = { name: 's', workspace: 'gone' }
  assert.equal((await world.call(OpenShell.method.deleteSandbox, request)).deleted, true)
  assert.equal((await world.call(OpenShell.method.deleteSandbox, request)).deleted, false)
  await doomed.ended
  assert.equal((await reachOf('gone'))[0], 1)
  const again = await watchBundles(channel, { acknowledges: false }).ended
  assert.ok(again !== null && 'code' in again && again.code === 5)
  await setTimeoutOf('gone', 2n)
  await other.push(2)
  assert.equal(doomed.bundles.length, 1)
  other.cancel()
})

test('routers that come and go at once leave nothing behind', async () => {
  await serve(world, 'flicker')
  const { channel } = await world.sandbox('s', 'flicker')
  const watchers = Array.from({ length: 100 }, () => watchBundles(channel, { acknowledges: true }))
  for (const watcher of watchers) watcher.cancel()
  await Promise.all(watchers.map(watcher => watcher.ended))
  const last = watchBundles(channel, { acknowledges: true })
  await last.push(1)
  await until(async () => (await reachOf('flicker'))[0] === 1, 'an empty roster')
  last.cancel()
})

test('two hundred routers have a change within a moment', async () => {
  await serve(world, 'fleet')
  const { token } = await world.sandbox('s', 'fleet')
  const channels = Array.from({ length: 10 }, () => world.channel(token))
  const fleet = channels.flatMap(channel =>
    Array.from({ length: 20 }, () => watchBundles(channel, { acknowledges: true })),
  )
  await Promise.all(fleet.map(watcher => watcher.push(1)))
  const startedMs = performance.now()
  await setTimeoutOf('fleet', 4n)
  await Promise.all(fleet.map(watcher => watcher.push(2)))
  assert.ok(performance.now() - startedMs < 2_000)
  await until(async () => (await reachOf('fleet'))[1] === 200, 'all confirmed')
  for (const watcher of fleet) watcher.cancel()
})

test('streams end cleanly when the gateway stops', async () => {
  await using own = await startTestGateway()
  await serve(own, 'stop')
  const watcher = watchBundles((await own.sandbox('s', 'stop')).channel, { acknowledges: true })
  await watcher.push(1)
  const restarted = own.restart()
  assert.equal(await watcher.ended, null)
  await restarted
})

test('a token that is refused everywhere at once costs one mint', async () => {
  await serve(world, 'storm')
  const { token } = await world.sandbox('s', 'storm')
  const channels = Array.from({ length: 10 }, () => world.channel(token))
  const watcher = watchBundles(world.channel(token), { acknowledges: true })
  await watcher.push(1)
  const before = world.lab.counts().mints
  world.lab.faults.set('google.token delay=200ms count=1')
  const verdicts = await Promise.all(
    Array.from({ length: 500 }, (_, index) =>
      report(channels[index % 10] ?? world.channel(token), 1n),
    ),
  )
  assert.deepEqual([...new Set(verdicts.map(one => one.outcome))], ['refreshing'])
  assert.equal((await watcher.push(2)).routes[0]?.generation, 2)
  assert.equal(world.lab.counts().mints, before + 1)
  const late = await report(channels[0] ?? world.channel(token), 1n)
  assert.equal(late.outcome, 'known')
  const again = await report(channels[0] ?? world.channel(token), 2n)
  assert.equal(again.outcome, 'refused')
  assert.match(again.message, /fresh token too/)
  const waitMs = Number(again.nextAttemptAtMs) - Date.now()
  assert.ok(waitMs > 25_000 && waitMs <= 30_000, `the forced floor, not ${waitMs} ms`)
  assert.equal(world.lab.counts().mints, before + 1)
  watcher.cancel()
})

test('what the vendor said is logged as one line, whoever reports it', async () => {
  await serve(world, 'words')
  const { channel } = await world.sandbox('s', 'words')
  const request = { providerName: 'vx', generation: 1n, status: 401 }
  const reason = `it said\n\u001b[31mno${'!'.repeat(300)}`
  await callUnary(channel, Delivery.method.reportRejectedToken, { ...request, reason }, options)
  const line = world.lines.findLast(one => one.includes('token.rejected')) ?? '{}'
  const fields = JSON.parse(line)
  assert.equal(fields.reason, `it said [31mno${'!'.repeat(186)}…`)
  assert.equal(fields.status, 401)
})

test('a report says why there is no better token', async () => {
  await serve(world, 'report')
  const { channel } = await world.sandbox('s', 'report')
  world.lab.faults.set('google.token status=400 error=invalid_grant')
  assert.equal((await report(channel, 1n)).outcome, 'refreshing')
  await until(async () => (await report(channel, 1n)).outcome === 'refused', 'the refusal')
  const verdict = await report(channel, 1n)
  assert.match(verdict.message, /invalid_grant/)
  assert.equal(verdict.nextAttemptAtMs, 0n, 'a person is needed')
  await assert.rejects(report(channel, 1n, 'nobody'), refusal('not_found'))
  const provider = openaiProvider(world.lab, 'static')
  await world.call(OpenShell.method.createProvider, { provider, workspace: 'report' })
  await assert.rejects(report(channel, 0n, 'static'), refusal('failed_precondition', /no token/))
})

test('after a forced refresh that the vendor could not answer, the report says so', async () => {
  await serve(world, 'ill')
  const { channel } = await world.sandbox('s', 'ill')
  world.lab.faults.set('google.token status=503')
  await report(channel, 1n)
  await until(async () => (await report(channel, 1n)).outcome === 'refused', 'the failure')
  const verdict = await report(channel, 1n)
  assert.match(verdict.message, /503/)
})

test('a sandbox reports about its own workspace only', async () => {
  await serve(world, 'mine')
  const { channel } = await world.sandbox('s', 'theirs')
  const before = world.lab.counts().mints
  await assert.rejects(report(channel, 1n), refusal('not_found'))
  assert.equal(world.lab.counts().mints, before)
  const admin = report(world.channel(world.adminToken), 1n)
  await assert.rejects(
    admin,
    error => error instanceof AppError && error.code === 'permission_denied',
  )
})

test('a token is issued for a sandbox that exists', async () => {
  const unknown = world.call(Delivery.method.createSandboxToken, { sandboxName: 'nobody' })
  await assert.rejects(unknown, refusal('not_found', /sandbox list/))
})
