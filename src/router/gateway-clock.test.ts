// Goal: the router's time is never behind the gateway's, and not far ahead for long, whatever the
// machine's own clocks do. Method: two clocks that the test moves, and answers that it delays.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { seed } from '../../test/support/seeded-random.ts'
import { createGatewayClock } from './gateway-clock.ts'

const GATEWAY_MS = 1_900_000_000_000
const HOUR_MS = 3_600_000

/** A router whose wall clock is ahead of its gateway's by `offsetMs`. */
function machine(offsetMs: number) {
  const own = new FakeClock(GATEWAY_MS + offsetMs)
  const clock = createGatewayClock(own)
  /** What the gateway's clock shows, since both were made. */
  const gatewayMs = () => GATEWAY_MS + own.monotonicMs()
  const poll = async (thereMs: number, backMs: number) => {
    const answer = clock.ask()
    await own.advance(thereMs)
    const sentAtMs = gatewayMs()
    await own.advance(backMs)
    return answer(sentAtMs)
  }
  return { own, clock, gatewayMs, poll, aheadMs: () => clock.nowMs() - gatewayMs() }
}

for (const offsetMs of [-600_000, -1, 0, 3_000, 600_000]) {
  test(`a clock that is ${offsetMs} ms off is corrected by the first answer`, async () => {
    const { own, clock, poll, aheadMs } = machine(offsetMs)
    assert.equal(clock.nowMs(), own.nowMs())
    assert.equal(await poll(10, 20), offsetMs - 10)
    // Ahead by the way there, which cannot be told from the way back.
    assert.equal(aheadMs(), 10)
    await own.advance(HOUR_MS)
    assert.equal(aheadMs(), 10)
  })
}

test('a gateway that does not say its time leaves the time as it is', async () => {
  const { own, clock, poll, aheadMs } = machine(600_000)
  assert.equal(clock.ask()(0), 0)
  assert.equal(clock.nowMs(), own.nowMs())
  await poll(0, 0)
  clock.ask()(0)
  assert.equal(aheadMs(), 0)
})

test('a wall clock that is set back does not take the time back', async () => {
  const { own, poll, aheadMs } = machine(0)
  await poll(0, 0)
  own.stepWall(-HOUR_MS)
  assert.equal(aheadMs(), 0)
  await own.advance(1_000)
  assert.equal(aheadMs(), 0)
})

test('a machine that slept, with its monotonic clock, has not lost the time', async () => {
  const { own, clock, poll } = machine(0)
  await poll(0, 0)
  const beforeMs = clock.nowMs()
  own.stepWall(HOUR_MS)
  assert.equal(clock.nowMs(), beforeMs + HOUR_MS)
})

test('a wall clock that was set ahead is seen through by the next poll', async () => {
  const { own, poll, aheadMs } = machine(0)
  await poll(0, 0)
  own.stepWall(HOUR_MS)
  assert.equal(aheadMs(), HOUR_MS)
  assert.equal(await poll(5, 5), HOUR_MS - 5)
  assert.equal(aheadMs(), 5)
})

test('a push that lay in a buffer does not take the time back', async () => {
  const { own, clock, gatewayMs, poll, aheadMs } = machine(0)
  const answer = clock.ask()
  await poll(0, 0)
  const sentAtMs = gatewayMs()
  await own.advance(HOUR_MS)
  answer(sentAtMs)
  assert.equal(aheadMs(), 0)
})

test('a slow answer does not worsen a time that is known better', async () => {
  const { poll, aheadMs } = machine(-HOUR_MS)
  await poll(1, 1)
  await poll(4_000, 1_000)
  assert.equal(aheadMs(), 1)
  await poll(0, 9)
  assert.equal(aheadMs(), 0)
})

test('a gateway whose clock is set ahead takes the time with it, within the limit', async () => {
  const { own, clock, gatewayMs } = machine(0)
  const answer = clock.ask()
  answer(gatewayMs())
  await own.advance(HOUR_MS)
  const sentAtMs = gatewayMs() + HOUR_MS
  answer(sentAtMs)
  assert.equal(clock.nowMs(), sentAtMs + 5_000)
  clock.ask()(sentAtMs)
  assert.equal(clock.nowMs(), sentAtMs)
})

test('the time is never behind the gateway, and each quick answer brings it near', async () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('poll' as const),
      thereMs: fc.nat(2_000),
      backMs: fc.nat(2_000),
    }),
    fc.record({ kind: fc.constant('push' as const), backMs: fc.nat(100_000) }),
    fc.record({ kind: fc.constant('rest' as const), ms: fc.nat(100_000) }),
    fc.record({ kind: fc.constant('step' as const), ms: fc.integer({ min: -1e7, max: 1e7 }) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: -1e7, max: 1e7 }), fc.array(step), async (offset, steps) => {
      const { own, clock, gatewayMs, poll, aheadMs } = machine(offset)
      await poll(0, 0)
      const stream = clock.ask()
      for (const one of steps) {
        if (one.kind === 'poll') await poll(one.thereMs, one.backMs)
        else if (one.kind === 'rest') await own.advance(one.ms)
        else if (one.kind === 'step') own.stepWall(one.ms)
        else {
          const sentAtMs = gatewayMs()
          await own.advance(one.backMs)
          stream(sentAtMs)
        }
        assert.ok(aheadMs() >= 0, `behind after ${JSON.stringify(one)}`)
      }
      await poll(1, 1)
      assert.ok(aheadMs() <= 2)
    }),
    { seed, numRuns: 200 },
  )
})
