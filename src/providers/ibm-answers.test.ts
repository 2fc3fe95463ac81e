// Goal: how long a token of IBM's lives is never overestimated, and a new key gets its minute.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Secret } from '../core/secret.ts'
import type { TokenAnswer } from '../oauth/token-request.ts'
import { ibmLeadMs, processIamAnswer, processPlatformAnswer } from './ibm-answers.ts'

const NOW_MS = 1_800_000_000_000

function answer(body: unknown, status = 200): TokenAnswer {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  const sent = [new Secret('sent')]
  return { kind: 'answer', status, headers: new Map(), body: bytes, elapsedMs: 0, sent }
}

function jwt(claims: unknown): string {
  return `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c2ln`
}

function iam(body: unknown, configuredAtMs = 0) {
  return processIamAnswer(answer(body), NOW_MS, { configuredAtMs })
}

test('the shorter of the announced life and the token’s own counts, and no absolute time', () => {
  const iat = NOW_MS / 1_000 - 86_400
  const rows = [
    [{ expires_in: 3_600 }, { iat, exp: iat + 3_600 }, 3_600],
    [{ expires_in: 3_600 }, { iat, exp: iat + 900 }, 900],
    [{ expires_in: 60 }, { iat, exp: iat + 3_600 }, 60],
    [{}, { iat, exp: iat + 900 }, 900],
    [{ expires_in: 3_600, expiration: 1_473_188_353 }, { iat, exp: iat + 3_600 }, 3_600],
    [{ expires_in: 3_600 }, { exp: iat }, 3_600],
    [{ expires_in: 3_600 }, {}, 3_600],
  ] as const
  for (const [fields, claims, seconds] of rows) {
    const body = { access_token: jwt(claims), refresh_token: 'not_supported', ...fields }
    const result = iam(body)
    assert.ok(result.kind === 'minted')
    assert.equal(result.lifetimeMs, seconds * 1_000)
    assert.equal(result.rotated.size, 0, 'no refresh token is kept')
  }
  for (const claims of [
    { iat, exp: iat },
    { iat, exp: iat - 1 },
  ]) {
    const result = iam({ access_token: jwt(claims), expires_in: 3_600 })
    assert.equal(result.kind === 'failed' && result.failure.class, 'X')
  }
})

test('a session of Software Hub lives as long as its token says, down to minutes', () => {
  const rows = [
    [{ token: jwt({ iat: 1_000, exp: 1_360 }) }, 360],
    [{ accessToken: jwt({ iat: 0, exp: 43_200 }), _messageCode_: '200' }, 43_200],
    [{ accessToken: jwt({ iat: 0, exp: 600 }), _messageCode_: 200 }, 600],
    [{ token: 'opaque' }, 300],
    [{ token: 'opaque', expires_in: 7_200 }, 7_200],
  ] as const
  for (const [body, seconds] of rows) {
    const result = processPlatformAnswer(answer(body), NOW_MS)
    assert.equal(result.kind === 'minted' && result.lifetimeMs, seconds * 1_000)
  }
  assert.equal(ibmLeadMs(360_000), 72_000)
})

test('an unknown key may be a new one for a minute; then it is unknown', () => {
  const refused = { errorCode: 'BXNIM0415E', errorMessage: 'Provided API key could not be found.' }
  for (const [ageMs, failureClass] of [
    [0, 'Q'],
    [59_999, 'Q'],
    [60_000, 'P'],
  ] as const) {
    const result = iam(refused, NOW_MS - ageMs)
    assert.ok(result.kind === 'failed')
    assert.equal(result.failure.class, failureClass)
    assert.equal(result.failure.code, 'ibm_api_key_not_found')
    assert.match(result.failure.message, /BXNIM0415E: Provided API key could not be found/)
  }
})
