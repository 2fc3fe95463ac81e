import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  federatedFile,
  type MintSetup,
  mintFrom,
  NOW_MS,
  shown,
  verdictOf,
} from '../../test/support/google-source.ts'
import { noFiles, rulesOf } from '../../test/support/outside.ts'
import type { Script } from '../../test/support/scripted-fetch.ts'
import type { Execute } from '../system/execute.ts'
import type { Files } from '../system/files.ts'

const STS = 'sts.googleapis.com'
const ISSUER = 'issuer.example'
const SUBJECT: Script = { body: 'subject-token\n' }

function diskWith(text: string): Files {
  return { realPath: async name => name, read: async () => Buffer.from(text) }
}

function fromFile(format: object = {}): Readonly<Record<string, unknown>> {
  return federatedFile({ credential_source: { file: '/run/tokens/t', ...format } })
}

function onDisk(text: string): MintSetup {
  return { files: diskWith(text), rules: { subjectTokenDirs: ['/run/tokens'] } }
}

test('a subject token from a URL is exchanged, word for word as Google wants it', async () => {
  const { requests, result } = await mintFrom(federatedFile(), { answers: { [ISSUER]: SUBJECT } })
  assert.deepEqual(requests.map(shown), [
    { call: 'GET https://issuer.example/token', headers: { 'x-show': 'me' }, body: null },
    {
      call: 'POST https://sts.googleapis.com/v1/token',
      headers: {},
      body: {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        audience:
          '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x',
        scope: 'https://www.googleapis.com/auth/cloud-platform',
        requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        subject_token: 'subject-token',
        subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      },
    },
  ])
  assert.ok(result.kind === 'minted')
  assert.deepEqual([result.lifetimeMs, result.leadMs], [3_599_000, 300_000])
})

test('an answer without expires_in is good for an hour, not for ever', async () => {
  const answers = { [ISSUER]: SUBJECT, [STS]: { body: { access_token: 't' } } }
  const { result } = await mintFrom(federatedFile(), { answers })
  assert.equal(result.kind === 'minted' ? result.lifetimeMs : 0, 3_600_000)
})

test('a workforce names its billing project, unless a client proves itself', async () => {
  const audience = '//iam.googleapis.com/locations/global/workforcePools/p/providers/x'
  const workforce = { audience, workforce_pool_user_project: 'my-project' }
  const answers = { [ISSUER]: SUBJECT }
  const bare = await mintFrom(federatedFile(workforce), { answers })
  assert.match(
    JSON.stringify(shown(bare.requests[1]).body),
    /"options":"{\\"userProject\\":\\"my-project\\"}"/,
  )
  const client = { client_id: 'id', client_secret: 'test-secret' }
  const proven = shown(
    (await mintFrom(federatedFile({ ...workforce, ...client }), { answers })).requests[1],
  )
  assert.ok(!JSON.stringify(proven.body).includes('options'))
  assert.deepEqual(proven.headers, {
    authorization: `Basic ${Buffer.from('id:test-secret').toString('base64')}`,
  })
  const workload = federatedFile({ workforce_pool_user_project: 'my-project' })
  await assert.rejects(mintFrom(workload), /belongs to workforce pools only/)
})

test('a token file is read anew, trimmed, and only below an allowed folder', async () => {
  const plain = await mintFrom(fromFile(), onDisk('subject-token\r\n'))
  assert.match(JSON.stringify(shown(plain.requests[0]).body), /"subject_token":"subject-token"/)
  const format = { format: { type: 'json', subject_token_field_name: 'value' } }
  const json = await mintFrom(fromFile(format), onDisk('{"value":"inner-token"}'))
  assert.match(JSON.stringify(shown(json.requests[0]).body), /"subject_token":"inner-token"/)
  const cases: readonly (readonly [setup: MintSetup, verdict: string])[] = [
    [onDisk(''), 'T token_file_unreadable'],
    [{ ...onDisk('x'), files: noFiles }, 'T token_file_unreadable'],
    [{ files: diskWith('x') }, 'P token_file_unreadable'],
  ]
  for (const [setup, verdict] of cases) {
    assert.equal(verdictOf(await mintFrom(fromFile(), setup)), verdict)
  }
  for (const text of ['{"value":', '{"other":"x"}', '{"value":7}', '[]', 'null']) {
    const report = await mintFrom(fromFile(format), onDisk(text))
    assert.equal(verdictOf(report), 'P google_subject_token_unreadable', text)
  }
  const relative = federatedFile({ credential_source: { file: 'tokens/t' } })
  await assert.rejects(mintFrom(relative), /no absolute path/)
})

