import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readRefusal } from './probe-refusal.ts'

test('the vendor’s own code and words are found in each form that is in use', () => {
  const detail = { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'SERVICE_DISABLED' }
  const google = { code: 403, message: 'No', status: 'PERMISSION_DENIED' }
  const rows: readonly (readonly [body: unknown, code: string, message: string])[] = [
    [{ error: { ...google, details: [{}, detail] } }, 'SERVICE_DISABLED', 'No'],
    [{ error: google }, 'PERMISSION_DENIED', 'No'],
    [[{ error: google }], 'PERMISSION_DENIED', 'No'],
    [{ error: { code: 'DeploymentNotFound', message: 'No' } }, 'DeploymentNotFound', 'No'],
    [{ error: { code: '401', message: 'No' } }, '', 'No'],
    [{ error: { type: 'invalid_request_error', code: 'k', message: 'No' } }, 'k', 'No'],
    [
      { error: { type: 'invalid_request_error', code: null, message: 'No' } },
      'invalid_request_error',
      'No',
    ],
    [{ type: 'error', error: { type: 'not_found_error', message: 'No' } }, 'not_found_error', 'No'],
    [
      { errors: [{ code: 'authorization_rejected', message: 'No' }] },
      'authorization_rejected',
      'No',
    ],
    [{ error: 'invalid_token', error_description: 'No' }, 'invalid_token', 'No'],
    [{ __type: 'AccessDeniedException', message: 'No' }, 'AccessDeniedException', 'No'],
    [{ statusCode: 401, message: 'No' }, '', 'No'],
    [{ detail: 'No' }, '', 'No'],
    [{}, '', ''],
  ]
  for (const [body, code, message] of rows)
    assert.deepEqual(readRefusal(JSON.stringify(body)), { code, message }, JSON.stringify(body))
})

test('what is no JSON object carries nothing', () => {
  for (const text of ['', '<html>', '"x"', 'null', '7', '[]'])
    assert.equal(readRefusal(text), null, text)
})
