// Goal: what is sent to Entra ID is what Microsoft documents, and each of its answers means what it
// should. Method: golden requests, and answers handed to the grant's own judge.
import assert from 'node:assert/strict'
import { constants, verify } from 'node:crypto'
import { test } from 'node:test'
import { certificatePem, rsaKeyPem, rsaPair } from '../../test/support/azure.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { noExecute, noFiles } from '../../test/support/outside.ts'
import { formOf, scriptedFetch } from '../../test/support/scripted-fetch.ts'
import { seededRandom } from '../../test/support/seeded-random.ts'
import type { FailureClass } from '../core/failure.ts'
import { Secret } from '../core/secret.ts'
import { mint } from '../oauth/mint.ts'
import type { Input, TokenAnswer, TokenRequest } from '../oauth/token-request.ts'
import { parseClientCertificate } from './entra-certificate.ts'
import { certificateGrant, federatedGrant, secretGrant } from './entra-client.ts'

const NOW_MS = 1_800_000_000_500
const TOKEN_URL = 'https://login.microsoftonline.com/my-tenant/oauth2/v2.0/token'
const client = {
  tokenUrl: new URL(TOKEN_URL),
  clientId: 'my-client',
  scope: 'https://ai.azure.com/.default',
  isNew: false,
}
const pem = new Secret(`${rsaKeyPem}${certificatePem()}`)
const certificate = parseClientCertificate(pem, NOW_MS)
const fileText: Input = {
  kind: 'input',
  read: async () => ({ kind: 'value', value: new Secret('the.subject.token') }),
}
const bySecret = (isNew = false) => secretGrant({ ...client, isNew }, new Secret('~s+e&c=r%eté'))
const byCertificate = () => certificateGrant(client, certificate, NOW_MS)
const byFile = (isNew = false) => federatedGrant({ ...client, isNew }, fileText)

/** The request as it leaves. */
async function sent(grant: TokenRequest) {
  const peer = scriptedFetch(() => ({ body: { access_token: 't', expires_in: 3_599 } }))
  const deps = {
    ...{ fetch: peer.fetch, clock: new FakeClock(NOW_MS), random: seededRandom() },
    ...{ files: noFiles, execute: noExecute },
  }
  const signal = new AbortController().signal
  const { result } = await mint(deps, grant, { vendorNowMs: NOW_MS, signal })
  assert.equal(result.kind, 'minted')
  const [request] = peer.requests
  assert.equal(request?.method, 'POST')
  assert.equal(request.url, TOKEN_URL)
  return formOf(request)
}

test('a client secret goes into the form, encoded', async () => {
  assert.deepEqual(
    [...(await sent(bySecret()))],
    [
      ['client_id', 'my-client'],
      ['scope', 'https://ai.azure.com/.default'],
      ['grant_type', 'client_credentials'],
      ['client_secret', '~s+e&c=r%eté'],
    ],
  )
})

test('a federated token is the assertion as it is', async () => {
  assert.deepEqual([...(await sent(byFile()))].slice(3), [
    ['client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'],
    ['client_assertion', 'the.subject.token'],
  ])
})

test('a certificate signs by PS256 with a salt of 32 bytes, and is named by its SHA-256', async () => {
  const form = await sent(byCertificate())
  const [head = '', payload = '', signature = ''] = form.get('client_assertion')?.split('.') ?? []
  const decode = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString())
  assert.deepEqual(decode(head), {
    alg: 'PS256',
    typ: 'JWT',
    'x5t#S256': certificate.thumbprint,
  })
  const { jti, ...claims } = decode(payload)
  assert.match(jti, /^[0-9a-f]{32}$/)
  assert.deepEqual(claims, {
    aud: TOKEN_URL,
    iss: 'my-client',
    sub: 'my-client',
    iat: 1_800_000_000,
    nbf: 1_800_000_000,
    exp: 1_800_000_600,
  })
  const key = {
    key: rsaPair.publicKey,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: 32,
  }
  const signed = Buffer.from(`${head}.${payload}`)
  assert.ok(verify('sha256', signed, key, Buffer.from(signature, 'base64url')))
  assert.equal(form.get('client_secret'), null)
})

function answer(
  status: number,
  body: unknown,
  headers: readonly (readonly [string, string])[] = [],
) {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  const read: TokenAnswer = {
    kind: 'answer',
    ...{ status, headers: new Map(headers), body: bytes, elapsedMs: 5, sent: [] },
  }
  return read
}

function refusalOf(grant: TokenRequest, read: TokenAnswer) {
  const judged = grant.judge(read, NOW_MS)
  assert.equal(judged.kind, 'failed')
  return judged.kind === 'failed' ? judged.failure : null
}

/** An error as Entra ID words it. */
function aadsts(number: number, error = 'invalid_client') {
  const description = `AADSTS${number}: Something. Trace ID: a Correlation ID: b Timestamp: c`
  return { error, error_description: description, error_codes: [number] }
}

