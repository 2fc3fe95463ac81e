// Goal: the fault grammar says what it means, and says clearly when it cannot.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError } from '../core/errors.ts'
import { type FaultEffect, NO_EFFECT, parseFault, parseFaultWords } from './faults.ts'

const VENDORS = ['google.token', 'vertex']

const EFFECTS: readonly (readonly [string, Partial<FaultEffect>])[] = [
  ['status=503', { status: 503 }],
  ['status=200', { status: 200 }],
  ['status=599', { status: 599 }],
  ['retry_after=120', { headers: [['retry-after', '120']] }],
  [
    "retry_after='Wed, 21 Oct 2026 07:28:00 GMT'",
    { headers: [['retry-after', 'Wed, 21 Oct 2026 07:28:00 GMT']] },
  ],
  ['age=30', { headers: [['age', '30']] }],
  [
    "header='X-A: 1' header='X-A: 2'",
    {
      headers: [
        ['x-a', '1'],
        ['x-a', '2'],
      ],
    },
  ],
  ['body={"error": "a b"}', { body: '{"error": "a b"}' }],
  ['body=\'<p>it says "no"</p>\'', { body: '<p>it says "no"</p>' }],
  ['body=', { body: '' }],
  [
    'error=invalid_grant description="two words"',
    { error: 'invalid_grant', description: '"two words"' },
  ],
  ['redirect=http://127.0.0.1:9/x', { redirect: 'http://127.0.0.1:9/x' }],
  ['gzip_bomb=50MiB', { bombBytes: 52_428_800 }],
  ['gzip_bomb=256MiB', { bombBytes: 268_435_456 }],
  ['endless', { isEndless: true }],
  ['delay=20s', { delayMs: 20_000 }],
  ['hang', { isHanging: true }],
  ['reset=before', { reset: 'before' }],
  ['reset=after', { reset: 'after' }],
  ['drip=10ms drip_head=1s', { dripMs: 10, dripHeadMs: 1_000 }],
  ['truncate=0', { truncateBytes: 0 }],
  ['break_after=5', { breakAfter: 5 }],
  ['date_offset=-1h', { dateOffsetMs: -3_600_000 }],
  ['clock_offset=+10m', { clockOffsetMs: 600_000 }],
  ['expires_in="3599"', { expiresIn: '"3599"' }],
  ['expires_in=\'"3599"\'', { expiresIn: '"3599"' }],
  ['expires_in=1e309', { expiresIn: '1e309' }],
  ['expires_in=[3600, 1]', { expiresIn: '[3600, 1]' }],
  ['expires_in=missing', { expiresIn: 'missing' }],
  ['token_type="mac"', { tokenType: '"mac"' }],
  ['access_token="a\\r\\nX-Evil: 1"', { accessToken: '"a\\r\\nX-Evil: 1"' }],
  ['access_token=""', { accessToken: '""' }],
  ['same_token', { isSameToken: true }],
  ['expired', { isExpired: true }],
  ['revoke', { isRevoked: true }],
]

for (const [text, effect] of EFFECTS) {
  test(`"${text}" is understood`, () => {
    const command = parseFault(`google.token ${text}`, VENDORS)
    assert.ok(command.kind === 'set')
    assert.deepEqual(command.fault.effect, { ...NO_EFFECT, ...effect })
  })
}

test('a fault has a target, a count and a span', () => {
  for (const target of ['vertex', '*', '/v1/projects/p']) {
    const command = parseFault(`  ${target}  status=500\tcount=3 for=1m `, VENDORS)
    assert.ok(command.kind === 'set')
    const { count, forMs } = command.fault
    assert.deepEqual([command.fault.target, count, forMs], [target, 3, 60_000])
  }
  const unlimited = parseFault('vertex status=500', VENDORS)
  assert.ok(unlimited.kind === 'set')
  assert.deepEqual([unlimited.fault.count, unlimited.fault.forMs], [null, null])
})

test('clear takes one target, or all', () => {
  assert.deepEqual(parseFault('vertex clear', VENDORS), { kind: 'clear', target: 'vertex' })
  assert.deepEqual(parseFault('clear', VENDORS), { kind: 'clear', target: '*' })
})

test('words that a shell has split need no quoting', () => {
  const command = parseFaultWords(['vertex', 'body=<p>two "words', 'status=200'], VENDORS)
  assert.ok(command.kind === 'set')
  assert.equal(command.fault.effect.body, '<p>two "words')
})

const MISTAKES: readonly (readonly [string, RegExp])[] = [
  ['', /names no target ""/],
  ['vertex', /says nothing to do/],
  ['vertex count=3', /says nothing to do/],
  ['entra.token status=500', /names no target "entra.token"; there are google.token, vertex/],
  ['vertex stauts=500', /knows no "stauts"/],
  ['vertex status', /gives "status" no value/],
  ['vertex status=199', /from 200 to 599/],
  ['vertex status=600', /from 200 to 599/],
  ['vertex status=5e2', /from 200 to 599/],
  ['vertex status=500 status=501', /says "status" twice/],
  ['vertex hang=1', /it takes none/],
  ['vertex status=500 count=0', /from 1 to/],
  ['vertex status=500 count=', /from 1 to/],
  ['vertex status=500 for=0s', /expected a span/],
  ['vertex delay=soon', /expected a span/],
  ['vertex date_offset=--1h', /expected a span/],
  ['vertex reset=sometimes', /expected before or after/],
  ['vertex gzip_bomb=0', /expected a size/],
  ['vertex gzip_bomb=257MiB', /expected a size/],
  ['vertex redirect=nowhere', /expected a URL/],
  ['vertex header=X-A', /expected NAME: VALUE/],
  ["vertex header='X A: 1'", /expected NAME: VALUE/],
  ['vertex expires_in=soon', /expected a JSON value/],
  ['vertex expires_in=', /expected a JSON value/],
  ['vertex body={"a":1', /quote or a bracket open/],
  ['vertex body="a', /quote or a bracket open/],
  ["vertex body='a", /quote or a bracket open/],
  ['vertex clear status=500', /knows no "clear"/],
]

for (const [text, message] of MISTAKES) {
  test(`"${text}" is refused in one line`, () => {
    assert.throws(
      () => parseFault(text, VENDORS),
      (error: unknown) =>
        error instanceof AppError &&
        error.code === 'invalid_usage' &&
        message.test(error.message) &&
        !error.message.includes('\n') &&
        error.hint !== '',
    )
  })
}
