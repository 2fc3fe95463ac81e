// Goal: nothing but a complete token passes, and every other answer gets the class that decides
// what the gateway does next. Method: tables of what servers really say, then any input at all.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seed } from '../../test/support/seeded-random.ts'
import { Secret } from '../core/secret.ts'
import { type AnswerRules, processTokenAnswer } from './token-answer.ts'

const HOUR_MS = 3_600_000
const LIFE_MS_MAX = 28 * HOUR_MS
const nowMs = Date.UTC(2026, 10, 25, 12)
const sent = [new Secret('the-assertion')]

const rules: AnswerRules = { fallbackLifetimeMs: HOUR_MS, refusals: [], rotates: 'REFRESH_TOKEN' }

interface Said {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  /** Text, bytes, a value to be written as JSON, or null for a body that was too large. */
  readonly body?: unknown
}

function judge({ status = 200, headers = {}, body = '' }: Said) {
  return processTokenAnswer(
    rules,
    {
      kind: 'answer',
      status,
      headers: new Map(Object.entries(headers)),
      body: bytesOf(body),
      elapsedMs: 5,
      sent,
    },
    nowMs,
  )
}

function bytesOf(body: unknown): Uint8Array | null {
  if (body === null || body instanceof Uint8Array) return body
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}

/** `minted`, or the failure's class and code in one word each. */
function verdict(said: Said): string {
  const judged = judge(said)
  return judged.kind === 'minted' ? 'minted' : `${judged.failure.class} ${judged.failure.code}`
}

function minted(said: Said) {
  const judged = judge(said)
  assert.equal(judged.kind, 'minted')
  if (judged.kind !== 'minted') throw new Error('unreachable')
  return judged
}

const good = { access_token: 'ya29.c.token...', token_type: 'Bearer', expires_in: 3_599 }
const UNUSABLE = 'X oauth_invalid_success_response'
const EMPTY = 'X oauth_empty_access_token'
const UNKNOWN = 'X oauth_unrecognized_error_response'

test('a complete answer is a token, untouched, with its life', () => {
  const { token, lifetimeMs, refreshInMs, rotated } = minted({ body: good })
  assert.equal(token.reveal(), 'ya29.c.token...')
  assert.equal(lifetimeMs, 3_599_000)
  assert.deepEqual([refreshInMs, rotated], [null, new Map()])
})

test('expires_in is read as servers write it and never merely coerced', () => {
  const cases: readonly (readonly [json: string, expected: number | string])[] = [
    ['3599', 3_599_000],
    ['"3599"', 3_599_000],
    ['3599.0', 3_599_000],
    ['3599.9', 3_599_000],
    ['1', 1_000],
    ['1e3', 1_000_000],
    ['100800', LIFE_MS_MAX],
    ['100801', LIFE_MS_MAX],
    ['2147483', LIFE_MS_MAX],
    ['2147483648', LIFE_MS_MAX],
    ['9e18', LIFE_MS_MAX],
    ['1e309', LIFE_MS_MAX],
    ['"9999999999"', LIFE_MS_MAX],
    ['0', UNUSABLE],
    ['-0', UNUSABLE],
    ['0.5', UNUSABLE],
    ['-1', UNUSABLE],
    ['-1e309', UNUSABLE],
    ['"0"', UNUSABLE],
    ['""', UNUSABLE],
    ['null', UNUSABLE],
    ['true', UNUSABLE],
    ['[]', UNUSABLE],
    ['[3600]', UNUSABLE],
    ['{}', UNUSABLE],
    ['"1e3"', UNUSABLE],
    ['"0x10"', UNUSABLE],
    ['"-5"', UNUSABLE],
    ['" 60"', UNUSABLE],
    ['"3599.5"', UNUSABLE],
    ['"abc"', UNUSABLE],
    ['"12345678901"', UNUSABLE],
  ]
  for (const [json, expected] of cases) {
    const body = `{"access_token":"t","token_type":"Bearer","expires_in":${json}}`
    const judged = judge({ body })
    const found = judged.kind === 'minted' ? judged.lifetimeMs : verdict({ body })
    assert.equal(found, expected, json)
  }
})

test('a missing expires_in is no error: the source’s own cap counts', () => {
  assert.equal(minted({ body: { ...good, expires_in: undefined } }).lifetimeMs, HOUR_MS)
})

