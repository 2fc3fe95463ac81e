import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../../test/support/seeded-random.ts'
import { type Credential, stateOf } from '../core/credential.ts'
import type { Failure, FailureClass } from '../core/failure.ts'
import { Secret } from '../core/secret.ts'
import type { RefreshResult } from '../providers/refresher.ts'
import { afterAttempt, afterNothing, newCredential } from './transition.ts'

const HOUR_MS = 3_600_000
const startMs = 1_800_000_000_000
const fresh = newCredential('provider', 'TOKEN', startMs)

function minted(value: string, rest: { lifetimeMs?: number; requestedAtMs?: number } = {}) {
  return {
    kind: 'minted',
    token: new Secret(value),
    lifetimeMs: HOUR_MS,
    requestedAtMs: startMs,
    refreshInMs: null,
    leadMs: 300_000,
    mandatoryMs: null,
    rotatedMaterial: new Map(),
    ...rest,
  } as const
}

function failed(failureClass: FailureClass) {
  const failure: Failure = {
    class: failureClass,
    code: `code_${failureClass}`,
    message: 'message',
    advice: 'advice',
    recoveryAction: 'retry',
    retryAfterMs: 0,
  }
  return { kind: 'failed', failure } as const
}

function after(credential: Credential, result: RefreshResult, nowMs = startMs, fraction = 0) {
  const attempt = { standing: result, candidate: null }
  return afterAttempt(credential, attempt, { nowMs, fraction }).credential
}

test('a new credential is due at once and pending', () => {
  assert.equal(fresh.dueAtMs, startMs)
  assert.equal(stateOf(fresh, startMs, { isRefreshing: false }), 'pending')
})

test('a mint stores the token, counts it, plans the next, and ends the claim', () => {
  const claimed = { ...fresh, claimedBy: 'gateway', claimedUntilMs: startMs + 30_000, version: 7 }
  const next = after(claimed, minted('one'), startMs + 400)
  assert.equal(next.token?.value.reveal(), 'one')
  assert.deepEqual(
    { ...next, token: null },
    {
      ...fresh,
      version: 7,
      generation: 1,
      dueAtMs: startMs + HOUR_MS - 300_000,
      mandatoryAtMs: startMs + HOUR_MS - 60_000,
      lastRefreshAtMs: startMs + 400,
      lastAttemptAtMs: startMs + 400,
      history: [
        { atMs: startMs, state: 'pending', class: '', code: '' },
        { atMs: startMs + 400, state: 'valid', class: '', code: '' },
      ],
    },
  )
  assert.equal(next.token?.issuedAtMs, startMs)
  assert.equal(next.token?.expiresAtMs, startMs + HOUR_MS)
})

test('failures count, keep the token and when it began; a success forgets them', () => {
  const valid = after(fresh, minted('one'))
  const firstMs = startMs + HOUR_MS - 300_000
  const first = after(valid, failed('T'), firstMs)
  const second = after(first, failed('X'), firstMs + 5_000)
  assert.equal(second.consecutiveFailures, 2)
  assert.equal(second.failingSinceMs, firstMs)
  assert.equal(second.failure?.code, 'code_X')
  assert.equal(second.token, valid.token)
  assert.equal(second.generation, 1)
  assert.equal(second.lastRefreshAtMs, startMs)
  assert.equal(second.lastAttemptAtMs, firstMs + 5_000)
  assert.equal(stateOf(second, firstMs + 5_000, { isRefreshing: false }), 'degraded')
  assert.equal(stateOf(second, startMs + HOUR_MS, { isRefreshing: false }), 'expired')

  const mended = after(second, minted('two', { requestedAtMs: firstMs }), firstMs + 20_000)
  assert.deepEqual(
    [mended.failure, mended.consecutiveFailures, mended.failingSinceMs],
    [null, 0, 0],
  )
  assert.equal(mended.generation, 2)
})

