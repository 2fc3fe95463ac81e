// Goal: whatever overtakes what, the newest token is served and the gateway's time is known. Method: a
// link without a wire, whose every answer the test gives by hand, and a clock that the test moves.
import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { routeOf, until } from '../../test/support/fake-exchange.ts'
import type { Bundle } from '../core/bundle.ts'
import { AppError } from '../core/errors.ts'
import { createGatewayClock } from '../router/gateway-clock.ts'
import { createRouteTable } from '../router/route-table.ts'
import { type LogFields, silentLog } from '../system/log.ts'
import { startBundleClient } from './bundle-client.ts'
import type { DeliveredBundle, GatewayLink, WatchSession } from './gateway-link.ts'

const POLL_MS = 30_000

const stops: AbortController[] = []

afterEach(() => {
  for (const stop of stops.splice(0)) stop.abort()
})

/** A running client, and the other end of its link. */
function start() {
  const own = new FakeClock()
  const clock = createGatewayClock(own)
  const table = createRouteTable()
  const polls: PromiseWithResolvers<DeliveredBundle>[] = []
  const streams: { readonly session: WatchSession; readonly end: () => void }[] = []
  const link: GatewayLink = {
    watch(session, signal) {
      const { promise, resolve } = Promise.withResolvers<AppError>()
      const end = () => resolve(new AppError('gateway_unreachable', 'The wire was cut'))
      signal.addEventListener('abort', end, { once: true })
      streams.push({ session, end })
      return promise
    },
    poll() {
      const answer = Promise.withResolvers<DeliveredBundle>()
      polls.push(answer)
      return answer.promise
    },
    reportRejected: () => Promise.reject(new Error('nothing is refused here')),
  }
  const lines: { readonly event: string; readonly fields: LogFields }[] = []
  const note = (event: string, fields: LogFields = {}) => void lines.push({ event, fields })
  const log = { ...silentLog, info: note, warn: note }
  const stop = new AbortController()
  stops.push(stop)
  const random = { fraction: () => 0, bytes: () => new Uint8Array() }
  startBundleClient({ link, table, clock, random, log, pollIntervalMs: POLL_MS }, stop.signal)
  const push = (delivered: DeliveredBundle): string => {
    const { session } = streams.at(-1) ?? assert.fail('there is no stream')
    session.onBundle(delivered)
    return session.revision()
  }
  return {
    ...{ own, clock, push, polls, streams },
    serves: () => table.current()?.revision,
    /** The fields of every such event. */
    logged: (event: string) => lines.filter(one => one.event === event).map(one => one.fields),
    async answerPoll(delivered: DeliveredBundle): Promise<void> {
      polls.at(-1)?.resolve(delivered)
      await own.advance(0)
    },
  }
}

/** The bundle of a token's generation, sent the moment it was made. */
function sent(generation: number, sentAtMs: number, model = 'm'): DeliveredBundle {
  const route = routeOf({ generation, modelId: model, expiresAtMs: sentAtMs + 3_600_000 })
  const bundle: Bundle = {
    revision: `${generation}${model}`,
    generatedAtMs: sentAtMs,
    changes: 0,
    routes: [route],
    failures: [],
  }
  return { bundle, sentAtMs }
}

test('an answer to a poll that a push overtook is not put to use', async () => {
  const { own, push, answerPoll, serves } = start()
  const startMs = own.nowMs()
  push(sent(1, startMs))
  await own.advance(POLL_MS)
  assert.equal(push(sent(1, startMs + POLL_MS, 'newer')), '1newer')
  await answerPoll(sent(1, startMs + POLL_MS - 1, 'older'))
  assert.equal(serves(), '1newer')
})

test('a push with an earlier token than a poll has brought is declined, and said to be', async () => {
  const { own, push, answerPoll, serves, logged } = start()
  const startMs = own.nowMs()
  push(sent(1, startMs))
  await own.advance(POLL_MS)
  await answerPoll(sent(3, startMs + POLL_MS))
  assert.equal(serves(), '3m')
  assert.equal(push(sent(2, startMs + POLL_MS - 1)), '3m')
  assert.equal(serves(), '3m')
  assert.deepEqual(logged('bundle.outdated'), [{ revision: '2m', by: 'push', serves: '3m' }])
})

test('another gateway that is behind does not bring an earlier token back', async () => {
  const { own, push, streams, serves, answerPoll } = start()
  const startMs = own.nowMs()
  push(sent(5, startMs))
  streams[0]?.end()
  await until(() => own.sleepers > 1)
  await own.advance(200)
  assert.equal(streams.length, 2)
  assert.equal(push(sent(4, startMs - 1)), '5m')
  await own.advance(POLL_MS)
  await answerPoll(sent(4, startMs - 1))
  assert.equal(serves(), '5m')
  // A provider that was added anew begins to count anew.
  assert.equal(push(sent(1, startMs + 1)), '1m')
})

test('once its token is dead the router takes what it gets', async () => {
  const { own, push, streams } = start()
  const startMs = own.nowMs()
  push(sent(5, startMs))
  await own.advance(3_600_000)
  assert.equal(streams.length, 1)
  assert.equal(push({ ...sent(4, startMs), sentAtMs: startMs + 3_600_000 }), '4m')
})

test('the time is learnt from pushes and polls, and a clock that is off is told once', async () => {
  const { own, clock, push, answerPoll, logged } = start()
  const gatewayMs = own.nowMs() + 600_000
  push(sent(1, gatewayMs))
  assert.equal(clock.nowMs(), gatewayMs)
  await own.advance(POLL_MS)
  await answerPoll(sent(2, gatewayMs + POLL_MS))
  assert.equal(clock.nowMs(), gatewayMs + POLL_MS)
  assert.deepEqual(
    logged('clock.offset').map(fields => fields.aheadMs),
    [-600_000],
  )
  // It was set right, and then wrong again.
  for (const stepMs of [600_000, 600_000]) {
    own.stepWall(stepMs)
    await own.advance(POLL_MS)
    await answerPoll(sent(2, gatewayMs + own.monotonicMs()))
    assert.equal(clock.nowMs(), gatewayMs + own.monotonicMs())
  }
  assert.deepEqual(
    logged('clock.offset').map(fields => fields.aheadMs),
    [-600_000, 600_000],
  )
})

test('a push from the past makes the client ask at once what time it is', async () => {
  const { own, clock, push, polls, answerPoll } = start()
  const startMs = own.nowMs()
  push(sent(1, startMs))
  await own.advance(10_000)
  push(sent(2, startMs + 5_000))
  await own.advance(0)
  assert.equal(polls.length, 0)
  // The gateway's clock was set back by a minute.
  const gatewayMs = clock.nowMs() - 60_000
  push(sent(3, gatewayMs))
  await own.advance(0)
  assert.equal(polls.length, 1)
  await answerPoll(sent(3, gatewayMs))
  assert.equal(clock.nowMs(), gatewayMs)
  await own.advance(POLL_MS)
  assert.equal(polls.length, 2)
})

test('a gateway that does not say its time is believed by the own clock', async () => {
  const { own, clock, push, polls, logged } = start()
  push({ ...sent(1, own.nowMs()), sentAtMs: 0 })
  await own.advance(0)
  assert.equal(polls.length, 0)
  assert.equal(clock.nowMs(), own.nowMs())
  assert.deepEqual(logged('clock.offset'), [])
})
