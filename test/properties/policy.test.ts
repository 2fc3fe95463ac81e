// Goal: for any token, any trouble and any clock the next attempt comes neither too early nor too late,
// and nobody is hammered. Method: single plans over all inputs, then whole lives of a credential: a
// vendor says arbitrary things at each due time, and a small model of the rules watches.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Credential, HISTORY_MAX, stateOf, usableToken } from '../../src/core/credential.ts'
import type { Failure, FailureClass } from '../../src/core/failure.ts'
import { Secret } from '../../src/core/secret.ts'
import type { RefreshResult } from '../../src/providers/refresher.ts'
import { nextForcedAtMs, planRefresh, planRetry, planSameToken } from '../../src/refresh/policy.ts'
import { afterAttempt, newCredential } from '../../src/refresh/transition.ts'
import { holds } from './holds.ts'

const SECOND_MS = 1_000
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const START_MS = 1_800_000_000_000
const FOREVER_MS = 8_640_000_000_000_000
const CLASSES: readonly FailureClass[] = ['T', 'H', 'S', 'C', 'P', 'Q', 'X']

const life = fc.oneof(
  fc.integer({ min: SECOND_MS, max: 28 * HOUR_MS }),
  fc.constantFrom(SECOND_MS, 8 * SECOND_MS, MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 28 * HOUR_MS),
)
const draw = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
/** Hints and leads as vendors and sources state them, absurd ones among them. */
const span = fc.oneof(
  fc.integer({ min: -HOUR_MS, max: 30 * HOUR_MS }),
  fc.constantFrom(0, 1, -1, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, 1e300),
)
const lead = span.map(Math.abs)
const retryAfter = fc.oneof(
  { weight: 2, arbitrary: fc.constant(0) },
  fc.integer({ min: 1, max: HOUR_MS }),
)

function failureOf(failureClass: FailureClass, retryAfterMs = 0): Failure {
  return {
    ...{ class: failureClass, code: `code_${failureClass}`, message: 'm', advice: 'a' },
    ...{ recoveryAction: 'retry', retryAfterMs },
  }
}

function assertInstant(at: number, what: string): void {
  assert.ok(Number.isSafeInteger(at), `${what} is ${at}`)
}

test('a fresh token is due between its floor and its mandatory point, whatever is said of it', async () => {
  const mandatory = fc.option(fc.integer({ min: 1, max: 30 * HOUR_MS }), { nil: null })
  await holds(
    fc.property(life, lead, mandatory, fc.option(span, { nil: null }), draw, (...token) => {
      const [lifetimeMs, leadMs, mandatoryMs, refreshInMs, fraction] = token
      const plan = planRefresh({
        ...{ issuedAtMs: START_MS, lifetimeMs, leadMs, mandatoryMs, refreshInMs, fraction },
      })
      for (const [what, at] of Object.entries(plan)) assertInstant(at, what)
      const floorMs = Math.min(15 * SECOND_MS, lifetimeMs / 4)
      assert.ok(plan.dueAtMs >= START_MS + Math.floor(floorMs), 'before the floor')
      assert.ok(plan.dueAtMs < plan.mandatoryAtMs, 'not before the mandatory point')
      assert.ok(plan.mandatoryAtMs < plan.expiresAtMs, 'no time to wait in')
      assert.ok(plan.mandatoryAtMs >= START_MS + Math.floor((lifetimeMs * 3) / 4), 'waits for long')
      assert.equal(plan.expiresAtMs, START_MS + lifetimeMs)
      // A hint may bring the refresh forward and never puts it off.
      const usual = planRefresh({
        ...{ issuedAtMs: START_MS, lifetimeMs, leadMs, mandatoryMs, refreshInMs: null, fraction },
      })
      assert.ok(plan.dueAtMs <= usual.dueAtMs, 'put off by a hint')
    }),
    4_000,
  )
})

const token = fc.option(
  fc.record({ lifetimeMs: life, ageMs: fc.integer({ min: 0, max: 60 * HOUR_MS }) }),
  { nil: null },
)

