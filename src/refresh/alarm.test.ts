import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { type Alarm, createAlarm } from './alarm.ts'
import { watchClock } from './clock-watch.ts'

const START_MS = 1_000_000

interface Sleeping {
  readonly clock: FakeClock
  readonly alarm: Alarm
  /** Sleeps until this many milliseconds after the start; the answer tells when it ended. */
  sleep(afterMs: number): Promise<number>
}

function asleep(t: TestContext): Sleeping {
  const clock = new FakeClock(START_MS)
  const alarm = createAlarm({ clock, watch: watchClock(clock) }, { sweepMs: 4_000 })
  const over = new AbortController()
  t.after(() => over.abort())
  alarm.begin()
  return {
    ...{ clock, alarm },
    async sleep(afterMs) {
      await alarm.sleep(START_MS + afterMs, over.signal)
      return clock.nowMs() - START_MS
    },
  }
}

test('it wakes when the next is due, and after the sweep at the latest', async t => {
  for (const [afterMs, endedMs] of [
    [3_999, 3_999],
    [4_001, 4_000],
    [Infinity, 4_000],
  ] as const) {
    const { clock, sleep } = asleep(t)
    const ended = sleep(afterMs)
    await clock.advance(endedMs)
    assert.equal(await ended, endedMs)
  }
  assert.equal(await asleep(t).sleep(-1), 0)
})

test('what is due before ends the sleep at once; what is due later does not', async t => {
  const { clock, alarm, sleep } = asleep(t)
  const ended = sleep(3_000)
  await clock.advance(100)
  alarm.due(START_MS + 3_000)
  alarm.due(START_MS + 3_600_000)
  await clock.advance(100)
  assert.equal(clock.sleepers, 1)
  alarm.due(START_MS + 2_999)
  assert.equal(await ended, 200)
})

test('what was told during a turn counts for the sleep after it, and for no other', async t => {
  const { clock, alarm, sleep } = asleep(t)
  alarm.due(START_MS + 500)
  const first = sleep(3_000)
  await clock.advance(500)
  assert.equal(await first, 500)
  alarm.begin()
  const second = sleep(3_000)
  await clock.advance(2_500)
  assert.equal(await second, 3_000)
})

test('whoever rings during a turn or a sleep ends the sleep', async t => {
  const { clock, alarm, sleep } = asleep(t)
  alarm.ring()
  assert.equal(await sleep(3_000), 0)
  alarm.begin()
  const ended = sleep(3_000)
  await clock.advance(10)
  alarm.ring()
  assert.equal(await ended, 10)
})
