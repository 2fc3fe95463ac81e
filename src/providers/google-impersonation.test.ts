import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  federatedFile,
  mintFrom,
  NOW_MS,
  shown,
  signInFile,
  TOKEN_ANSWER,
  verdictOf,
} from '../../test/support/google-source.ts'
import { formOf, type Script } from '../../test/support/scripted-fetch.ts'
import { keyFile } from '../../test/support/service-account.ts'

const URL_OF_ROBOT =
  'https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/robot@p.iam.gserviceaccount.com:generateAccessToken'
const IAM = 'iamcredentials.googleapis.com'

const FILE = {
  type: 'impersonated_service_account',
  source_credentials: signInFile(),
  service_account_impersonation_url: URL_OF_ROBOT,
}

function accessToken(expireTime: unknown, accessToken: unknown = 'ya29.robot-token'): Script {
  return { body: { accessToken, expireTime } }
}

const HOUR = accessToken(new Date(NOW_MS + 3_600_000).toISOString())

test('the source’s token is exchanged for one of the account, and never handed out', async () => {
  const file = { ...FILE, delegates: ['projects/-/serviceAccounts/d@p.iam.gserviceaccount.com'] }
  const { result, requests } = await mintFrom(file, { answers: { [IAM]: HOUR } })
  assert.equal(requests.length, 2)
  assert.deepEqual(shown(requests[1]), {
    call: `POST ${URL_OF_ROBOT}`,
    headers: { authorization: 'Bearer ya29.token' },
    body: {
      scope: ['https://www.googleapis.com/auth/cloud-platform'],
      lifetime: '3600s',
      delegates: file.delegates,
    },
  })
  assert.ok(result.kind === 'minted')
  assert.equal(result.token.reveal(), 'ya29.robot-token')
  assert.deepEqual([result.lifetimeMs, result.leadMs], [3_600_000, 300_000])
})

test('a federated identity may act as an account, for as long as its file says', async () => {
  const file = federatedFile({
    service_account_impersonation_url: URL_OF_ROBOT,
    service_account_impersonation: { token_lifetime_seconds: 600 },
  })
  const soon = accessToken(new Date(NOW_MS + 600_000).toISOString())
  const { result, requests } = await mintFrom(file, {
    answers: { [IAM]: soon, 'issuer.example': { body: 'subject' } },
  })
  assert.deepEqual(
    requests.map(({ url }) => new URL(url).host),
    ['issuer.example', 'sts.googleapis.com', IAM],
  )
  assert.deepEqual(shown(requests[2]).body, {
    scope: ['https://www.googleapis.com/auth/cloud-platform'],
    lifetime: '600s',
  })
  assert.ok(result.kind === 'minted')
  assert.deepEqual([result.lifetimeMs, result.leadMs], [600_000, 150_000])
})

test('a token’s end must be an instant with a zone, after now by the server’s clock', async () => {
  const at = (offsetMs: number) => new Date(NOW_MS + offsetMs).toISOString()
  const cases: readonly (readonly [
    expireTime: unknown,
    lifetimeMs: number | null,
    date?: number,
  ])[] = [
    [at(60_000), 60_000],
    [at(60_000).replace('.000Z', 'Z'), 60_000],
    [at(60_000).replace('.000Z', '.000999999Z'), 60_000],
    [at(3_660_000).replace('.000Z', '+01:00'), 60_000],
    // Our clock is an hour behind theirs.
    [at(3_660_000), 60_000, 3_600_000],
    // A date that lies by years teaches nothing.
    [at(60_000), 60_000, -100 * 86_400_000],
    [undefined, null],
    [null, null],
    ['', null],
    [at(60_000).replace('Z', ''), null],
    ['11/22/2027 10:00:00 AM +00:00', null],
    [1_900_000_000, null],
    ['never', null],
    ['2027-13-45T99:00:00Z', null],
    [at(0), null],
    [at(-1_000), null],
  ]
  for (const [expireTime, lifetimeMs, dateMs] of cases) {
    const date = dateMs === undefined ? {} : { date: new Date(NOW_MS + dateMs).toUTCString() }
    const answer = { headers: date, body: { accessToken: 'ya29.robot-token', expireTime } }
    const report = await mintFrom(FILE, { answers: { [IAM]: answer } })
    const { result } = report
    if (lifetimeMs === null)
      assert.equal(verdictOf(report), 'X google_impersonation_breach', String(expireTime))
    else
      assert.equal(
        result.kind === 'minted' ? result.lifetimeMs : result.failure.message,
        lifetimeMs,
      )
  }
})

