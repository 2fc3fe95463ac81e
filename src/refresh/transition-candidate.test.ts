// Goal: what an attempt with new material leaves, what is spent only once is counted right, and the
// history tells what happened. Method: the pure functions, by table and by property.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seed } from '../../test/support/seeded-random.ts'
import { type Credential, HISTORY_MAX, stateOf } from '../core/credential.ts'
import type { Failure, FailureClass } from '../core/failure.ts'
import { Secret } from '../core/secret.ts'
import { outcomeUnknownFailure, unreachableFailure } from '../oauth/refusal.ts'
import type { RefreshResult } from '../providers/refresher.ts'
import { pressingAtMs } from './policy.ts'
import {
  type AttemptResult,
  afterAttempt,
  afterDisabling,
  afterStaging,
  isParked,
  newCredential,
} from './transition.ts'

const HOUR_MS = 3_600_000
const startMs = 1_800_000_000_000
const fresh = newCredential('provider', 'TOKEN', startMs)
const CLASSES: readonly FailureClass[] = ['T', 'H', 'S', 'C', 'P', 'Q', 'X']
const HOPELESS: readonly FailureClass[] = ['P', 'S', 'C']

function minted(value: string, atMs: number): RefreshResult & { readonly kind: 'minted' } {
  return {
    ...{ kind: 'minted', token: new Secret(value), lifetimeMs: HOUR_MS, requestedAtMs: atMs },
    ...{ refreshInMs: null, leadMs: 300_000, mandatoryMs: null, rotatedMaterial: new Map() },
  }
}

function failureOf(failureClass: FailureClass, code = `code_${failureClass}`): Failure {
  const words = { code, message: 'message', advice: 'advice' }
  return { class: failureClass, ...words, recoveryAction: 'retry', retryAfterMs: 0 }
}

function failed(failureClass: FailureClass): RefreshResult & { readonly kind: 'failed' } {
  return { kind: 'failed', failure: failureOf(failureClass) }
}

const unknown: RefreshResult = {
  kind: 'failed',
  failure: outcomeUnknownFailure(unreachableFailure('host', 'reset')),
}

function after(credential: Credential, result: Partial<AttemptResult>, nowMs: number) {
  const whole = { standing: null, candidate: null, ...result }
  return afterAttempt(credential, whole, { nowMs, fraction: 0.5 })
}

const valid = after(fresh, { standing: minted('one', startMs) }, startMs).credential
const soonMs = startMs + 1_000

test('a candidate that brings a token is promoted, and nothing of the old trouble is left', () => {
  const troubled: Credential = {
    ...valid,
    ...{ failure: failureOf('P'), consecutiveFailures: 4, failingSinceMs: soonMs, dueAtMs: null },
    ...{ spends: 2, candidateSpends: 2, candidateFailure: failureOf('T'), isDisabled: true },
  }
  const { credential, candidate } = after(troubled, { candidate: minted('two', soonMs) }, soonMs)
  assert.equal(candidate, 'promoted')
  assert.equal(credential.generation, 2)
  assert.equal(credential.token?.value.reveal(), 'two')
  const { failure, consecutiveFailures, failingSinceMs, isDisabled } = credential
  assert.deepEqual([failure, consecutiveFailures, failingSinceMs, isDisabled], [null, 0, 0, false])
  const { spends, candidateSpends, candidateFailure } = credential
  assert.deepEqual([spends, candidateSpends, candidateFailure], [0, 0, null])
})

for (const one of CLASSES) {
  test(`a candidate that fails with ${one} leaves the standing one untouched`, () => {
    const tried = { ...valid, candidateSpends: 1, claimedBy: 'gateway', claimedUntilMs: soonMs }
    const { credential, candidate } = after(tried, { candidate: failed(one) }, soonMs)
    assert.equal(candidate, HOPELESS.includes(one) ? 'dropped' : 'kept')
    const { token, generation, failure, consecutiveFailures, lastRefreshAtMs } = credential
    assert.deepEqual([token, generation], [valid.token, 1])
    assert.deepEqual([failure, consecutiveFailures, lastRefreshAtMs], [null, 0, startMs])
    assert.equal(credential.candidateFailure?.class, one)
    assert.deepEqual([credential.candidateSpends, credential.claimedBy], [0, ''])
    assert.equal(stateOf(credential, soonMs, { isRefreshing: false }), 'valid')
    const dueAtMs = credential.dueAtMs ?? Number.POSITIVE_INFINITY
    assert.ok(dueAtMs > soonMs)
    // The standing one is renewed in time, whatever becomes of the candidate.
    assert.ok(dueAtMs <= pressingAtMs(valid), `${dueAtMs - startMs}`)
    if (HOPELESS.includes(one)) assert.equal(dueAtMs, pressingAtMs(valid))
  })
}

