// Goal: gateways whose machines disagree about the time agree by the database's. Method: a machine
// whose two clocks the test moves apart, and a database that says what it is told to.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { AppError } from '../core/errors.ts'
import { silentLog } from '../system/log.ts'
import { createDatabaseClock } from './database-clock.ts'

function world(offsetMs: number) {
  const machine = new FakeClock()
  let aheadMs = machine.nowMs() - machine.monotonicMs() + offsetMs
  let isAway = false
  let tripMs = 0
  let nextMs: number[] = []
  const clock = createDatabaseClock(machine, async () => {
    if (isAway) throw new AppError('store_unavailable', 'Away')
    const saidMs = machine.monotonicMs() + aheadMs
    const spanMs = nextMs.shift() ?? tripMs
    if (spanMs > 0) await machine.advance(spanMs)
    return saidMs
  })
  return {
    ...{ machine, clock },
    databaseMs: () => machine.monotonicMs() + aheadMs,
    stepDatabase(ms: number) {
      aheadMs += ms
    },
    away(value: boolean) {
      isAway = value
    },
    trip(ms: number) {
      tripMs = ms
    },
    /** The next answers take as long as that. */
    trips(...ms: number[]) {
      nextMs = ms
    },
  }
}

const start = async (offsetMs: number) => {
  const made = world(offsetMs)
  await made.clock.sample()
  const stop = new AbortController()
  const running = made.clock.run(silentLog, stop.signal)
  const end = async () => {
    stop.abort()
    await running
  }
  return { ...made, end }
}

for (const offsetMs of [0, -300_000, 300_000]) {
  test(`a machine that is ${offsetMs / 1_000} s off shows the database's time`, async t => {
    const { machine, clock, databaseMs, end } = await start(offsetMs)
    t.after(end)
    assert.equal(clock.nowMs(), databaseMs())
    await machine.advance(123_456)
    assert.equal(clock.nowMs(), databaseMs())
  })
}

test('a wall clock that is set moves nothing; a database whose clock is set is followed', async t => {
  const { machine, clock, databaseMs, stepDatabase, end } = await start(0)
  t.after(end)
  machine.stepWall(3_600_000)
  assert.equal(clock.nowMs(), databaseMs())
  machine.stepWall(-7_200_000)
  assert.equal(clock.nowMs(), databaseMs())
  await machine.advance(2_000)
  stepDatabase(-60_000)
  await machine.advance(12_000)
  assert.equal(clock.nowMs(), databaseMs())
})

test('after a sleep of the machine the database is asked within a second; while it is away the wall clock counts', async t => {
  const { machine, clock, databaseMs, stepDatabase, away, end } = await start(0)
  t.after(end)
  const sleep = (ms: number) => {
    machine.stepWall(ms)
    stepDatabase(ms)
  }
  sleep(600_000)
  await machine.advance(1_000)
  assert.equal(clock.nowMs(), databaseMs())
  away(true)
  await machine.advance(15_000)
  assert.equal(clock.nowMs(), databaseMs(), 'it goes on by itself')
  sleep(600_000)
  assert.equal(clock.nowMs(), databaseMs())
  away(false)
  await machine.advance(1_000)
  assert.equal(clock.nowMs(), databaseMs())
})

test('an answer that was long on its way moves nothing, if there was a better one', async () => {
  const { machine, clock, databaseMs, trip } = world(0)
  trip(400)
  await clock.sample()
  assert.equal(clock.nowMs(), databaseMs() - 200, 'half of the way there and back')
  trip(0)
  await clock.sample()
  assert.equal(clock.nowMs(), databaseMs())
  trip(4_000)
  await clock.sample()
  assert.equal(clock.nowMs(), databaseMs())
  assert.equal(clock.monotonicMs(), machine.monotonicMs())
})

test('an answer of a database that hung is not believed, where the next comes at once', async () => {
  const { clock, databaseMs, trips } = world(0)
  trips(8_000, 8_000, 20)
  await clock.sample()
  assert.equal(clock.nowMs(), databaseMs() - 10)
})