test('after a failure the next attempt comes as its class promises', async () => {
  const failure = fc.tuple(fc.constantFrom(...CLASSES), retryAfter)
  const failures = fc.oneof(
    fc.integer({ min: 1, max: 60 }),
    fc.constantFrom(1e6, Number.MAX_SAFE_INTEGER),
  )
  await holds(
    fc.property(
      token,
      failure,
      failures,
      draw,
      (aged, [failureClass, retryAfterMs], count, fraction) => {
        const nowMs = START_MS + (aged?.ageMs ?? 0)
        const standing =
          aged === null ? null : { issuedAtMs: START_MS, expiresAtMs: START_MS + aged.lifetimeMs }
        const nextAtMs = planRetry({
          ...{ failure: failureOf(failureClass, retryAfterMs), nowMs, token: standing },
          ...{ consecutiveFailures: count, fraction },
        })
        if (['P', 'S', 'C'].includes(failureClass)) {
          assert.equal(nextAtMs, null)
          return
        }
        if (nextAtMs === null) throw new Error(`${failureClass} is parked`)
        assertInstant(nextAtMs, 'the next attempt')
        const waitMs = nextAtMs - nowMs
        const lifeMs = aged?.lifetimeMs ?? 0
        const leftMs = standing === null ? 0 : Math.max(0, standing.expiresAtMs - nowMs)
        const isLiving = standing !== null && standing.expiresAtMs > nowMs
        const peaceMs = isLiving ? Math.max(500, Math.min(15_000, lifeMs / 4)) : 15_000
        if (failureClass === 'Q') {
          assert.ok(waitMs >= 13.5 * MINUTE_MS && waitMs <= 16.5 * MINUTE_MS, `${waitMs}`)
        } else if (failureClass === 'H' && retryAfterMs > 0) {
          assert.ok(waitMs >= retryAfterMs && waitMs <= retryAfterMs + SECOND_MS, `${waitMs}`)
        } else if (failureClass === 'T') {
          assert.ok(waitMs >= 500 && waitMs <= MINUTE_MS, `${waitMs}`)
          if (leftMs <= lifeMs / 10) assert.ok(waitMs <= 2_000, `${waitMs} ms in the last tenth`)
          else assert.ok(waitMs <= Math.max(500, Math.ceil(leftMs / 4)), `${waitMs} of ${leftMs}`)
        } else {
          assert.ok(waitMs >= Math.floor(peaceMs), `${waitMs} ms of peace`)
          const latestMs = Math.max(peaceMs, Math.min(MINUTE_MS, leftMs / 4), 500)
          assert.ok(waitMs <= Math.ceil(latestMs), `${waitMs} of ${leftMs}`)
        }
      },
    ),
    6_000,
  )
})

test('a token that was handed out again, and a forced refresh, keep their distance', async () => {
  await holds(
    fc.property(
      life,
      fc.integer({ min: 0, max: 30 * HOUR_MS }),
      retryAfter,
      (lifetimeMs, ageMs, namedMs) => {
        const standing = { issuedAtMs: START_MS, expiresAtMs: START_MS + lifetimeMs }
        const nowMs = START_MS + ageMs
        const sameMs = planSameToken(nowMs, standing) - nowMs
        const leftMs = Math.max(0, lifetimeMs - ageMs)
        assert.ok(Number.isSafeInteger(sameMs))
        assert.ok(sameMs >= Math.floor(Math.min(15_000, lifetimeMs / 4)))
        assert.ok(sameMs <= Math.ceil(Math.max(15_000, leftMs / 6)))

        const dueAtMs = nowMs + namedMs
        const forced = (failure: Failure | null) =>
          nextForcedAtMs({ lastForcedAtMs: nowMs, token: standing, failure, dueAtMs })
        assertInstant(forced(null), 'the forced refresh')
        assert.equal(forced(null) - nowMs, Math.round(Math.min(30_000, lifetimeMs / 4)))
        const throttled = forced(failureOf('H', namedMs))
        assert.ok(throttled >= forced(null) && (namedMs === 0 || throttled >= dueAtMs))
      },
    ),
    2_000,
  )
})

/** What a vendor says at one attempt. */
type Said =
  | {
      readonly kind: 'minted'
      readonly lifetimeMs: number
      readonly hintMs: number | null
      readonly isSame: boolean
    }
  | { readonly kind: 'failed'; readonly class: FailureClass; readonly retryAfterMs: number }