test('a parked standing credential is not woken by its candidate’s failures', () => {
  const parked = after(valid, { standing: failed('P') }, soonMs).credential
  const waiting = after(parked, { candidate: failed('T') }, soonMs + 1_000)
  assert.equal(waiting.candidate, 'kept')
  assert.ok((waiting.credential.dueAtMs ?? 0) > soonMs + 1_000)
  assert.ok(isParked(waiting.credential), 'only the candidate is due')
  const over = after(waiting.credential, { candidate: failed('P') }, soonMs + 9_000)
  assert.deepEqual([over.candidate, over.credential.dueAtMs], ['dropped', null])
  assert.equal(stateOf(over.credential, soonMs + 9_000, { isRefreshing: false }), 'failed')
})

test('a refusal that an administrator can mend is probed again after its candidate is dropped', () => {
  const forbidden = after(valid, { standing: failed('Q') }, soonMs).credential
  assert.ok(forbidden.dueAtMs !== null)
  const { credential } = after(forbidden, { candidate: failed('P') }, soonMs + 1_000)
  assert.ok(credential.dueAtMs !== null, 'never probed again')
  assert.ok(credential.dueAtMs > soonMs + 700_000)
})

test('when both were tried, the standing one’s plan and the candidate’s retry are both kept', () => {
  const nowMs = startMs + HOUR_MS - 80_000
  const result = { standing: minted('two', nowMs), candidate: failed('T') }
  const { credential, candidate } = after(valid, result, nowMs)
  assert.equal(candidate, 'kept')
  assert.deepEqual([credential.generation, credential.failure], [2, null])
  assert.equal(credential.candidateFailure?.class, 'T')
  const dueAtMs = credential.dueAtMs ?? 0
  assert.ok(dueAtMs > nowMs && dueAtMs <= nowMs + 60_000)
})

test('while a candidate waits for its time the standing one lives by its own plan', () => {
  const throttled = { ...failureOf('H'), retryAfterMs: 86_000 }
  const chance = { nowMs: soonMs, fraction: 0.5 }
  const waiting = afterStaging(valid, throttled, chance)
  assert.equal(waiting.candidateDueAtMs, soonMs + 86_500)
  const failing = after(waiting, { standing: failed('T') }, soonMs + 10_000).credential
  assert.ok((failing.dueAtMs ?? 0) < soonMs + 12_000, 'its own retry comes first')
  const mended = after(failing, { standing: minted('two', soonMs + 12_000) }, soonMs + 12_000)
  const { dueAtMs, candidateDueAtMs } = mended.credential
  assert.deepEqual([mended.candidate, dueAtMs], ['kept', candidateDueAtMs])
  assert.equal(candidateDueAtMs, soonMs + 86_500)
})

test('staging keeps the credential as it is and tries the new material again', () => {
  const claimed = { ...valid, candidateSpends: 2, claimedBy: 'gateway', claimedUntilMs: 9 }
  const chance = { nowMs: soonMs, fraction: 0.5 }
  const staged = afterStaging(claimed, failureOf('T'), chance)
  const { dueAtMs, candidateDueAtMs, candidateFailure, ...rest } = staged
  assert.equal(candidateDueAtMs, dueAtMs)
  assert.equal(candidateFailure?.class, 'T')
  assert.ok((dueAtMs ?? 0) > soonMs && (dueAtMs ?? 0) <= soonMs + 2_000)
  const { dueAtMs: _due, candidateDueAtMs: _next, candidateFailure: _failure, ...before } = valid
  assert.deepEqual(rest, before)
})

test('what may be spent only once: the second unknown outcome is the end, a known one is not', () => {
  const sent = (credential: Credential): Credential => ({
    ...credential,
    spends: credential.spends + 1,
  })
  const first = after(sent(valid), { standing: unknown }, soonMs).credential
  assert.deepEqual([first.spends, first.failure?.class], [1, 'T'])
  assert.ok(first.dueAtMs !== null)

  const known = after(sent(first), { standing: failed('T') }, soonMs).credential
  assert.deepEqual([known.spends, known.failure?.class], [1, 'T'], 'of the first nothing is known')

  for (const before of [first, known]) {
    const second: Credential = after(sent(before), { standing: unknown }, soonMs).credential
    const { failure, dueAtMs, token } = second
    assert.deepEqual([failure?.class, failure?.code], ['P', 'oauth_outcome_unknown'])
    assert.deepEqual([failure?.recoveryAction, dueAtMs], ['reauthorize', null])
    assert.equal(token, valid.token, 'the token serves until its end')
  }
  const mended = after(sent(first), { standing: minted('two', soonMs) }, soonMs).credential
  assert.deepEqual([mended.spends, mended.failure], [0, null])
  const plain = after(sent(valid), { standing: failed('T') }, soonMs).credential
  assert.equal(plain.spends, 0)
})