test('each AADSTS number means what a person has to do', () => {
  const cases: readonly (readonly [numbers: readonly number[], FailureClass, code: string])[] = [
    [[7000215], 'P', 'entra_wrong_secret'],
    [[7000222], 'P', 'entra_secret_expired'],
    [[7000218, 70002, 50012, 700025], 'P', 'entra_client_authentication_refused'],
    [[700027], 'P', 'entra_wrong_certificate'],
    [[500133, 50013, 50027], 'S', 'entra_assertion_refused'],
    [[700213, 70021, 700229, 700211, 700212], 'P', 'entra_no_federated_credential'],
    [[700016, 700011, 70001], 'P', 'entra_app_not_found'],
    [[90002, 900023], 'P', 'entra_tenant_not_found'],
    [[7000112], 'P', 'entra_app_disabled'],
    [[500011, 50001, 650057], 'P', 'entra_resource_not_found'],
    [[70011, 70022, 700022, 1002012, 28000], 'P', 'entra_wrong_scope'],
    [[53003, 530032, 53000, 50158], 'Q', 'entra_conditional_access'],
    [[50076, 50079, 65001, 50105, 700082, 70008, 50173, 70043], 'P', 'entra_consent_required'],
    [[900384, 9002313, 900144, 90014, 90023], 'P', 'entra_malformed_request'],
    [[50033, 50087, 90006, 90012, 90024], 'T', 'oauth_token_endpoint_retryable'],
    [[90033, 90090, 40010, 70012, 50000], 'T', 'oauth_token_endpoint_retryable'],
    [[50196, 90055, 50166], 'H', 'entra_throttled'],
    [[90038, 51005], 'P', 'entra_wrong_cloud'],
    // A number that nobody knows leaves the decision to `error`.
    [[123], 'P', 'oauth_invalid_client'],
    [[7000], 'P', 'oauth_invalid_client'],
  ]
  for (const [numbers, failureClass, code] of cases) {
    for (const number of numbers) {
      const failure = refusalOf(bySecret(), answer(401, aadsts(number)))
      assert.deepEqual([failure?.class, failure?.code], [failureClass, code], String(number))
      assert.match(failure?.message ?? '', new RegExp(`AADSTS${number}`))
      assert.ok(failure?.advice !== '')
    }
  }
})

test('an assertion out of time is a stale file, or a wrong clock of our own', () => {
  const late = answer(401, aadsts(700024))
  assert.equal(refusalOf(byFile(), late)?.class, 'S')
  assert.equal(refusalOf(byCertificate(), late)?.class, 'C')
})

test('what may still be on its way through the directory is probed again', () => {
  assert.equal(refusalOf(byFile(true), answer(401, aadsts(700213)))?.class, 'Q')
  assert.equal(refusalOf(bySecret(true), answer(400, aadsts(700016)))?.class, 'Q')
  assert.equal(refusalOf(bySecret(true), answer(401, aadsts(7000215)))?.class, 'P')
})

test('the number is read from the list or the text, and `error` decides without one', () => {
  const bodies: readonly (readonly [body: object, code: string | undefined])[] = [
    [{ error: 'x', error_codes: [7000222] }, 'entra_secret_expired'],
    [
      { error: 'x', error_description: 'In short, AADSTS7000222: it expired' },
      'entra_secret_expired',
    ],
    [{ error: 'invalid_scope', error_description: 'none' }, 'oauth_invalid_scope'],
    [{ error: 'invalid_scope', error_codes: ['7000222'] }, 'oauth_invalid_scope'],
    [{ error: 'temporarily_unavailable' }, 'oauth_token_endpoint_retryable'],
  ]
  for (const [body, code] of bodies)
    assert.equal(refusalOf(bySecret(), answer(400, body))?.code, code)
})

test('status counts before words: throttling, trouble, redirects and what is no token', () => {
  const cases: readonly (readonly [TokenAnswer, FailureClass, code: string])[] = [
    [answer(429, aadsts(90033)), 'H', 'oauth_token_endpoint_throttled'],
    [answer(503, '', [['retry-after', '7']]), 'H', 'oauth_token_endpoint_throttled'],
    [answer(500, '<html>'), 'T', 'oauth_token_endpoint_retryable'],
    [
      answer(307, '', [['location', 'https://login.microsoftonline.us/']]),
      'X',
      'entra_wrong_cloud',
    ],
    [answer(200, '<html>'), 'X', 'oauth_unrecognized_error_response'],
    [answer(200, { access_token: '' }), 'X', 'oauth_empty_access_token'],
    [answer(200, aadsts(7000222)), 'P', 'entra_secret_expired'],
    [answer(200, { access_token: 't', token_type: 'mac' }), 'X', 'oauth_invalid_success_response'],
  ]
  for (const [read, failureClass, code] of cases) {
    const failure = refusalOf(bySecret(), read)
    assert.deepEqual([failure?.class, failure?.code], [failureClass, code], String(read.status))
  }
})

test('refresh_in is the hint, ext_expires_in is not the life, and the lead is Microsoft’s', () => {
  const body = {
    access_token: 't',
    token_type: 'Bearer',
    expires_in: 86_399,
    ext_expires_in: 99_999,
  }
  const judged = bySecret().judge(answer(200, { ...body, refresh_in: 43_199 }), NOW_MS)
  assert.ok(judged.kind === 'minted')
  assert.equal(judged.lifetimeMs, 86_399_000)
  assert.equal(judged.refreshInMs, 43_199_000)
  assert.equal(bySecret().leadMs(86_400_000), 43_200_000)
  assert.equal(bySecret().leadMs(7_200_000), 3_600_000)
  assert.equal(bySecret().leadMs(7_199_000), 300_000)
})
