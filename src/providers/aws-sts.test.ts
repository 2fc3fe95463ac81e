// Goal: STS is asked exactly as AWS documents, only what it answers is read, and a refusal is said with
// what it means. Method: the refresher against a scripted STS, by a fake clock.
import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { test } from 'node:test'
import {
  NOW_MS,
  provider,
  ROLE_ARN,
  refresh,
  stsAnswer,
  stsError,
  summary,
  USER,
  WEB,
} from '../../test/support/aws-refresh.ts'
import { formOf, type Script } from '../../test/support/scripted-fetch.ts'
import type { FetchRequest } from '../system/fetch.ts'

const SESSION = {
  accessKeyId: 'ASIAMADEUP',
  secretAccessKey: 'session-secret',
  sessionToken: 'session-token',
}

test('a web identity asks unsigned, with the token from its file', async () => {
  const { result, requests } = await refresh(provider({}, WEB), () =>
    stsAnswer('AssumeRoleWithWebIdentity'),
  )
  assert.ok(result.kind === 'minted')
  assert.deepEqual(JSON.parse(result.token.reveal()), SESSION)
  assert.equal(result.lifetimeMs, 3_600_000)
  assert.equal(result.leadMs, 900_000)
  const [request] = requests
  assert.equal(request?.url, 'https://sts.eu-west-1.amazonaws.com/')
  assert.equal(request?.headers.get('accept'), 'text/xml')
  assert.equal(request?.headers.has('authorization'), false)
  assert.deepEqual(Object.fromEntries(formOf(request)), {
    ...{ Action: 'AssumeRoleWithWebIdentity', Version: '2011-06-15', DurationSeconds: '3600' },
    ...{ RoleArn: ROLE_ARN, RoleSessionName: 'openshell-my-bedrock', WebIdentityToken: 'identity' },
  })
})

test('a user’s keys are exchanged by a signed request, and never handed on', async () => {
  for (const [config, action] of [
    [{}, 'GetSessionToken'],
    [{ AWS_ROLE_ARN: ROLE_ARN, AWS_ROLE_SESSION_NAME: 'mine' }, 'AssumeRole'],
  ] as const) {
    const { result, requests } = await refresh(provider(USER, config), () => stsAnswer(action))
    assert.equal(summary(result), 'minted 3600')
    const [request] = requests
    const form = formOf(request)
    assert.equal(form.get('Action'), action)
    assert.equal(form.get('RoleSessionName'), action === 'AssumeRole' ? 'mine' : null)
    assert.equal(request?.headers.get('x-amz-date'), '20261125T120000Z')
    assert.equal(request?.headers.get('authorization'), authorizationOf(request))
    assert.ok(!`${[...(request?.headers ?? [])]}${form}`.includes(USER.AWS_SECRET_ACCESS_KEY))
  }
})

/** What the signature of a form to STS must be, made step by step as the documentation has it. */
function authorizationOf(request: FetchRequest | undefined): string {
  const hash = (text: string | Uint8Array) => createHash('sha256').update(text).digest('hex')
  const hmac = (key: string | Uint8Array, text: string) =>
    createHmac('sha256', key).update(text).digest()
  const lines = [
    'content-type:application/x-www-form-urlencoded',
    'host:sts.eu-west-1.amazonaws.com',
    'x-amz-date:20261125T120000Z',
    '',
  ]
  const names = 'content-type;host;x-amz-date'
  const body = hash(request?.body ?? new Uint8Array())
  const canonical = ['POST', '/', '', ...lines, names, body].join('\n')
  const scope = '20261125/eu-west-1/sts/aws4_request'
  const text = ['AWS4-HMAC-SHA256', '20261125T120000Z', scope, hash(canonical)].join('\n')
  const start = hmac(`AWS4${USER.AWS_SECRET_ACCESS_KEY}`, '20261125')
  const key = hmac(hmac(hmac(start, 'eu-west-1'), 'sts'), 'aws4_request')
  const credential = `Credential=${USER.AWS_ACCESS_KEY_ID}/${scope}`
  const signature = Buffer.from(hmac(key, text)).toString('hex')
  return `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${names}, Signature=${signature}`
}

