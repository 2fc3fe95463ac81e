import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { test } from 'node:test'
import { jwtVerify } from 'jose'
import {
  federatedFile,
  mintFrom,
  NOW_MS,
  providerOf,
  signInFile,
  verdictOf,
} from '../../test/support/google-source.ts'
import { rulesOf } from '../../test/support/outside.ts'
import { keyFile, privateKeyPem, vertexProvider } from '../../test/support/service-account.ts'
import { Secret } from '../core/secret.ts'
import { googleVertexAi } from './google-vertex-ai.ts'

const rules = rulesOf()
const GOOGLE = 'oauth2.googleapis.com'
const account: Readonly<Record<string, unknown>> = JSON.parse(keyFile())

function shapeOf(provider: ReturnType<typeof providerOf>) {
  return googleVertexAi.route(provider, 'claude-sonnet-4-5', rules).shape
}

test('any credential file is told apart by its type', async () => {
  assert.equal(verdictOf(await mintFrom(account)), 'minted')
  assert.equal(verdictOf(await mintFrom(signInFile())), 'minted')
  for (const type of [undefined, '', 'gdch_service_account', 'SERVICE_ACCOUNT', 7]) {
    const words = /its "type" is none of service_account, authorized_user/
    await assert.rejects(mintFrom({ ...account, type }), words)
  }
  const url =
    'https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b.c:generateAccessToken'
  const impersonated = {
    type: 'impersonated_service_account',
    service_account_impersonation_url: url,
  }
  const wrong = [
    impersonated,
    { ...impersonated, source_credentials: [] },
    { ...impersonated, source_credentials: { type: 'impersonated_service_account' } },
    {
      ...impersonated,
      source_credentials: signInFile({ type: 'external_account_authorized_user' }),
    },
    { ...impersonated, source_credentials: signInFile(), delegates: 'all' },
    { type: 'impersonated_service_account', source_credentials: signInFile() },
    ...['client_id', 'client_secret', 'refresh_token'].map(name =>
      signInFile({ [name]: undefined }),
    ),
  ]
  for (const file of wrong) await assert.rejects(mintFrom(file), { code: 'invalid_credential' })
})

test('an account behind a federated account has every step that a chain may have', async () => {
  const iam = 'https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts'
  const file = {
    type: 'impersonated_service_account',
    service_account_impersonation_url: `${iam}/last@b.c:generateAccessToken`,
    source_credentials: federatedFile({
      service_account_impersonation_url: `${iam}/first@b.c:generateAccessToken`,
    }),
  }
  const body = { accessToken: 'ya29.x', expireTime: new Date(NOW_MS + 3_600_000).toISOString() }
  const answers = { 'iamcredentials.googleapis.com': { body }, 'issuer.example': { body: 's' } }
  const report = await mintFrom(file, { answers })
  assert.equal(verdictOf(report), 'minted')
  assert.equal(report.requests.length, 4)
})

test('one source at a time: two that differ are refused, and none is said so', () => {
  const [one, other] = [new Secret(keyFile()), new Secret(JSON.stringify(signInFile()))]
  const both = (key: Secret, file: Secret) =>
    vertexProvider({
      material: new Map([
        ['GOOGLE_SERVICE_ACCOUNT_JSON', key],
        ['GOOGLE_APPLICATION_CREDENTIALS_JSON', file],
      ]),
    })
  assert.throws(
    () => googleVertexAi.grant(both(one, other), 0, rules),
    /Both GOOGLE_SERVICE_ACCOUNT_JSON and/,
  )
  assert.ok(googleVertexAi.grant(both(one, one), 0, rules) !== null)
  assert.throws(() => googleVertexAi.grant(providerOf(null), 0, rules), {
    code: 'invalid_credential',
    hint: /GCE_METADATA_HOST=metadata\.google\.internal/,
  })
})

test('the quota project goes with each request, and stands in for a project', () => {
  const file = signInFile({ quota_project_id: 'quota-project' })
  const shape = shapeOf(providerOf(file))
  assert.deepEqual([...shape.defaultHeaders], [['x-goog-user-project', 'quota-project']])
  assert.match(shape.baseUrl, /projects\/my-project\//)
  assert.match(shapeOf(providerOf(file, { VERTEX_AI_PROJECT_ID: '' })).baseUrl, /quota-project/)
  assert.equal(shapeOf(providerOf(signInFile())).defaultHeaders.size, 0)
  const evil = signInFile({ quota_project_id: 'a\r\nx-evil: 1' })
  assert.throws(() => shapeOf(providerOf(evil)), { code: 'invalid_credential' })
})

test('a key signs its own tokens when it is told to, by a scope and for one hour', async () => {
  const config = { VERTEX_SELF_SIGNED_JWT: 'always' }
  const { result, requests } = await mintFrom(account, { config })
  assert.equal(requests.length, 0)
  assert.ok(result.kind === 'minted')
  assert.deepEqual([result.lifetimeMs, result.leadMs], [3_600_000, 300_000])
  const currentDate = new Date(NOW_MS)
  const verified = await jwtVerify(result.token.reveal(), createPublicKey(privateKeyPem), {
    currentDate,
  })
  assert.deepEqual(verified.protectedHeader, { alg: 'RS256', typ: 'JWT', kid: 'key-1' })
  assert.deepEqual(verified.payload, {
    iss: 'robot@test-project.iam.gserviceaccount.com',
    sub: 'robot@test-project.iam.gserviceaccount.com',
    scope: 'https://www.googleapis.com/auth/cloud-platform',
    iat: NOW_MS / 1_000,
    exp: NOW_MS / 1_000 + 3_600,
  })
})

test('as a fallback it signs only while the endpoint is in trouble, and asks again soon', async () => {
  const config = { VERTEX_SELF_SIGNED_JWT: 'fallback' }
  const down = await mintFrom(account, { config, answers: { [GOOGLE]: { status: 503 } } })
  assert.ok(down.result.kind === 'minted')
  assert.equal(down.requests.length, 1)
  assert.equal(down.result.refreshInMs, 300_000)
  assert.match(down.result.token.reveal(), /^eyJ/)
  const up = await mintFrom(account, { config })
  assert.equal(up.result.kind === 'minted' ? up.result.token.reveal() : '', 'ya29.token')
  const refused = { status: 401, body: { error: 'disabled_client' } }
  const disabled = await mintFrom(account, { config, answers: { [GOOGLE]: refused } })
  assert.equal(verdictOf(disabled), 'P google_disabled_client')
  const off = await mintFrom(account, { answers: { [GOOGLE]: { status: 503 } } })
  assert.equal(verdictOf(off), 'T oauth_token_endpoint_retryable')
})

test('self-signing is refused where there is no key, and where its setting is no word of ours', async () => {
  const config = { VERTEX_SELF_SIGNED_JWT: 'always' }
  await assert.rejects(mintFrom(signInFile(), { config }), /needs a service account key/)
  const machine = { ...config, GCE_METADATA_HOST: 'metadata.google.internal' }
  await assert.rejects(mintFrom(null, { config: machine }), /needs a service account key/)
  const odd = { VERTEX_SELF_SIGNED_JWT: 'sometimes' }
  await assert.rejects(mintFrom(account, { config: odd }), { code: 'invalid_config' })
})