const said: fc.Arbitrary<Said> = fc.oneof(
  fc.record({
    kind: fc.constant('minted' as const),
    lifetimeMs: life,
    hintMs: fc.option(span, { nil: null }),
    isSame: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('failed' as const),
    class: fc.constantFrom(...CLASSES),
    retryAfterMs: retryAfter,
  }),
)

/** One attempt: how late it comes, how long it takes, what is said, and whether a person forces it. */
const attempt = fc.record({
  said,
  lateMs: fc.oneof(
    { weight: 4, arbitrary: fc.constant(0) },
    fc.integer({ min: 0, max: 3 * HOUR_MS }),
  ),
  elapsedMs: fc.integer({ min: 0, max: 20_000 }),
  fraction: draw,
})

/** The rules of a credential's life, as few as they are. */
interface Model {
  generation: number
  failures: number
  sinceMs: number
  class: FailureClass | null
  value: string
}

function resultOf(spoken: Said, value: string, requestedAtMs: number): RefreshResult {
  if (spoken.kind === 'failed') {
    return { kind: 'failed', failure: failureOf(spoken.class, spoken.retryAfterMs) }
  }
  return {
    ...{ kind: 'minted', token: new Secret(value), lifetimeMs: spoken.lifetimeMs, requestedAtMs },
    ...{
      refreshInMs: spoken.hintMs,
      leadMs: 300_000,
      mandatoryMs: null,
      rotatedMaterial: new Map(),
    },
  }
}

/** One step of the model beside one of the product; answers the credential after it. */
function step(
  credential: Credential,
  model: Model,
  one: { spoken: Said; nowMs: number; elapsedMs: number; fraction: number },
) {
  const { spoken, nowMs, elapsedMs, fraction } = one
  const isSame = spoken.kind === 'minted' && spoken.isSame && model.value !== ''
  if (spoken.kind === 'minted' && !isSame) {
    model.generation += 1
    model.value = `token-${model.generation}`
  }
  const result = resultOf(spoken, model.value, nowMs - elapsedMs)
  const next = afterAttempt(
    credential,
    { standing: result, candidate: null },
    { nowMs, fraction },
  ).credential
  if (spoken.kind === 'minted') Object.assign(model, { failures: 0, sinceMs: 0, class: null })
  else {
    model.sinceMs = model.class === null ? nowMs : model.sinceMs
    model.failures += 1
    model.class = spoken.class
  }
  return next
}

/** Everything that must hold after each attempt. */
function assertAgrees(credential: Credential, model: Model, nowMs: number): void {
  assert.equal(credential.generation, model.generation)
  assert.equal(credential.consecutiveFailures, model.failures)
  assert.equal(credential.failingSinceMs, model.sinceMs)
  assert.equal(credential.failure?.class ?? null, model.class)
  assert.equal(credential.token?.value.reveal() ?? '', model.value)
  assert.deepEqual([credential.claimedBy, credential.claimedUntilMs], ['', 0])
  const isParked = model.class !== null && ['P', 'S', 'C'].includes(model.class)
  assert.equal(credential.dueAtMs === null, isParked)
  for (const [what, at] of Object.entries(credential)) {
    if (typeof at === 'number') assertInstant(at, what)
  }
  if (credential.dueAtMs !== null) {
    assert.ok(credential.dueAtMs > nowMs - 20_000, 'due long ago')
    assert.ok(credential.dueAtMs < FOREVER_MS, 'never due')
  }
  const usable = usableToken(credential, nowMs)
  assert.ok(usable === null || usable.expiresAtMs > nowMs)
  const state = stateOf(credential, nowMs, { isRefreshing: false })
  const expected =
    isParked || model.class === 'Q'
      ? 'failed'
      : usable === null
        ? model.class === null && model.value === ''
          ? 'pending'
          : 'expired'
        : model.class === null
          ? 'valid'
          : 'degraded'
  assert.equal(state, expected)
  const { history } = credential
  assert.ok(history.length >= 1 && history.length <= HISTORY_MAX)
  assert.equal(history.at(-1)?.state, state)
}