test('what Google says to a subject token has a class, a code and an advice', async () => {
  const grant = (error_description: string, status = 400): Script => ({
    ...{ status, body: { error: 'invalid_grant', error_description } },
  })
  const cases: readonly (readonly [script: Script, verdict: string, advice: RegExp])[] = [
    [
      grant('ID Token issued at 1 is stale to sign-in.'),
      'P google_subject_token_stale',
      /renews it/,
    ],
    [
      grant('The issuer in ID Token x does not match the expected ones.'),
      'P google_issuer_refused',
      /"iss"/,
    ],
    [grant('The audience in ID Token [x] does not match.'), 'P google_audience_refused', /"aud"/],
    [grant('Error connecting to the JWKS.'), 'P google_subject_token_refused', /key set/],
    [{ status: 400, body: { error: 'invalid_target' } }, 'P google_pool_unknown', /pool/],
    [
      { status: 400, body: { error: 'invalid_request' } },
      'P oauth_invalid_request',
      /configuration/,
    ],
    [
      { status: 400, body: { error: 'unsupported_grant_type' } },
      'P oauth_unsupported_grant_type',
      /configuration/,
    ],
    [{ status: 400, body: { error: 'invalid_scope' } }, 'P oauth_invalid_scope', /configuration/],
    [{ status: 401, body: { error: 'invalid_client' } }, 'P oauth_invalid_client', /client_secret/],
    [
      { status: 403, body: { error: 'unauthorized_client' } },
      'Q google_attribute_condition',
      /administrator/,
    ],
    [{ status: 429 }, 'H oauth_token_endpoint_throttled', /waits/],
    [{ status: 503 }, 'T oauth_token_endpoint_retryable', /Nothing/],
    [{ body: { error: 'invalid_grant' } }, 'P google_subject_token_refused', /key set/],
    [{ body: {} }, 'X oauth_empty_access_token', /proxy/],
  ]
  for (const [script, verdict, advice] of cases) {
    const report = await mintFrom(federatedFile(), {
      answers: { [ISSUER]: SUBJECT, [STS]: script },
    })
    assert.equal(verdictOf(report), verdict, JSON.stringify(script))
    assert.match(report.result.kind === 'failed' ? report.result.failure.advice : '', advice)
  }
})

test('a stale subject token is read anew once', async () => {
  const stale = {
    status: 400,
    body: { error: 'invalid_grant', error_description: 'stale to sign-in' },
  }
  const good = { body: { access_token: 'ya29.x', expires_in: 60 } }
  const report = await mintFrom(federatedFile(), {
    answers: { [ISSUER]: SUBJECT, [STS]: [stale, good] },
  })
  assert.equal(verdictOf(report), 'minted')
  assert.equal(report.requests.length, 4)
})

test('a URL that brings no subject token is told so, and its headers are not', async () => {
  const cases: readonly (readonly [script: Script, verdict: string])[] = [
    [{ status: 403, body: 'who is X-Show: me' }, 'P google_subject_token_unreadable'],
    [{ body: ' \n' }, 'P google_subject_token_unreadable'],
    [{ status: 307 }, 'P google_subject_token_unreadable'],
    [{ status: 503 }, 'T oauth_token_endpoint_retryable'],
    [new Error('reset'), 'T oauth_token_endpoint_unavailable'],
  ]
  for (const [script, verdict] of cases) {
    const report = await mintFrom(federatedFile(), { answers: { [ISSUER]: script } })
    assert.equal(verdictOf(report), verdict)
    assert.equal(report.requests.length, 1, 'Google is not asked')
  }
})