test('what STS refuses has its class and code, and says what to do', async () => {
  const ROWS: readonly (readonly [number, string, string, string])[] = [
    [400, 'ExpiredTokenException', '', 'P aws_identity_token_expired 2'],
    [400, 'InvalidIdentityToken', '', 'P aws_identity_token_invalid 2'],
    [403, 'IDPRejectedClaim', '', 'P aws_identity_claim_rejected 1'],
    [400, 'IDPCommunicationError', '', 'T aws_identity_provider_unreachable 1'],
    [403, 'AccessDenied', '', 'Q aws_access_denied 1'],
    [403, 'RegionDisabledException', '', 'P aws_region_disabled 1'],
    [403, 'OptInRequired', '', 'Q aws_opt_in_required 1'],
    [400, 'PackedPolicyTooLarge', '', 'P aws_request_refused 1'],
    [400, 'MalformedPolicyDocument', '', 'P aws_request_refused 1'],
    [400, 'ValidationError', '', 'P aws_request_refused 1'],
    [400, 'Throttling', '', 'H aws_throttled 1'],
    [403, 'InvalidClientTokenId', '', 'P aws_access_key_unknown 1'],
    [403, 'SignatureDoesNotMatch', 'Does not match', 'P aws_secret_key_wrong 1'],
    [403, 'SignatureDoesNotMatch', 'Signature expired: 1 is earlier', 'P aws_clock_skew 2'],
    [403, 'RequestExpired', '', 'P aws_clock_skew 2'],
    [400, 'SomethingNew', '', 'Q oauth_unrecognized_error 1'],
    [503, 'ServiceUnavailable', '', 'T oauth_token_endpoint_retryable 1'],
  ]
  for (const [status, code, message, expected] of ROWS) {
    const { result, requests } = await refresh(provider({}, WEB), () =>
      stsError(status, code, message === '' ? 'Because' : message),
    )
    assert.equal(`${summary(result)} ${requests.length}`, expected)
    assert.ok(result.kind === 'failed' && result.failure.advice.length > 20)
    assert.match(result.failure.message, status === 503 ? /503/ : new RegExp(code))
  }
})

test('a wrong clock is learnt from the server once, and the second signature has its time', async () => {
  const { result, requests } = await refresh(provider(USER), (_request, index) =>
    index === 0
      ? {
          ...Object(stsError(403, 'SignatureDoesNotMatch', 'Signature expired: it is old')),
          headers: { date: new Date(NOW_MS + 600_000).toUTCString() },
        }
      : stsAnswer('GetSessionToken', { Expiration: '2026-11-25T13:10:00Z' }),
  )
  assert.equal(summary(result), 'minted 3600')
  const dates = requests.map(({ headers }) => headers.get('x-amz-date'))
  assert.deepEqual(dates, ['20261125T120000Z', '20261125T121000Z'])
})

test('an answer without complete keys and a time with its zone is no token', async () => {
  const ROWS: readonly (readonly [Script, string])[] = [
    [stsAnswer('AssumeRoleWithWebIdentity', { SessionToken: '' }), 'X aws_incomplete_keys'],
    [stsAnswer('AssumeRoleWithWebIdentity', { AccessKeyId: 'a b' }), 'X aws_incomplete_keys'],
    [stsAnswer('AssumeRole'), 'X aws_incomplete_keys'],
    ...['', '2026-11-25T13:00:00', '1764075600', 'tomorrow', '2026-13-25T13:00:00Z'].map(
      Expiration =>
        [
          stsAnswer('AssumeRoleWithWebIdentity', { Expiration }),
          'X aws_unusable_expiration',
        ] as const,
    ),
    [
      stsAnswer('AssumeRoleWithWebIdentity', { Expiration: '2026-11-25T12:00:00Z' }),
      'X aws_expired_keys',
    ],
    [{ body: { AssumeRoleWithWebIdentityResponse: {} } }, 'X aws_unrecognized_answer'],
    [{ body: '<!DOCTYPE x><x>y</x>' }, 'X aws_unrecognized_answer'],
    [{ status: 404, body: '' }, 'X aws_unrecognized_answer'],
    [{ status: 302, headers: { location: 'https://evil.example' } }, 'X oauth_redirected'],
    [{ status: 429, headers: { 'retry-after': '7' } }, 'H oauth_token_endpoint_throttled'],
    [{ body: 'x'.repeat(1_048_577) }, 'X aws_unrecognized_answer'],
  ]
  for (const [script, expected] of ROWS) {
    const { result } = await refresh(provider({}, WEB), () => script)
    assert.equal(summary(result), expected)
  }
})

test('the life is counted by the server’s clock where its Date can be believed', async () => {
  const ROWS: readonly (readonly [Readonly<Record<string, string>>, number])[] = [
    [{ date: new Date(NOW_MS + 600_000).toUTCString() }, 3_000],
    [{ date: new Date(NOW_MS - 600_000).toUTCString() }, 4_199.001],
    [{ date: 'Thu, 01 Jan 1970 00:00:00 GMT' }, 3_600],
    [{ date: new Date(NOW_MS + 600_000).toUTCString(), age: '3' }, 3_600],
  ]
  for (const [headers, seconds] of ROWS) {
    const script = { ...Object(stsAnswer('GetSessionToken')), headers }
    const { result } = await refresh(provider(USER), () => script)
    assert.equal(summary(result), `minted ${seconds}`)
  }
  const far = stsAnswer('GetSessionToken', { Expiration: '2026-11-27T12:00:00Z' })
  assert.equal(summary((await refresh(provider(USER), () => far)).result), 'minted 43200')
})