test('what is no usable token is never stored', async () => {
  const end = new Date(NOW_MS + 60_000).toISOString()
  const scripts: readonly Script[] = [
    ...[null, '', 'undefined', 7, 'a b', 'ya29.x\r\nx: y', ['ya29.token']].map(one =>
      accessToken(end, one),
    ),
    { body: { expireTime: end } },
    { body: '<html>' },
    { body: [] },
    { status: 204 },
    { status: 307, headers: { location: 'https://evil.example/' } },
    { body: 'x'.repeat(2 << 20) },
  ]
  for (const script of scripts) {
    const report = await mintFrom(FILE, { answers: { [IAM]: script } })
    assert.match(
      verdictOf(report),
      /^X google_impersonation_breach$/,
      JSON.stringify(script).slice(0, 80),
    )
  }
})

test('what the IAM Credentials API refuses has a class, a code and an advice', async () => {
  const rpc = (code: number, status: string): Script => {
    const message =
      "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."
    return { status: code, body: { error: { code, message, status } } }
  }
  const cases: readonly (readonly [script: Script, verdict: string, advice: RegExp])[] = [
    [
      rpc(400, 'INVALID_ARGUMENT'),
      'P google_impersonation_invalid',
      /allowServiceAccountCredentialLifetimeExtension/,
    ],
    [rpc(403, 'PERMISSION_DENIED'), 'Q google_impersonation_denied', /serviceAccountTokenCreator/],
    [rpc(404, 'NOT_FOUND'), 'P google_impersonation_account_not_found', /does not exist/],
    [rpc(409, 'ABORTED'), 'Q google_impersonation_refused', /message/],
    [rpc(429, 'RESOURCE_EXHAUSTED'), 'H oauth_token_endpoint_throttled', /waits/],
    [rpc(503, 'UNAVAILABLE'), 'T oauth_token_endpoint_retryable', /Nothing/],
    [
      { status: 403, body: 'not json' },
      'Q google_impersonation_denied',
      /serviceAccountTokenCreator/,
    ],
    [new Error('reset'), 'T oauth_token_endpoint_unavailable', /Nothing/],
  ]
  for (const [script, verdict, advice] of cases) {
    const report = await mintFrom(FILE, { answers: { [IAM]: script } })
    assert.equal(verdictOf(report), verdict)
    assert.match(report.result.kind === 'failed' ? report.result.failure.advice : '', advice)
  }
})

test('a refused source token is minted anew once; a second refusal is final', async () => {
  const refused: Script = { status: 401, body: { error: { status: 'UNAUTHENTICATED' } } }
  const once = await mintFrom(FILE, { answers: { [IAM]: [refused, HOUR] } })
  assert.equal(verdictOf(once), 'minted')
  assert.equal(once.requests.length, 4)
  const twice = await mintFrom(FILE, { answers: { [IAM]: refused } })
  assert.equal(verdictOf(twice), 'P google_impersonation_source_refused')
  assert.equal(twice.requests.length, 4)
})

test('a wrong clock is learnt from the source’s endpoint, too', async () => {
  const off = 600_000
  const body = { error: 'invalid_grant', error_description: 'Invalid JWT: reasonable timeframe' }
  const skewed: Script = {
    status: 400,
    headers: { date: new Date(NOW_MS + off).toUTCString() },
    body,
  }
  const file = { ...FILE, source_credentials: JSON.parse(keyFile()) }
  const answers = { 'oauth2.googleapis.com': [skewed, TOKEN_ANSWER], [IAM]: HOUR }
  const report = await mintFrom(file, { answers })
  assert.equal(verdictOf(report), 'minted')
  const issuedAt = report.requests.slice(0, 2).map(request => {
    const { assertion = '' } = Object.fromEntries(formOf(request))
    return JSON.parse(Buffer.from(assertion.split('.')[1] ?? '', 'base64url').toString()).iat
  })
  assert.deepEqual(issuedAt, [NOW_MS / 1_000, (NOW_MS + off) / 1_000])
})

test('a refusal of the source is told as it is, and its token never shown', async () => {
  const body = { error: 'invalid_grant', error_description: 'Token has been expired or revoked.' }
  const answers = { 'oauth2.googleapis.com': { status: 400, body } }
  assert.equal(verdictOf(await mintFrom(FILE, { answers })), 'P google_refresh_token_dead')
  const echo = { status: 400, body: { error: { message: 'bad Bearer ya29.token' } } }
  const { result } = await mintFrom(FILE, { answers: { [IAM]: echo } })
  assert.ok(!JSON.stringify(result).includes('ya29.token'))
})
