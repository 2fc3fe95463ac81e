// Goal: profiles are read as people write them, and written as they read them.
// Method: documents in every spelling, there and back.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError } from '../core/errors.ts'
import { ProviderProfileCategory } from './gen/openshell/v1/profile_pb.ts'
import { ProviderCredentialRefreshStrategy } from './gen/openshell/v1/refresh_pb.ts'
import {
  profileFromDocument,
  profileFromText,
  profileToDocument,
  profileToText,
} from './profile.ts'

const DOCUMENT = {
  id: 'acme',
  display_name: 'Acme',
  category: 'source_control',
  credentials: [
    {
      name: 'token',
      env_vars: ['ACME_TOKEN'],
      required: true,
      refresh: {
        strategy: 'oauth2_client_credentials',
        token_url: 'https://acme.test/token',
        refresh_before_seconds: 300,
      },
    },
  ],
  endpoints: [{ host: 'api.acme.test', port: 443, rules: [{ allow: { method: 'GET' } }] }],
  binaries: ['/usr/bin/acme'],
  resource_version: 7,
}

test('a document comes back as it was written', () => {
  const profile = profileFromDocument(DOCUMENT)
  assert.deepEqual(profileToDocument(profile), DOCUMENT)
  assert.deepEqual(profileFromText(profileToText(profile), 'acme'), profile)
})

test('categories and strategies are taken in any spelling', () => {
  for (const category of ['source_control', 'Source-Control', 'SOURCE_CONTROL']) {
    const profile = profileFromDocument({ ...DOCUMENT, category })
    assert.equal(profile.category, ProviderProfileCategory.SOURCE_CONTROL)
  }
  for (const strategy of ['google-service-account-jwt', 'GOOGLE_SERVICE_ACCOUNT_JWT']) {
    const credentials = [{ name: 'a', refresh: { strategy } }]
    const [credential] = profileFromDocument({ ...DOCUMENT, credentials }).credentials
    assert.equal(
      credential?.refresh?.strategy,
      ProviderCredentialRefreshStrategy.GOOGLE_SERVICE_ACCOUNT_JWT,
    )
  }
})

test('what is no profile is refused in words', () => {
  for (const document of [
    null,
    [],
    'text',
    { ...DOCUMENT, category: 'nonsense' },
    { ...DOCUMENT, unknown_key: 1 },
    { ...DOCUMENT, credentials: {} },
    { ...DOCUMENT, id: 7 },
  ]) {
    assert.throws(
      () => profileFromDocument(document),
      (error: unknown) => error instanceof AppError && error.code === 'invalid_argument',
    )
  }
  assert.throws(() => profileFromText('{', 'acme'), /"acme" is damaged/)
})