test('only a printable token passes', () => {
  const cases: readonly (readonly [token: unknown, expected: string])[] = [
    ['t', 'minted'],
    ['!~', 'minted'],
    ['undefined!', 'minted'],
    ['x'.repeat(65_536), 'minted'],
    ['x'.repeat(65_537), UNUSABLE],
    ['', EMPTY],
    ['undefined', EMPTY],
    ['null', EMPTY],
    [undefined, EMPTY],
    [null, EMPTY],
    [42, EMPTY],
    [true, EMPTY],
    [['t'], EMPTY],
    [{ t: 1 }, EMPTY],
    ['with space', UNUSABLE],
    ['line\n', UNUSABLE],
    ['t\r\nX-Evil: 1', UNUSABLE],
    ['nul\u0000', UNUSABLE],
    ['del\u007f', UNUSABLE],
    ['tökén', UNUSABLE],
    ['\uFEFFtoken', UNUSABLE],
  ]
  for (const [access_token, expected] of cases) {
    assert.equal(verdict({ body: { ...good, access_token } }), expected, String(access_token))
  }
})

test('only a Bearer token passes, in any case and by default', () => {
  for (const token_type of ['Bearer', 'bearer', 'BEARER', undefined, null]) {
    assert.equal(verdict({ body: { ...good, token_type } }), 'minted', String(token_type))
  }
  for (const token_type of ['mac', 'DPoP', 'N_A', 'Bearer ', '', 1, ['Bearer'], {}]) {
    assert.equal(verdict({ body: { ...good, token_type } }), UNUSABLE, String(token_type))
  }
})

test('a 200 that is not a token is never one', () => {
  const cases: readonly (readonly [body: unknown, expected: string])[] = [
    [{ error: 'invalid_grant' }, 'P oauth_invalid_grant'],
    [{ ...good, error: 'invalid_grant' }, 'P oauth_invalid_grant'],
    [{ ...good, error: { code: 403, status: 'PERMISSION_DENIED' } }, UNKNOWN],
    [{ ...good, error: true }, UNKNOWN],
    [{ ...good, error: '' }, 'minted'],
    [{ ...good, error: null }, 'minted'],
    ['<html>Please log in</html>', UNKNOWN],
    ['', UNKNOWN],
    ['null', UNKNOWN],
    ['"token"', UNKNOWN],
    ['[{"access_token":"t"}]', UNKNOWN],
    ['{"access_token":"t"', UNKNOWN],
    ['['.repeat(1_000_000), UNKNOWN],
    [null, UNKNOWN],
    ['{}', EMPTY],
    ['{"__proto__":{"access_token":"t","expires_in":60}}', EMPTY],
    ['{"access_token":"t","__proto__":{"error":"invalid_grant"}}', 'minted'],
    ['access_token=t&expires_in=3600', UNKNOWN],
    [Buffer.from([0xff, 0xfe, 0x00]), UNKNOWN],
  ]
  for (const [body, expected] of cases) {
    assert.equal(verdict({ body }), expected, String(body).slice(0, 60))
  }
})

test('a byte order mark, odd whitespace and duplicate members do no harm', () => {
  const bytes = Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(JSON.stringify(good))])
  assert.equal(verdict({ body: bytes }), 'minted')
  assert.equal(verdict({ body: `\r\n ${JSON.stringify(good)} \n` }), 'minted')
  const twice = '{"access_token":"old","access_token":"new","expires_in":1,"expires_in":60}'
  assert.equal(minted({ body: twice }).token.reveal(), 'new')
  assert.equal(minted({ body: twice }).lifetimeMs, 60_000)
})

test('a refresh token and the vendor’s hint are kept; what is none is not', () => {
  const both = minted({ body: { ...good, refresh_token: 'rotated', refresh_in: '1800' } })
  assert.equal(both.rotated.get('REFRESH_TOKEN')?.reveal(), 'rotated')
  assert.equal(both.refreshInMs, 1_800_000)
  for (const refresh_token of ['', null, 7, {}]) {
    assert.equal(minted({ body: { ...good, refresh_token } }).rotated.size, 0)
  }
  for (const refresh_in of ['', null, true, 'soon', [1]]) {
    assert.equal(minted({ body: { ...good, refresh_in } }).refreshInMs, null)
  }
})