test('a permanent failure parks the credential, and the token serves until its end', () => {
  const valid = after(fresh, minted('one'))
  for (const one of ['P', 'S', 'C'] as const) {
    const parked = after(valid, failed(one), startMs + 1_000)
    assert.equal(parked.dueAtMs, null)
    assert.equal(parked.token, valid.token)
    assert.equal(stateOf(parked, startMs + 1_000, { isRefreshing: false }), 'failed')
  }
  assert.equal(after(valid, failed('Q')).dueAtMs, startMs + 810_000)
})

test('the same token again changes nothing that a router sees, and spaces the attempts', () => {
  let credential = after(fresh, minted('one', { lifetimeMs: 240_000 }))
  const { token } = credential
  const waits: number[] = []
  for (let nowMs = credential.dueAtMs ?? 0; nowMs < startMs + 240_000; ) {
    // The vendor counts what remains in whole seconds, rounded down.
    const remainingMs = Math.floor((startMs + 240_000 - nowMs) / 1_000) * 1_000
    const same = minted('one', { lifetimeMs: remainingMs, requestedAtMs: nowMs - 300 })
    credential = after(credential, same, nowMs)
    assert.equal(credential.generation, 1)
    assert.equal(credential.token, token)
    waits.push((credential.dueAtMs ?? 0) - nowMs)
    nowMs = credential.dueAtMs ?? Number.POSITIVE_INFINITY
  }
  assert.ok(waits.length > 3 && waits.length < 10, `${waits}`)
  for (const wait of waits) assert.ok(wait >= 15_000, `${waits}`)
})

test('the same token with another end is believed, in either direction', () => {
  const valid = after(fresh, minted('one'))
  const longer = after(
    valid,
    minted('one', { requestedAtMs: startMs + 1_000_000 }),
    startMs + 1_000_000,
  )
  assert.equal(longer.token?.expiresAtMs, startMs + 1_000_000 + HOUR_MS)
  assert.equal(longer.dueAtMs, startMs + 1_000_000 + HOUR_MS - 300_000)
  assert.equal(longer.generation, 1)
  const shorter = after(valid, minted('one', { lifetimeMs: 600_000 }), startMs)
  assert.equal(shorter.token?.expiresAtMs, startMs + 600_000)
})

test('an attempt that never began leaves all but the claim', () => {
  const claimed = { ...fresh, claimedBy: 'gateway', claimedUntilMs: startMs + 30_000 }
  assert.deepEqual(afterNothing(claimed), fresh)
})

test('whatever a vendor answers with, it is asked at most 5 times in a minute', () => {
  const { fraction } = seededRandom()
  const answers: Readonly<Record<string, (nowMs: number, count: number) => RefreshResult>> = {
    'a token with an unusable life': () => failed('X'),
    'an hour': (nowMs, count) => minted(`${count}`, { requestedAtMs: nowMs }),
    'a minute': (nowMs, count) => minted(`${count}`, { requestedAtMs: nowMs, lifetimeMs: 60_000 }),
    'the same token for ever': nowMs => minted('one', { requestedAtMs: nowMs }),
    'the same token as it ends': nowMs =>
      minted('one', {
        requestedAtMs: nowMs,
        lifetimeMs: Math.max(1_000, startMs + 60_000 - nowMs),
      }),
    'throttling without a time': () => failed('H'),
    refusal: () => failed('P'),
    'a token, then nonsense': (nowMs, count) =>
      count === 0 ? minted('one', { requestedAtMs: nowMs, lifetimeMs: 60_000 }) : failed('X'),
  }
  for (const [name, answer] of Object.entries(answers)) {
    let credential = fresh
    let count = 0
    for (let nowMs = startMs; nowMs < startMs + 60_000; count += 1) {
      credential = after(credential, answer(nowMs, count), nowMs, fraction())
      assert.ok((credential.dueAtMs ?? Number.POSITIVE_INFINITY) > nowMs, name)
      nowMs = credential.dueAtMs ?? Number.POSITIVE_INFINITY
    }
    assert.ok(count <= 5, `${name}: ${count} attempts`)
  }
})
