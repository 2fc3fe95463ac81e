// Goal: for every life, lead, hint and draw a token is renewed in time and nobody is hammered.
// Method: a table of the values that people look up, then properties over all of them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seed } from '../../test/support/seeded-random.ts'
import type { Failure, FailureClass } from '../core/failure.ts'
import {
  isRenewalPressing,
  isUrgent,
  nextForcedAtMs,
  planRefresh,
  planRetry,
  planSameToken,
  pressingAtMs,
} from './policy.ts'

const HOUR_MS = 3_600_000
const issuedAtMs = 1_800_000_000_000

function failed(failureClass: FailureClass, retryAfterMs = 0): Failure {
  return {
    class: failureClass,
    code: 'code',
    message: 'message',
    advice: 'advice',
    recoveryAction: 'retry',
    retryAfterMs,
  }
}

/** Due, mandatory and expiry in milliseconds after the mint. */
function plan(
  lifetimeMs: number,
  rest: { leadMs?: number; hintMs?: number; fraction?: number } = {},
) {
  const { leadMs = 300_000, hintMs = null, fraction = 0 } = rest
  const planned = planRefresh({
    ...{ issuedAtMs, lifetimeMs, leadMs, mandatoryMs: null, refreshInMs: hintMs, fraction },
  })
  return [planned.dueAtMs, planned.mandatoryAtMs, planned.expiresAtMs].map(at => at - issuedAtMs)
}

test('the plan of a fresh token, by life, lead, hint and draw', () => {
  const cases: readonly (readonly [found: readonly number[], expected: readonly number[]])[] = [
    [plan(3_599_000), [3_299_000, 3_539_000, 3_599_000]],
    [plan(3_599_000, { fraction: 0.5 }), [3_269_000, 3_539_000, 3_599_000]],
    [plan(600_000), [300_000, 540_000, 600_000]],
    [plan(60_000), [30_000, 54_000, 60_000]],
    [plan(60_000, { fraction: 1 }), [24_000, 54_000, 60_000]],
    [plan(8_000), [4_000, 7_200, 8_000]],
    [plan(2_000, { fraction: 1 }), [800, 1_800, 2_000]],
    [plan(HOUR_MS, { leadMs: 0 }), [HOUR_MS - 120_000, HOUR_MS - 60_000, HOUR_MS]],
    [plan(HOUR_MS, { hintMs: 1_800_000 }), [1_800_000, HOUR_MS - 60_000, HOUR_MS]],
    [plan(HOUR_MS, { hintMs: 1_000 }), [15_000, HOUR_MS - 60_000, HOUR_MS]],
    [plan(HOUR_MS, { hintMs: HOUR_MS - 1_000 }), [3_300_000, HOUR_MS - 60_000, HOUR_MS]],
    [plan(HOUR_MS, { hintMs: 2 * HOUR_MS }), [3_300_000, HOUR_MS - 60_000, HOUR_MS]],
    [plan(HOUR_MS, { hintMs: 0 }), [3_300_000, HOUR_MS - 60_000, HOUR_MS]],
    [plan(HOUR_MS, { hintMs: -5 }), [3_300_000, HOUR_MS - 60_000, HOUR_MS]],
  ]
  for (const [found, expected] of cases) assert.deepEqual(found, expected)
})

const life = fc.integer({ min: 2_000, max: 28 * HOUR_MS })
const draw = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

test('issued + floor ≤ due < mandatory < expires, whatever the token', () => {
  const lead = fc.integer({ min: 0, max: 30 * HOUR_MS })
  const hint = fc.option(fc.integer({ min: -HOUR_MS, max: 30 * HOUR_MS }))
  fc.assert(
    fc.property(
      life,
      lead,
      fc.option(fc.integer({ min: 1_000, max: HOUR_MS })),
      hint,
      draw,
      (lifetimeMs, leadMs, mandatoryMs, refreshInMs, fraction) => {
        const { dueAtMs, mandatoryAtMs, expiresAtMs } = planRefresh({
          ...{ issuedAtMs, lifetimeMs, leadMs, mandatoryMs, refreshInMs, fraction },
        })
        assert.ok(issuedAtMs + Math.floor(Math.min(15_000, lifetimeMs / 4)) <= dueAtMs)
        assert.ok(dueAtMs < mandatoryAtMs)
        assert.ok(mandatoryAtMs < expiresAtMs)
        assert.equal(expiresAtMs, issuedAtMs + lifetimeMs)
        for (const at of [dueAtMs, mandatoryAtMs]) assert.ok(Number.isSafeInteger(at))
      },
    ),
    { seed, numRuns: 2_000 },
  )
})

/** The wait before the next attempt; null when none comes. */
function wait(
  failure: Failure,
  rest: {
    token?: readonly [ageMs: number, lifetimeMs: number]
    failures?: number
    fraction?: number
  },
) {
  const { token, failures = 1, fraction = 0 } = rest
  const nowMs = issuedAtMs + (token?.[0] ?? 0)
  const nextAtMs = planRetry({
    failure,
    nowMs,
    token: token === undefined ? null : { issuedAtMs, expiresAtMs: issuedAtMs + token[1] },
    consecutiveFailures: failures,
    fraction,
  })
  return nextAtMs === null ? null : nextAtMs - nowMs
}