test('a credential’s whole life is what a small model says, and the vendor is never hammered', async () => {
  await holds(
    fc.property(fc.array(attempt, { minLength: 1, maxLength: 60 }), attempts => {
      let credential = newCredential('provider', 'TOKEN', START_MS)
      const model: Model = { generation: 0, failures: 0, sinceMs: 0, class: null, value: '' }
      const startsMs: number[] = []
      let nowMs = START_MS
      for (const { said: spoken, lateMs, elapsedMs, fraction } of attempts) {
        // A parked credential waits for a person, who comes after an hour.
        const dueAtMs = credential.dueAtMs ?? nowMs + HOUR_MS
        const beginsMs = Math.max(nowMs, dueAtMs) + lateMs
        startsMs.push(beginsMs)
        nowMs = beginsMs + elapsedMs
        const { generation } = credential
        credential = step(credential, model, { spoken, nowMs, elapsedMs, fraction })
        assert.ok(credential.generation >= generation, 'a generation went back')
        assertAgrees(credential, model, nowMs)
      }
      assertSpaced(startsMs, attempts)
    }),
    1_500,
  )
})

/**
 * The least distance between two attempts is half a second after trouble, and a quarter of the life
 * that was given (at most 15 s) after an answer: no sequence of answers makes a loop.
 */
function assertSpaced(
  startsMs: readonly number[],
  attempts: readonly { readonly said: Said; readonly elapsedMs: number }[],
): void {
  for (let at = 1; at < startsMs.length; at += 1) {
    const distanceMs = (startsMs[at] ?? 0) - (startsMs[at - 1] ?? 0)
    const before = attempts[at - 1]
    if (before === undefined) continue
    const lifeMs = before.said.kind === 'minted' ? before.said.lifetimeMs : 4 * 500
    // An answer may take longer than the life that it brings: then the next attempt is due at once.
    const leastMs = Math.max(before.elapsedMs, Math.floor(Math.min(15_000, lifeMs / 4)))
    assert.ok(distanceMs >= leastMs, `${distanceMs} ms after ${JSON.stringify(before)}`)
  }
}

test('new material takes over with its first token, and is given up when it never can', async () => {
  const tried = fc.record({ standing: fc.option(said), candidate: said, fraction: draw })
  await holds(
    fc.property(life, fc.array(tried, { minLength: 1, maxLength: 8 }), (lifetimeMs, attempts) => {
      const old = resultOf(
        { kind: 'minted', lifetimeMs, hintMs: null, isSame: false },
        'old',
        START_MS,
      )
      const fresh = newCredential('provider', 'TOKEN', START_MS)
      const chance = { nowMs: START_MS, fraction: 0 }
      let { credential } = afterAttempt(fresh, { standing: old, candidate: null }, chance)
      let nowMs = START_MS
      for (const { standing, candidate, fraction } of attempts) {
        nowMs += SECOND_MS
        const result = afterAttempt(
          credential,
          {
            standing: standing && resultOf(standing, 'old', nowMs),
            candidate: resultOf(candidate, 'new', nowMs),
          },
          { nowMs, fraction },
        )
        const isHopeless = candidate.kind === 'failed' && ['P', 'S', 'C'].includes(candidate.class)
        const fate = candidate.kind === 'minted' ? 'promoted' : isHopeless ? 'dropped' : 'kept'
        assert.equal(result.candidate, fate)
        const next = result.credential
        assert.equal(next.token?.value.reveal(), fate === 'promoted' ? 'new' : 'old')
        if (fate === 'promoted') {
          assert.deepEqual([next.failure, next.candidateFailure, next.spends], [null, null, 0])
          assert.equal(next.generation, credential.generation + 1)
          return
        }
        // The old token serves on, and the next attempt is planned unless nothing is left to try.
        assert.equal(next.generation, credential.generation)
        assert.equal(next.candidateFailure?.class, candidate.kind === 'failed' && candidate.class)
        assert.ok(next.dueAtMs === null || next.dueAtMs >= nowMs)
        if (fate === 'kept') assert.ok(next.dueAtMs !== null, 'nobody tries the new material again')
        if (fate === 'dropped') return
        credential = next
      }
    }),
    1_000,
  )
})