test('a candidate that may be spent only once is counted apart, and ends the same way', () => {
  const sent = (credential: Credential): Credential => ({
    ...credential,
    candidateSpends: credential.candidateSpends + 1,
  })
  const standing = { ...valid, spends: 1 }
  const first = after(sent(standing), { candidate: unknown }, soonMs)
  assert.deepEqual([first.candidate, first.credential.candidateSpends], ['kept', 1])
  const second = after(sent(first.credential), { candidate: unknown }, soonMs)
  assert.equal(second.candidate, 'dropped')
  const { spends, candidateSpends, candidateFailure, failure } = second.credential
  assert.deepEqual([spends, candidateSpends, failure], [1, 0, null])
  assert.equal(candidateFailure?.recoveryAction, 'reauthorize')
})

function told(credential: Credential): readonly string[] {
  return credential.history.map(({ atMs, state, class: failureClass }) =>
    `${atMs - startMs} ${state} ${failureClass}`.trim(),
  )
}

test('the history tells each change once, and the token’s end at its own instant', () => {
  let credential = fresh
  const live = (atMs: number, standing: RefreshResult) => {
    credential = after(credential, { standing }, startMs + atMs).credential
  }
  live(10, minted('one', startMs + 10))
  live(20, minted('two', startMs + 20))
  live(30, failed('T'))
  live(40, failed('T'))
  live(50, failed('X'))
  live(HOUR_MS + 500, failed('X'))
  live(HOUR_MS + 600, failed('X'))
  live(HOUR_MS + 700, failed('H'))
  live(HOUR_MS + 800, minted('three', startMs + HOUR_MS + 800))
  // Nobody was there at the end of the third.
  live(9 * HOUR_MS, minted('four', startMs + 9 * HOUR_MS))
  live(9 * HOUR_MS + 1, failed('P'))
  credential = afterDisabling(credential, startMs + 9 * HOUR_MS + 2)
  assert.deepEqual(told(credential), [
    '0 pending',
    '10 valid',
    '30 degraded T',
    '50 degraded X',
    `${HOUR_MS + 20} expired X`,
    `${HOUR_MS + 700} expired H`,
    `${HOUR_MS + 800} valid`,
    `${2 * HOUR_MS + 800} expired`,
    `${9 * HOUR_MS} valid`,
    `${9 * HOUR_MS + 1} failed P`,
    `${9 * HOUR_MS + 2} disabled P`,
  ])
  assert.equal(credential.dueAtMs, null)
})

test('whatever happens the history is short, in order, true, and never tells the same twice', () => {
  const step = fc.record({
    waitMs: fc.oneof(fc.integer({ min: 0, max: 60_000 }), fc.integer({ min: 0, max: 3 * HOUR_MS })),
    standing: fc.option(fc.constantFrom('minted', 'unknown', ...CLASSES)),
    candidate: fc.option(fc.constantFrom('minted', 'unknown', ...CLASSES)),
    isDisabled: fc.integer({ min: 0, max: 9 }).map(one => one === 0),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      let credential = fresh
      let nowMs = startMs
      const resultOf = (name: FailureClass | 'minted' | 'unknown' | null): RefreshResult | null => {
        if (name === null) return null
        if (name === 'minted') return minted(`${nowMs}`, nowMs)
        return name === 'unknown' ? unknown : failed(name)
      }
      for (const { waitMs, standing, candidate, isDisabled } of steps) {
        nowMs += waitMs
        // A candidate is left out while it waits, and only then.
        const isTried = candidate !== null && credential.candidateDueAtMs <= nowMs
        const result = {
          standing: resultOf(standing === null && !isTried ? 'minted' : standing),
          candidate: isTried ? resultOf(candidate) : null,
        }
        if (!isTried && credential.candidateDueAtMs <= nowMs)
          credential = { ...credential, candidateDueAtMs: 0 }
        if (isDisabled) credential = afterDisabling(credential, nowMs)
        else credential = afterAttempt(credential, result, { nowMs, fraction: 0.3 }).credential
        const { history } = credential
        assert.ok(history.length <= HISTORY_MAX)
        const last = history.at(-1)
        assert.equal(last?.state, stateOf(credential, nowMs, { isRefreshing: false }))
        assert.equal(last.code, credential.failure?.code ?? '')
        for (const [index, one] of history.entries()) {
          const next = history[index + 1]
          if (next === undefined) continue
          assert.ok(one.atMs <= next.atMs, `${told(credential)}`)
          assert.ok(one.state !== next.state || one.code !== next.code)
        }
        // A retry is never in the past, and what is parked is parked for a reason.
        if (credential.dueAtMs === null) assert.ok(credential.failure !== null || isDisabled)
        else assert.ok(credential.dueAtMs >= nowMs || isDisabled)
      }
    }),
    { seed, numRuns: 500 },
  )
})
