import assert from 'node:assert/strict'
import { test } from 'node:test'
import { mintFrom, shown, signInFile, verdictOf } from '../../test/support/google-source.ts'

const WORKFORCE = signInFile({
  type: 'external_account_authorized_user',
  audience: '//iam.googleapis.com/locations/global/workforcePools/p/providers/x',
  token_url: 'https://sts.googleapis.com/v1/oauthtoken',
})

test('a sign-in is refreshed with its client and refresh token, and nothing else', async () => {
  const report = await mintFrom(signInFile())
  assert.equal(verdictOf(report), 'minted')
  assert.deepEqual(report.requests.map(shown), [
    {
      call: 'POST https://oauth2.googleapis.com/token',
      headers: {},
      body: {
        grant_type: 'refresh_token',
        refresh_token: '1//test-refresh-token',
        client_id: 'client.apps.googleusercontent.com',
        client_secret: 'test-client-secret',
      },
    },
  ])
  const { result } = report
  assert.ok(result.kind === 'minted')
  assert.deepEqual(
    [result.lifetimeMs, result.leadMs, result.rotatedMaterial.size],
    [3_599_000, 300_000, 0],
  )
})

test('a workforce sign-in proves its client by Basic, and a new refresh token goes into the file', async () => {
  const body = { access_token: 't', expires_in: 60, refresh_token: '1//next' }
  const report = await mintFrom(WORKFORCE, { answers: { 'sts.googleapis.com': { body } } })
  const basic = Buffer.from('client.apps.googleusercontent.com:test-client-secret')
  assert.deepEqual(report.requests.map(shown), [
    {
      call: 'POST https://sts.googleapis.com/v1/oauthtoken',
      headers: { authorization: `Basic ${basic.toString('base64')}` },
      body: { grant_type: 'refresh_token', refresh_token: '1//test-refresh-token' },
    },
  ])
  assert.ok(report.result.kind === 'minted')
  const [[key = '', json] = []] = [...report.result.rotatedMaterial]
  assert.equal(key, 'GOOGLE_APPLICATION_CREDENTIALS_JSON')
  assert.deepEqual(JSON.parse(json?.reveal() ?? ''), { ...WORKFORCE, refresh_token: '1//next' })
  const same = await mintFrom(WORKFORCE)
  assert.ok(same.result.kind === 'minted' && same.result.rotatedMaterial.size === 0)
})

test('what Google says to a refresh token has a class, a code and an advice', async () => {
  const rapt = {
    error_subtype: 'invalid_rapt',
    error_description: 'reauth related error (invalid_rapt)',
  }
  const cases: readonly (readonly [
    status: number,
    body: object,
    verdict: string,
    advice: RegExp,
  ])[] = [
    [
      400,
      { error: 'invalid_grant', error_description: 'Token has been expired or revoked.' },
      'P google_refresh_token_dead',
      /login/,
    ],
    [
      400,
      { error: 'invalid_grant', error_description: 'Bad Request' },
      'P google_refresh_token_dead',
      /login/,
    ],
    [400, { error: 'invalid_grant', ...rapt }, 'P google_reauth_required', /service account/],
    [
      401,
      { error: 'invalid_client', error_description: 'The OAuth client was not found.' },
      'P google_invalid_client',
      /client_id/,
    ],
    [401, { error: 'deleted_client' }, 'P google_deleted_client', /login/],
    [401, { error: 'disabled_client' }, 'P google_disabled_client', /login/],
    [401, { error: 'unauthorized_client' }, 'P google_unauthorized_client', /login/],
    [400, { error: 'invalid_scope' }, 'P oauth_invalid_scope', /cloud-platform/],
    [403, { error: 'access_denied' }, 'Q oauth_access_denied', /administrator/],
    [400, { error: 'admin_policy_enforced' }, 'Q oauth_admin_policy_enforced', /administrator/],
    [400, { error: 'internal_failure' }, 'T oauth_token_endpoint_retryable', /Nothing/],
    [503, {}, 'T oauth_token_endpoint_retryable', /Nothing/],
    [429, {}, 'H oauth_token_endpoint_throttled', /waits/],
    [200, {}, 'X oauth_empty_access_token', /proxy/],
  ]
  for (const [status, body, verdict, advice] of cases) {
    const answer = { status, body }
    const answers = { 'oauth2.googleapis.com': answer, 'sts.googleapis.com': answer }
    for (const file of [signInFile(), WORKFORCE]) {
      const report = await mintFrom(file, { answers })
      // A success without a token may have taken a refresh token that is rotated.
      const isTaken = file === WORKFORCE && status === 200
      const expected = isTaken ? 'X oauth_outcome_unknown' : verdict
      assert.equal(verdictOf(report), expected, JSON.stringify(body))
      assert.match(report.result.kind === 'failed' ? report.result.failure.advice : '', advice)
    }
  }
})

test('no secret of the file comes back in a failure, however the server echoes it', async () => {
  const basic = Buffer.from('client.apps.googleusercontent.com:test-client-secret').toString(
    'base64',
  )
  const token = '1//test-refresh-token'
  const said = `${token} test-client-secret ${encodeURIComponent(token)}`
  for (const [file, echo] of [
    [signInFile(), said],
    [WORKFORCE, `${said} ${basic}`],
  ] as const) {
    const answer = { status: 400, body: { error: 'invalid_grant', error_description: echo } }
    const answers = { 'oauth2.googleapis.com': answer, 'sts.googleapis.com': answer }
    const text = JSON.stringify((await mintFrom(file, { answers })).result)
    assert.match(text, /\[secret\] \[secret\]/)
    assert.ok(!/test-refresh-token|test-client-secret/.test(text), text)
    assert.ok(!text.includes(basic), text)
  }
})
