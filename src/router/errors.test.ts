import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  errorAnswer,
  errorEvent,
  RouterError,
  type RouterErrorCode,
  routeUnavailable,
  upstreamFailure,
} from './errors.ts'
import { UpstreamError } from './exchange.ts'

const NOW_MS = 1_800_000_000_000

function headersOf(error: RouterError): Record<string, string> {
  const { headers } = errorAnswer('openai', error)
  const found: Record<string, string> = {}
  for (let at = 0; at < headers.length; at += 2) found[headers[at] ?? ''] = headers[at + 1] ?? ''
  return found
}

test('each code has its status and its type in both dialects', () => {
  const ROWS: readonly (readonly [RouterErrorCode, number, string, string])[] = [
    ['not_found', 404, 'not_found_error', 'invalid_request_error'],
    ['method_not_allowed', 405, 'invalid_request_error', 'invalid_request_error'],
    ['origin_forbidden', 403, 'permission_error', 'invalid_request_error'],
    ['bad_request', 400, 'invalid_request_error', 'invalid_request_error'],
    ['body_too_large', 413, 'request_too_large', 'invalid_request_error'],
    ['protocol_unsupported', 400, 'invalid_request_error', 'invalid_request_error'],
    ['inference_not_configured', 503, 'api_error', 'server_error'],
    ['gateway_unreachable', 503, 'api_error', 'server_error'],
    ['route_unavailable', 503, 'api_error', 'server_error'],
    ['credential_missing', 503, 'api_error', 'server_error'],
    ['credential_expired', 503, 'api_error', 'server_error'],
    ['credential_rejected', 503, 'api_error', 'server_error'],
    ['upstream_unreachable', 502, 'api_error', 'server_error'],
    ['upstream_broken', 502, 'api_error', 'server_error'],
    ['upstream_timeout', 504, 'timeout_error', 'server_error'],
    ['internal', 500, 'api_error', 'server_error'],
  ]
  for (const [code, status, anthropic, openai] of ROWS) {
    const error = new RouterError(code, 'Say "so"')
    const inAnthropic = errorAnswer('anthropic', error)
    assert.equal(inAnthropic.status, status)
    assert.deepEqual(JSON.parse(Buffer.from(inAnthropic.body).toString()), {
      type: 'error',
      error: { type: anthropic, message: 'Say "so"' },
    })
    const inOpenai = errorAnswer('openai', error)
    assert.deepEqual(JSON.parse(Buffer.from(inOpenai.body).toString()), {
      error: { message: 'Say "so"', type: openai, code, param: null },
    })
    assert.equal(headersOf(error)['x-openshell-error'], code)
    assert.equal(headersOf(error)['content-length'], String(inOpenai.body.length))
  }
})

test('Retry-After is in whole seconds, rounded up, and absent when waiting does not help', () => {
  const after = (retryAfterMs: number): string | undefined =>
    headersOf(new RouterError('gateway_unreachable', 'x', { retryAfterMs }))['retry-after']
  assert.deepEqual([0, 1, 1_000, 1_001].map(after), [undefined, '1', '1', '2'])
})

test('a failed route is told by its own code, with cause, time and next attempt', () => {
  const failure = {
    name: 'inference.local',
    providerName: 'acme',
    code: 'oauth_invalid_grant',
    message: 'the key was revoked',
    sinceMs: NOW_MS - 60_000,
    nextAttemptAtMs: NOW_MS + 30_000,
  } as const
  const error = routeUnavailable(failure, NOW_MS)
  assert.equal(error.status, 503)
  assert.equal(headersOf(error)['x-openshell-error'], 'oauth_invalid_grant')
  assert.equal(headersOf(error)['retry-after'], '30')
  assert.match(error.message, /"acme".*since 2027-01-15T07:59:00.000Z.*the key was revoked/)
  const forPerson = routeUnavailable({ ...failure, nextAttemptAtMs: 0 }, NOW_MS)
  assert.equal(headersOf(forPerson)['retry-after'], '60')
  assert.match(forPerson.message, /needs a person/)
  assert.match(routeUnavailable({ ...failure, nextAttemptAtMs: 1 }, NOW_MS).message, /due now/)
  assert.doesNotMatch(routeUnavailable({ ...failure, sinceMs: 0 }, NOW_MS).message, /since/)
})

