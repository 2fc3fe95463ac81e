import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { AppError, type ErrorCode } from '../core/errors.ts'
import { fromServiceError, toStatus } from './errors.ts'

/** OpenShell's own clients know the status alone, so each is part of the contract. */
const STATUSES = {
  invalid_usage: status.INVALID_ARGUMENT,
  invalid_argument: status.INVALID_ARGUMENT,
  invalid_credential: status.INVALID_ARGUMENT,
  invalid_config: status.INVALID_ARGUMENT,
  endpoint_forbidden: status.INVALID_ARGUMENT,
  unknown_provider_type: status.INVALID_ARGUMENT,
  already_exists: status.ALREADY_EXISTS,
  not_found: status.NOT_FOUND,
  version_conflict: status.ABORTED,
  mint_refused: status.FAILED_PRECONDITION,
  no_valid_token: status.FAILED_PRECONDITION,
  failed_precondition: status.FAILED_PRECONDITION,
  unauthenticated: status.UNAUTHENTICATED,
  permission_denied: status.PERMISSION_DENIED,
  gateway_unreachable: status.UNAVAILABLE,
  store_unavailable: status.UNAVAILABLE,
  wrong_master_key: status.FAILED_PRECONDITION,
  port_taken: status.INTERNAL,
  state_dir_unusable: status.INTERNAL,
  too_large: status.RESOURCE_EXHAUSTED,
  unimplemented: status.UNIMPLEMENTED,
  internal: status.INTERNAL,
} satisfies Readonly<Record<ErrorCode, status>>

const isErrorCode = (code: string): code is ErrorCode => code in STATUSES
const received = (answer: ReturnType<typeof toStatus>): ServiceError =>
  Object.assign(new Error(answer.details), answer)

for (const [code, expected] of Object.entries(STATUSES)) {
  test(`${code} goes as ${status[expected]} and comes back as itself`, () => {
    assert.ok(isErrorCode(code))
    const answer = toStatus(
      new AppError(code, 'Cannot do it', { hint: 'Try “ü” — é', cause: 'hush' }),
    )
    assert.equal(answer.code, expected)
    assert.ok(!JSON.stringify([answer, answer.metadata.toJSON()]).includes('hush'))
    const back = fromServiceError(received(answer))
    assert.deepEqual([back.code, back.message, back.hint], [code, 'Cannot do it', 'Try “ü” — é'])
  })
}

test('an unexpected error leaks nothing', () => {
  for (const error of [
    new TypeError('hush'),
    'hush',
    { details: 'hush', code: 3 },
    null,
    undefined,
  ]) {
    const { code, details, metadata } = toStatus(error)
    assert.deepEqual([code, details], [status.INTERNAL, 'The gateway met an internal error'])
    assert.deepEqual(metadata.getMap(), { 'x-openshell-error': 'internal' })
  }
})

for (const [code, expected] of [
  [status.INVALID_ARGUMENT, 'invalid_argument'],
  [status.NOT_FOUND, 'not_found'],
  [status.ABORTED, 'version_conflict'],
  [status.UNAVAILABLE, 'gateway_unreachable'],
  [status.DEADLINE_EXCEEDED, 'gateway_unreachable'],
  [status.RESOURCE_EXHAUSTED, 'too_large'],
  [status.UNIMPLEMENTED, 'unimplemented'],
  [status.DATA_LOSS, 'internal'],
] as const) {
  test(`a foreign gateway's ${status[code]} is ${expected}`, () => {
    for (const claimed of ['', 'no_such_code', '__proto__', 'toString']) {
      const metadata = new Metadata()
      if (claimed !== '') metadata.set('x-openshell-error', claimed)
      assert.equal(fromServiceError(received({ code, details: 'd', metadata })).code, expected)
    }
  })
}

test('a message of any length and shape fits into a trailer', () => {
  for (const text of ['x'.repeat(1_000_000), `${'x'.repeat(999)}😀`, '\ud800', 'a\nb\0c']) {
    const { details, metadata } = toStatus(new AppError('not_found', text, { hint: text }))
    assert.ok(details.length <= 1_001 && details.isWellFormed())
    encodeURI(details)
    assert.ok(String(metadata.get('x-openshell-hint-bin')[0]).length <= 1_001)
  }
})