test('every address in the file is Google’s or allowed by the operator', async () => {
  const iam = 'https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts'
  const impersonate = (url: string) => federatedFile({ service_account_impersonation_url: url })
  const files = [
    federatedFile({ token_url: 'https://sts.evil.example/v1/token' }),
    federatedFile({ token_url: 'http://sts.googleapis.com/v1/token' }),
    federatedFile({ token_url: 'https://iamcredentials.googleapis.com/v1/token' }),
    federatedFile({ token_url: '' }),
    impersonate('https://evil.example/v1/projects/-/serviceAccounts/a@b:generateAccessToken'),
    impersonate(`${iam}/a@b:signBlob`),
    impersonate(`${iam}/a/b:generateAccessToken`),
    impersonate(`${iam}/a@b:generateAccessToken?x=1`),
    impersonate(`${iam}/${'a'.repeat(256)}@b:generateAccessToken`),
    federatedFile({ credential_source: { url: 'http://169.254.169.254/latest' } }),
    federatedFile({ credential_source: { url: 'https://other.example/token' } }),
    federatedFile({
      credential_source: { url: 'https://issuer.example/t', headers: { 'a b': 'c' } },
    }),
    federatedFile({
      credential_source: { url: 'https://issuer.example/t', headers: { a: 'b\r\nc: d' } },
    }),
    federatedFile({ credential_source: {} }),
    federatedFile({ credential_source: { certificate: {} } }),
    federatedFile({ credential_source: 'text' }),
    federatedFile({ credential_source: undefined }),
    federatedFile({ credential_source: { file: '/x', format: { type: 'xml' } } }),
    federatedFile({ credential_source: { file: '/x', format: { type: 'json' } } }),
    federatedFile({ audience: '//iam.googleapis.com/x\r\nx-evil: 1' }),
    federatedFile({ audience: undefined }),
    federatedFile({ subject_token_type: undefined }),
    federatedFile({ universe_domain: 's3nsapis.fr' }),
    ...[599, 43_201, '3600'].map(token_lifetime_seconds => ({
      ...impersonate(`${iam}/a@b.c:generateAccessToken`),
      service_account_impersonation: { token_lifetime_seconds },
    })),
  ]
  for (const file of files) {
    await assert.rejects(mintFrom(file), { name: 'AppError' }, JSON.stringify(file))
  }
  const own = federatedFile({ token_url: 'http://127.0.0.1:9/v1/token' })
  const rules = rulesOf([ISSUER, '127.0.0.1:9'])
  assert.equal(verdictOf(await mintFrom(own, { rules, answers: { [ISSUER]: SUBJECT } })), 'minted')
})

const COMMAND = '/opt/bin/token --for "the pool"'
const PROGRAM = federatedFile({ credential_source: { executable: { command: COMMAND } } })

function printing(value: unknown, code: number | null = 0): Execute {
  return async () => ({
    code,
    stdout: Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)),
  })
}

const PRINTED = {
  ...{ version: 1, success: true, token_type: 'urn:ietf:params:oauth:token-type:jwt' },
  id_token: 'program-token',
}

test('a program runs only when the operator allows it, without a shell, told what Google documents', async () => {
  await assert.rejects(mintFrom(PROGRAM), { code: 'endpoint_forbidden' })
  const ran: unknown[] = []
  const execute: Execute = async request => {
    ran.push([request.command, Object.fromEntries(request.environment)])
    return printing(PRINTED)(request)
  }
  const report = await mintFrom(PROGRAM, { rules: { mayExecute: true }, execute })
  assert.match(JSON.stringify(shown(report.requests[0]).body), /"subject_token":"program-token"/)
  assert.deepEqual(ran, [
    [
      ['/opt/bin/token', '--for', 'the pool'],
      {
        GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE:
          '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x',
        GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE: 'urn:ietf:params:oauth:token-type:jwt',
        GOOGLE_EXTERNAL_ACCOUNT_INTERACTIVE: '0',
      },
    ],
  ])
  for (const executable of [
    ...['token', './token', ''].map(command => ({ command })),
    ...[4_999, 120_001, '5000'].map(timeout_millis => ({ command: COMMAND, timeout_millis })),
  ]) {
    const file = federatedFile({ credential_source: { executable } })
    await assert.rejects(mintFrom(file, { rules: { mayExecute: true } }), { name: 'AppError' })
  }
})

test('what a program prints is judged, and its tokens are not shown', async () => {
  const missing = () => Promise.reject(Object.assign(new Error('spawn'), { code: 'ENOENT' }))
  const cases: readonly (readonly [execute: Execute, classAndWords: RegExp])[] = [
    [
      printing({ ...PRINTED, success: false, code: '401', message: 'sign in first' }),
      /^Q .*401: sign in first/,
    ],
    [printing({ ...PRINTED, version: 2 }), /^X /],
    [printing({ ...PRINTED, token_type: 'urn:ietf:params:oauth:token-type:saml2' }), /^X /],
    [printing({ ...PRINTED, id_token: '' }), /^X /],
    [printing({ ...PRINTED, expiration_time: NOW_MS / 1_000 - 1 }), /^P .*past its end/],
    [printing('program-token'), /^X /],
    [printing(PRINTED, 1), /^T .*ended with 1/],
    [printing(PRINTED, null), /^T .*a signal/],
    [missing, /^P .*ENOENT/],
  ]
  for (const [execute, words] of cases) {
    const { result } = await mintFrom(PROGRAM, { rules: { mayExecute: true }, execute })
    assert.ok(result.kind === 'failed')
    assert.equal(result.failure.code, 'google_subject_token_unreadable')
    assert.match(`${result.failure.class} ${result.failure.message}`, words)
    assert.ok(!result.failure.message.includes('program-token'))
  }
})