test('the wait after a failure, by class and by what remains of the token', () => {
  const early = { token: [HOUR_MS / 2, HOUR_MS] } as const
  const late = { token: [HOUR_MS - 100_000, HOUR_MS] } as const
  const dead = { token: [HOUR_MS + 1, HOUR_MS] } as const
  const short = { token: [4_000, 8_000] } as const
  const most = { failures: 20, fraction: 0.999_999 }
  const cases: readonly (readonly [found: number | null, expected: number | null])[] = [
    [wait(failed('P'), early), null],
    [wait(failed('S'), early), null],
    [wait(failed('C'), early), null],
    [wait(failed('Q'), early), 810_000],
    [wait(failed('Q'), { ...early, fraction: 0.5 }), 900_000],
    [wait(failed('T'), early), 500],
    [wait(failed('T'), { ...early, fraction: 0.9 }), 900],
    [wait(failed('T'), { ...early, fraction: 0.9, failures: 4 }), 7_200],
    [wait(failed('T'), { ...early, ...most }), 60_000],
    [wait(failed('T'), { ...late, ...most }), 2_000],
    [wait(failed('T'), { ...dead, ...most }), 2_000],
    [wait(failed('T'), { ...short, ...most }), 1_000],
    [wait(failed('T'), most), 2_000],
    [wait(failed('H', 7_000), early), 7_000],
    [wait(failed('H', 7_000), { ...dead, fraction: 0.5 }), 7_500],
    [wait(failed('H', HOUR_MS), late), HOUR_MS],
    [wait(failed('H'), early), 60_000],
    [wait(failed('H'), late), 15_000],
    [wait(failed('H'), dead), 15_000],
    [wait(failed('H'), {}), 15_000],
    [wait(failed('H'), short), 2_000],
    [wait(failed('X'), early), 15_000],
    [wait(failed('X'), { ...early, ...most }), 60_000],
    [wait(failed('X'), { ...late, ...most }), 15_000],
    [wait(failed('X'), { ...dead, ...most }), 15_000],
    [wait(failed('X'), most), 15_000],
    [wait(failed('X'), { ...short, ...most }), 2_000],
  ]
  for (const [index, [found, expected]] of cases.entries()) {
    assert.equal(found, expected, `case ${index}`)
  }
})

const moment = fc.record({
  lifetimeMs: life,
  age: fc.double({ min: 0, max: 2, noNaN: true }),
  failures: fc.integer({ min: 1, max: 1_000_000 }),
  fraction: draw,
})

test('a transient failure waits within the life that remains, and never long near its end', () => {
  fc.assert(
    fc.property(moment, ({ lifetimeMs, age, failures, fraction }) => {
      const ageMs = Math.round(lifetimeMs * age)
      const token = [ageMs, lifetimeMs] as const
      const waitMs = wait(failed('T'), { token, failures, fraction }) ?? 0
      const remainingMs = lifetimeMs - ageMs
      assert.ok(waitMs >= 500 && waitMs <= 60_000)
      if (remainingMs <= lifetimeMs / 10) assert.ok(waitMs <= 2_000)
      else assert.ok(waitMs <= Math.max(500, Math.ceil(remainingMs / 4)))
    }),
    { seed, numRuns: 2_000 },
  )
})

test('a throttling vendor and a broken answer leave the floor in peace, and are not put off long', () => {
  fc.assert(
    fc.property(moment, ({ lifetimeMs, age, failures, fraction }) => {
      const ageMs = Math.round(lifetimeMs * age)
      const token = [ageMs, lifetimeMs] as const
      // Once the token is dead nobody gains from asking often.
      const isLiving = ageMs < lifetimeMs
      const floorMs = isLiving ? Math.max(500, Math.min(15_000, lifetimeMs / 4)) : 15_000
      for (const one of ['H', 'X'] as const) {
        const waitMs = wait(failed(one), { token, failures, fraction }) ?? 0
        assert.ok(waitMs >= Math.floor(floorMs) && waitMs <= 60_000)
        assert.ok(waitMs <= Math.ceil(Math.max(floorMs, (lifetimeMs - ageMs) / 4, 500)))
      }
    }),
    { seed, numRuns: 2_000 },
  )
})

test('a time that the vendor named is kept, with a second of jitter at most', () => {
  fc.assert(
    fc.property(moment, fc.integer({ min: 1, max: HOUR_MS }), (one, namedMs) => {
      const token = [Math.round(one.lifetimeMs * one.age), one.lifetimeMs] as const
      const waitMs = wait(failed('H', namedMs), { ...one, token }) ?? 0
      assert.ok(waitMs >= namedMs && waitMs <= namedMs + 1_000)
    }),
    { seed },
  )
})

