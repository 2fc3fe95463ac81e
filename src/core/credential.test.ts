import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Credential, stateOf, usableToken } from './credential.ts'
import type { Failure } from './failure.ts'
import { Secret } from './secret.ts'

const NOW_MS = 1_000_000

const failure = (failureClass: Failure['class']): Failure => ({
  class: failureClass,
  code: 'c',
  message: 'm',
  advice: 'a',
  recoveryAction: 'retry',
  retryAfterMs: 0,
})
const token = (expiresAtMs: number) => ({ value: new Secret('t'), issuedAtMs: 0, expiresAtMs })
const credential = (rest: Partial<Credential>): Credential => ({
  providerId: 'p',
  key: 'k',
  grant: null,
  version: 1,
  generation: 1,
  token: token(NOW_MS + 1),
  dueAtMs: NOW_MS,
  mandatoryAtMs: 0,
  lastRefreshAtMs: 0,
  lastAttemptAtMs: 0,
  lastForcedAtMs: 0,
  consecutiveFailures: 0,
  failure: null,
  failingSinceMs: 0,
  isDisabled: false,
  spends: 0,
  candidateSpends: 0,
  candidateDueAtMs: 0,
  candidateFailure: null,
  history: [],
  claimedBy: '',
  claimedUntilMs: 0,
  claimedFrom: '',
  ...rest,
})

for (const [label, rest, isRefreshing, expected] of [
  ['no token yet', { token: null }, false, 'pending'],
  ['no token yet, minting', { token: null }, true, 'pending'],
  ['a good token', {}, false, 'valid'],
  ['a good token, minting', {}, true, 'refreshing'],
  ['a good token, last attempt failed', { failure: failure('T') }, false, 'degraded'],
  ['a good token, trying again', { failure: failure('T') }, true, 'degraded'],
  ['a token at its end', { token: token(NOW_MS) }, false, 'expired'],
  ['a token past its end, minting', { token: token(NOW_MS - 1) }, true, 'expired'],
  ['no token, throttled', { token: null, failure: failure('H') }, false, 'expired'],
  ['no token, parked', { token: null, failure: failure('P'), dueAtMs: null }, false, 'failed'],
  ['a good token, parked', { failure: failure('P'), dueAtMs: null }, false, 'failed'],
  ['a good token, permission', { failure: failure('Q') }, false, 'failed'],
  ['no failure, nothing due', { dueAtMs: null }, false, 'valid'],
  ['off', { isDisabled: true }, false, 'disabled'],
  ['off and failed', { isDisabled: true, failure: failure('P'), dueAtMs: null }, true, 'disabled'],
] as const satisfies readonly (readonly [string, Partial<Credential>, boolean, string])[]) {
  test(`${label} is ${expected}`, () => {
    assert.equal(stateOf(credential(rest), NOW_MS, { isRefreshing }), expected)
  })
}

test('a token is usable until the millisecond of its end, and not when disabled', () => {
  assert.ok(usableToken(credential({ token: token(NOW_MS + 1) }), NOW_MS))
  assert.equal(usableToken(credential({ token: token(NOW_MS) }), NOW_MS), null)
  assert.equal(usableToken(credential({ token: null }), NOW_MS), null)
  assert.equal(usableToken(credential({ isDisabled: true }), NOW_MS), null)
  assert.ok(usableToken(credential({ failure: failure('P'), dueAtMs: null }), NOW_MS))
})