test('each status has its class, whatever the body claims', () => {
  const refusal = { error: 'invalid_grant' }
  const TROUBLE = 'T oauth_token_endpoint_retryable'
  const THROTTLED = 'H oauth_token_endpoint_throttled'
  const REDIRECTED = 'X oauth_redirected'
  const cases: readonly (readonly [said: Said, expected: string])[] = [
    ...[300, 301, 302, 303, 304, 307, 308, 399].map(
      status => [{ status, body: good }, REDIRECTED] as const,
    ),
    ...[408, 500, 501, 502, 503, 504, 599].flatMap(status => [
      [{ status, body: good }, TROUBLE] as const,
      [{ status, body: '<html>' }, TROUBLE] as const,
      [{ status, body: refusal }, TROUBLE] as const,
    ]),
    [{ status: 429 }, THROTTLED],
    [{ status: 429, body: refusal }, THROTTLED],
    [{ status: 503, headers: { 'retry-after': '5' } }, THROTTLED],
    [{ status: 400, headers: { 'retry-after': '5' }, body: refusal }, THROTTLED],
    [{ status: 200, headers: { 'retry-after': '5' }, body: good }, 'minted'],
    [{ status: 400, body: refusal }, 'P oauth_invalid_grant'],
    [{ status: 401, body: { error: 'invalid_client' } }, 'P oauth_invalid_client'],
    [{ status: 403, body: { error: 'access_denied' } }, 'Q oauth_access_denied'],
    [{ status: 400, body: { error: 'server_error' } }, 'T oauth_token_endpoint_retryable'],
    [{ status: 400, body: { error: 'who_knows' } }, 'Q oauth_unrecognized_error'],
    [{ status: 400, body: good }, UNKNOWN],
    [{ status: 403, body: '<html>Forbidden</html>' }, UNKNOWN],
    [{ status: 404, body: '' }, UNKNOWN],
    [{ status: 403, body: { error: { code: 403 } } }, UNKNOWN],
    [{ status: 201, body: good }, UNKNOWN],
    [{ status: 204, body: '' }, UNKNOWN],
    [{ status: 400, body: null }, UNKNOWN],
  ]
  for (const [said, expected] of cases) {
    assert.equal(verdict(said), expected, JSON.stringify(said))
  }
})

test('Retry-After reaches the failure, from a throttling and from a failing server', () => {
  for (const status of [429, 503, 408, 400]) {
    const judged = judge({ status, headers: { 'retry-after': '120' } })
    assert.equal(judged.kind === 'failed' && judged.failure.retryAfterMs, 120_000)
  }
  const dated = judge({ status: 429, headers: { 'retry-after': 'Wed, 25 Nov 2026 12:00:30 GMT' } })
  assert.equal(dated.kind === 'failed' && dated.failure.retryAfterMs, 30_000)
  const unnamed = judge({ status: 429 })
  assert.equal(unnamed.kind === 'failed' && unnamed.failure.retryAfterMs, 0)
})

test('an error that echoes the assertion does not carry it on', () => {
  const body = { error: 'invalid_request', error_description: 'bad assertion=the-assertion' }
  const judged = judge({ status: 400, body })
  assert.ok(!JSON.stringify(judged).includes('the-assertion'))
})

test('no answer whatever throws, and a minted token is always printable and mortal', () => {
  const value = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom('Bearer', '3599', 3_599, 0, -1, 1e300, '', null, 'tok', 't\n', 'é'),
  )
  const fields = fc.record(
    {
      access_token: value,
      token_type: value,
      expires_in: value,
      refresh_in: value,
      refresh_token: value,
      error: value,
      error_description: value,
    },
    { requiredKeys: [] },
  )
  const body = fc.oneof(
    { weight: 3, arbitrary: fields },
    { weight: 1, arbitrary: fc.uint8Array() },
    { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
    { weight: 1, arbitrary: fc.constant(null) },
  )
  const headers = fc.dictionary(fc.constantFrom('retry-after', 'date', 'age'), fc.string())
  const status = fc.oneof(fc.constant(200), fc.integer({ min: 100, max: 999 }))
  fc.assert(
    fc.property(status, headers, body, (one, two, three) => {
      const judged = judge({ status: one, headers: two, body: three })
      if (judged.kind === 'failed') {
        assert.ok(judged.failure.retryAfterMs >= 0 && judged.failure.retryAfterMs <= HOUR_MS)
        return
      }
      assert.match(judged.token.reveal(), /^[\x21-\x7e]{1,65536}$/)
      assert.ok(judged.lifetimeMs > 0 && judged.lifetimeMs <= LIFE_MS_MAX)
      assert.ok(Number.isInteger(judged.lifetimeMs))
    }),
    { seed, numRuns: 500 },
  )
})