test('a token that was handed out again is asked for in a sixth of what remains', () => {
  const token = { issuedAtMs, expiresAtMs: issuedAtMs + HOUR_MS }
  const next = (ageMs: number) => planSameToken(issuedAtMs + ageMs, token) - issuedAtMs - ageMs
  assert.equal(next(HOUR_MS - 240_000), 40_000)
  assert.equal(next(HOUR_MS - 60_000), 15_000)
  assert.equal(next(HOUR_MS - 1), 15_000)
  assert.equal(next(HOUR_MS + 60_000), 15_000)
  const short = { issuedAtMs, expiresAtMs: issuedAtMs + 8_000 }
  assert.equal(planSameToken(issuedAtMs + 7_000, short), issuedAtMs + 9_000)
})

test('forced refreshes are min(30 s, L/4) apart and respect a throttling vendor', () => {
  const base = { lastForcedAtMs: issuedAtMs, token: null, failure: null, dueAtMs: null }
  const token = (lifetimeMs: number) => ({ issuedAtMs, expiresAtMs: issuedAtMs + lifetimeMs })
  const next = (rest: Partial<Parameters<typeof nextForcedAtMs>[0]>) =>
    nextForcedAtMs({ ...base, ...rest }) - issuedAtMs
  assert.equal(next({}), 30_000)
  assert.equal(next({ token: token(HOUR_MS) }), 30_000)
  assert.equal(next({ token: token(8_000) }), 2_000)
  const dueAtMs = issuedAtMs + 90_000
  assert.equal(next({ failure: failed('H', 80_000), dueAtMs }), 90_000)
  assert.equal(next({ failure: failed('H'), dueAtMs }), 30_000)
  assert.equal(next({ failure: failed('T'), dueAtMs }), 30_000)
  assert.equal(nextForcedAtMs({ ...base, lastForcedAtMs: 0 }), 30_000)
})

test('a source may say when requests begin to wait, up to a quarter of the life, and is renewed well before', () => {
  const cases: readonly (readonly [
    lifetimeMs: number,
    mandatoryMs: number | null,
    number,
    number,
  ])[] = [
    // life, what the source says, mandatory and due before the end
    [HOUR_MS, null, 60_000, 120_000],
    [HOUR_MS, 30_000, 30_000, 120_000],
    [HOUR_MS, 600_000, 600_000, 900_000],
    [HOUR_MS, HOUR_MS, 900_000, 1_350_000],
    [100_000, 60_000, 25_000, 37_500],
    [8_000, null, 800, 1_600],
  ]
  for (const [lifetimeMs, mandatoryMs, mandatoryLeft, dueLeft] of cases) {
    const planned = planRefresh({
      ...{ issuedAtMs, lifetimeMs, leadMs: 0, mandatoryMs, refreshInMs: null, fraction: 0 },
    })
    const left = [planned.mandatoryAtMs, planned.dueAtMs].map(at => planned.expiresAtMs - at)
    assert.deepEqual(left, [mandatoryLeft, dueLeft], `${lifetimeMs} ${mandatoryMs}`)
  }
})

test('the last tenth of a life is urgent, and so is having no token', () => {
  const token = { issuedAtMs, expiresAtMs: issuedAtMs + HOUR_MS }
  const tenthMs = issuedAtMs + HOUR_MS - 360_000
  assert.deepEqual(
    [tenthMs - 1, tenthMs, issuedAtMs + 2 * HOUR_MS].map(nowMs => isUrgent(token, nowMs)),
    [false, true, true],
  )
  assert.equal(isUrgent(null, issuedAtMs), true)
})

test('a renewal presses half as long before the mandatory point as that is before the end', () => {
  const token = { issuedAtMs, expiresAtMs: issuedAtMs + HOUR_MS }
  const credential = { token, mandatoryAtMs: issuedAtMs + HOUR_MS - 60_000 }
  const atMs = issuedAtMs + HOUR_MS - 90_000
  assert.equal(pressingAtMs(credential), atMs)
  assert.deepEqual(
    [atMs - 1, atMs, atMs + HOUR_MS].map(nowMs => isRenewalPressing(credential, nowMs)),
    [false, true, true],
  )
  assert.equal(isRenewalPressing({ token: null, mandatoryAtMs: atMs }, 0), true)
})

test('due ≤ pressing < mandatory, so that new material is tried once before the old one must be', () => {
  const lead = fc.integer({ min: 0, max: 30 * HOUR_MS })
  const mandatory = fc.option(fc.integer({ min: 1_000, max: HOUR_MS }))
  fc.assert(
    fc.property(life, lead, mandatory, draw, (lifetimeMs, leadMs, mandatoryMs, fraction) => {
      const { dueAtMs, mandatoryAtMs, expiresAtMs } = planRefresh({
        ...{ issuedAtMs, lifetimeMs, leadMs, mandatoryMs, refreshInMs: null, fraction },
      })
      const atMs = pressingAtMs({ token: { issuedAtMs, expiresAtMs }, mandatoryAtMs })
      // Each of the three is rounded to a whole millisecond.
      assert.ok(dueAtMs <= atMs + 2, `${dueAtMs - atMs}`)
      assert.ok(atMs < mandatoryAtMs)
    }),
    { seed, numRuns: 2_000 },
  )
})