test('a failure code that cannot be a header gives way to our own', () => {
  for (const failureCode of ['', 'a b', 'x\r\nset-cookie: y', 'é', 'x'.repeat(65)]) {
    assert.equal(
      new RouterError('route_unavailable', 'x', { failureCode }).shownCode,
      'route_unavailable',
    )
  }
  const failureCode = 'x'.repeat(64)
  assert.equal(new RouterError('route_unavailable', 'x', { failureCode }).shownCode, failureCode)
})

test('the event for a broken stream stands alone and names the error event where there is one', () => {
  const error = new RouterError('upstream_broken', 'gone')
  assert.equal(
    Buffer.from(errorEvent('anthropic', error)).toString(),
    '\n\nevent: error\ndata: {"type":"error","error":{"type":"api_error","message":"gone"}}\n\n',
  )
  assert.equal(
    Buffer.from(errorEvent('openai', error)).toString(),
    '\n\ndata: {"error":{"message":"gone","type":"server_error","code":"upstream_broken","param":null}}\n\n',
  )
  assert.equal(
    Buffer.from(errorEvent('openai_responses', error)).toString(),
    '\n\nevent: error\ndata: {"type":"error","error":{"message":"gone","type":"server_error","code":"upstream_broken","param":null}}\n\n',
  )
})

test('transport errors become ours without their words', () => {
  const secretive = new UpstreamError('connect', 'to 10.0.0.1')
  assert.equal(upstreamFailure(secretive).code, 'upstream_unreachable')
  assert.doesNotMatch(upstreamFailure(secretive).message, /10\.0/)
  assert.equal(upstreamFailure(new UpstreamError('broken', 'x')).code, 'upstream_broken')
  assert.equal(upstreamFailure(new Error('x')).code, 'upstream_broken')
  const own = new RouterError('bad_request', 'x')
  assert.equal(upstreamFailure(own), own)
})

test('an AWS SDK is told which exception it was, in the header that it reads', () => {
  const ROWS: readonly (readonly [RouterErrorCode, string])[] = [
    ['bad_request', 'ValidationException'],
    ['not_found', 'ResourceNotFoundException'],
    ['credential_expired', 'ServiceUnavailableException'],
    ['upstream_unreachable', 'ServiceUnavailableException'],
    ['upstream_timeout', 'ModelTimeoutException'],
    ['internal', 'InternalServerException'],
  ]
  for (const [code, exception] of ROWS) {
    const { headers, body } = errorAnswer('aws', new RouterError(code, 'Say "so"'))
    assert.equal(headers[headers.indexOf('x-amzn-errortype') + 1], exception)
    assert.deepEqual(JSON.parse(Buffer.from(body).toString()), { message: 'Say "so"' })
  }
})

test('IBM’s SDK is told in the list of errors that it reads', () => {
  const error = new RouterError('route_unavailable', 'Say "so"', { failureCode: 'ibm_refused' })
  const { status, body } = errorAnswer('watsonx', error)
  assert.equal(status, 503)
  assert.deepEqual(JSON.parse(Buffer.from(body).toString()), {
    errors: [{ code: 'ibm_refused', message: 'Say "so"' }],
    trace: '',
    status_code: 503,
  })
})

test('Google’s SDKs are told the status by number and by name', () => {
  const ROWS: readonly (readonly [RouterErrorCode, number, string])[] = [
    ['bad_request', 400, 'INVALID_ARGUMENT'],
    ['origin_forbidden', 403, 'PERMISSION_DENIED'],
    ['not_found', 404, 'NOT_FOUND'],
    ['method_not_allowed', 405, 'UNIMPLEMENTED'],
    ['body_too_large', 413, 'INVALID_ARGUMENT'],
    ['internal', 500, 'INTERNAL'],
    ['upstream_broken', 502, 'UNAVAILABLE'],
    ['credential_expired', 503, 'UNAVAILABLE'],
    ['upstream_timeout', 504, 'DEADLINE_EXCEEDED'],
  ]
  for (const [code, status, name] of ROWS) {
    const { body } = errorAnswer('google', new RouterError(code, 'Say "so"'))
    const expected = { error: { code: status, message: 'Say "so"', status: name } }
    assert.deepEqual(JSON.parse(Buffer.from(body).toString()), expected)
  }
  assert.equal(
    Buffer.from(errorEvent('google', new RouterError('upstream_broken', 'gone'))).toString(),
    '\n\ndata: {"error":{"code":502,"message":"gone","status":"UNAVAILABLE"}}\n\n',
  )
})
