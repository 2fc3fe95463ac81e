import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Secret } from '../core/secret.ts'
import {
  breachFailure,
  isEndpointTrouble,
  isOutcomeUnknown,
  outcomeUnknownFailure,
  parseRetryAfterMs,
  refusalFailure,
  serverTroubleFailure,
  spentFailure,
  throttledFailure,
  unreachableFailure,
} from './refusal.ts'
import type { RefusalRule } from './token-request.ts'

const nowMs = Date.UTC(2026, 10, 25, 12)

function refuse(
  error: string,
  description = '',
  rest: { readonly rules?: readonly RefusalRule[]; readonly sent?: readonly Secret[] } = {},
) {
  return refusalFailure(
    { error, description, subtype: '' },
    { status: 400, rules: rest.rules ?? [], sent: rest.sent ?? [] },
  )
}

test('Retry-After is read as seconds or as an HTTP date, and held to one hour', () => {
  const cases: readonly (readonly [value: string | undefined, expectedMs: number])[] = [
    [undefined, 0],
    ['', 0],
    ['0', 0],
    ['1', 1_000],
    [' 120 ', 120_000],
    ['3600', 3_600_000],
    ['3601', 3_600_000],
    ['9999999', 3_600_000],
    ['99999999999999999999', 3_600_000],
    ['-5', 0],
    ['1.5', 0],
    ['2099', 2_099_000],
    ['2099-01-01', 0],
    ['abc', 0],
    ['60s', 0],
    ['120, 60', 0],
    ['Wed, 25 Nov 2026 12:02:00 GMT', 120_000],
    ['Wednesday, 25-Nov-26 12:02:00 GMT', 120_000],
    ['Wed, 25 Nov 2026 11:00:00 GMT', 0],
    ['Wed, 25 Nov 2026 12:00:00 GMT', 0],
    ['Fri, 25 Nov 2050 12:00:00 GMT', 3_600_000],
    ['Wed, 99 Nov 2026 12:02:00 GMT', 0],
    ['soon, says GMT', 0],
  ]
  for (const [value, expectedMs] of cases) {
    assert.equal(parseRetryAfterMs(value, nowMs), expectedMs, `"${value}"`)
  }
})

test('the general table gives each code of RFC 6749 its class', () => {
  const cases: readonly (readonly [error: string, failureClass: string, code: string])[] = [
    ['invalid_grant', 'P', 'oauth_invalid_grant'],
    ['invalid_client', 'P', 'oauth_invalid_client'],
    ['unauthorized_client', 'P', 'oauth_unauthorized_client'],
    ['invalid_scope', 'P', 'oauth_invalid_scope'],
    ['invalid_request', 'P', 'oauth_invalid_request'],
    ['unsupported_grant_type', 'P', 'oauth_unsupported_grant_type'],
    ['access_denied', 'Q', 'oauth_access_denied'],
    ['server_error', 'T', 'oauth_token_endpoint_retryable'],
    ['temporarily_unavailable', 'T', 'oauth_token_endpoint_retryable'],
    ['internal_failure', 'T', 'oauth_token_endpoint_retryable'],
    ['never_heard_of', 'Q', 'oauth_unrecognized_error'],
    ['__proto__', 'Q', 'oauth_unrecognized_error'],
  ]
  for (const [error, failureClass, code] of cases) {
    const failure = refuse(error)
    assert.deepEqual([failure.class, failure.code], [failureClass, code])
    assert.notEqual(failure.advice, '')
  }
  assert.equal(refuse('invalid_grant', 'internal_failure').class, 'T')
})

test('a vendor’s own rule comes first, by error and by what it says', () => {
  const rule: RefusalRule = {
    error: 'invalid_grant',
    pattern: /too old/i,
    class: 'S',
    code: 'acme_stale',
    advice: 'Wait',
    recoveryAction: 'retry',
  }
  const rules = [rule, { ...rule, error: 'acme_oops', pattern: null, code: 'acme_oops' }]
  assert.equal(refuse('invalid_grant', 'Token Too Old.', { rules }).code, 'acme_stale')
  assert.equal(refuse('invalid_grant', 'Revoked', { rules }).code, 'oauth_invalid_grant')
  assert.equal(refuse('acme_oops', '', { rules }).code, 'acme_oops')
  const bySubtype = refusalFailure(
    { error: 'invalid_grant', description: '', subtype: 'too old' },
    { status: 400, rules, sent: [] },
  )
  assert.equal(bySubtype.class, 'S')
})

test('the vendor’s words are quoted, and what was sent to it is not', () => {
  const sent = [new Secret('header.claims.signature')]
  const failure = refuse('invalid_grant', 'Bad assertion header.claims.signature\r\nX: 1', { sent })
  assert.equal(
    failure.message,
    'Token endpoint answered 400, invalid_grant: Bad assertion [secret] X: 1',
  )
  assert.equal(refuse('invalid_scope').message, 'Token endpoint answered 400, invalid_scope')
})

test('trouble without an OAuth error has its class, too', () => {
  assert.equal(unreachableFailure('h', 'ECONNREFUSED').class, 'T')
  assert.match(unreachableFailure('h:1', 'ECONNREFUSED').message, /"h:1": ECONNREFUSED$/)
  assert.equal(serverTroubleFailure(503).class, 'T')
  assert.equal(throttledFailure(429, 7_000).class, 'H')
  assert.equal(throttledFailure(429, 7_000).retryAfterMs, 7_000)
  assert.equal(breachFailure('oauth_redirected', 'x').class, 'X')
})

test('an unknown outcome is told from others, and its end asks to sign in again', () => {
  const unsent = unreachableFailure('h', 'ECONNREFUSED')
  const unknown = outcomeUnknownFailure(unsent)
  assert.deepEqual([isOutcomeUnknown(unknown), isOutcomeUnknown(unsent)], [true, false])
  const spent = spentFailure(unknown)
  assert.ok(isOutcomeUnknown(spent))
  assert.deepEqual([spent.class, spent.recoveryAction], ['P', 'reauthorize'])
  assert.equal(spent.message, unknown.message)
  assert.match(spent.advice, /Sign in again/)
})

test('trouble of an endpoint is told from trouble with what is sent', () => {
  const unreachable = unreachableFailure('h', 'ECONNREFUSED')
  for (const failure of [
    unreachable,
    outcomeUnknownFailure(unreachable),
    serverTroubleFailure(503),
  ])
    assert.ok(isEndpointTrouble(failure), failure.code)
  for (const failure of [
    refuse('invalid_client'),
    throttledFailure(429, 0),
    breachFailure('x', 'x'),
  ])
    assert.ok(!isEndpointTrouble(failure), failure.code)
})
