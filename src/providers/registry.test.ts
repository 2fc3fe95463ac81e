// Goal: every provider type keeps the rules that the rest of the house relies on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aProvider } from '../../test/store/records.ts'
import { rulesOf } from '../../test/support/outside.ts'
import { keyFile } from '../../test/support/service-account.ts'
import { Secret } from '../core/secret.ts'
import type { Grant } from '../oauth/token-request.ts'
import { questionsOf } from './probe-question.ts'
import { findProviderType, providerTypes } from './registry.ts'

const HOST = 'api.example'
const rules = rulesOf([HOST])

/** A provider as its type's own example makes it, with placeholders for what a person fills in. */
function complete(type: (typeof providerTypes)[number]) {
  const words = type.example.split(' ')
  const after = (flag: RegExp) =>
    words.flatMap((word, at) => (flag.test(word) ? [words[at + 1] ?? ''] : []))
  const keys = after(/^--credential/).map(word => word.split('=')[0] ?? '')
  const config = after(/^--config$/).map(word => {
    const at = word.indexOf('=')
    const value = word
      .slice(at + 1)
      .replace('PROJECT', 'my-project')
      .replace('//HOST', `//${HOST}`)
    return [word.slice(0, at), value] as const
  })
  const secret = (key: string) => new Secret(key.endsWith('_JSON') ? keyFile() : 'a-secret')
  const material = new Map(keys.map(key => [key, secret(key)]))
  return aProvider({ type: type.type, material, config: new Map(config) })
}

test('a type is found by its name and its aliases, in any case', () => {
  for (const type of providerTypes) {
    for (const name of [type.type, ...type.aliases, type.type.toUpperCase(), ` ${type.type} `]) {
      assert.equal(findProviderType(name), type)
    }
  }
  for (const alias of ['vertex', 'vertex-ai', 'google-vertex', 'gcp-vertex']) {
    assert.equal(findProviderType(alias).type, 'google-vertex-ai')
  }
})

test('an unknown type is refused, and the known ones are named', () => {
  for (const name of ['', 'vertexx', '__proto__', 'toString']) {
    assert.throws(
      () => findProviderType(name),
      (error: unknown) =>
        error instanceof Error &&
        'code' in error &&
        error.code === 'unknown_provider_type' &&
        'hint' in error &&
        providerTypes.every(type => String(error.hint).includes(type.type)),
    )
  }
})

test('names and aliases are unique, of types and of their keys', () => {
  const names = providerTypes.flatMap(type => [type.type, ...type.aliases])
  assert.equal(new Set(names).size, names.length)
  for (const name of names) assert.match(name, /^[a-z0-9]+(-[a-z0-9]+)*$/)
  for (const type of providerTypes) {
    const credentials = type.credentialKeys.flatMap(key => [key.name, ...key.aliases])
    const keys = [...credentials, ...type.configKeys.map(key => key.name)]
    assert.equal(new Set(keys).size, keys.length, type.type)
    assert.ok(credentials.length > 0, type.type)
    assert.ok(!keys.includes(type.tokenKey), 'a token is never mistaken for material')
    for (const key of keys) assert.match(key, /^[A-Z][A-Z0-9_]*$/)
  }
})

test('every type tells what it is and shows a command that names it', () => {
  for (const type of providerTypes) {
    assert.ok(type.displayName !== '' && type.description !== '', type.type)
    const words = type.example.split(' ')
    assert.equal(words.slice(0, 3).join(' '), 'openshell provider add')
    assert.equal(findProviderType(words[words.indexOf('--type') + 1] ?? ''), type)
    const first = type.credentialKeys[0]
    assert.ok(first !== undefined && type.example.includes(first.name), type.type)
    for (const key of [...type.credentialKeys, ...type.configKeys])
      assert.ok(key.description !== '')
  }
})

test('raw material can never be the bearer of a type that mints', () => {
  for (const type of providerTypes) {
    const provider = complete(type)
    const { credential } = type.route(provider, 'model', rules)
    const request = type.grant(provider, 0, rules)
    assert.ok(type.tokenKey !== '' || request === null, type.type)
    assert.equal(credential.kind, request === null ? 'material' : 'token', type.type)
    for (const value of request === null ? [] : valuesOf(request)) {
      assert.ok(!(value instanceof Secret && value.reveal() === keyFile()))
    }
  }
})

test('the doctor has a question about the model for every route, translated or not', () => {
  const models: readonly (readonly [type: string, modelId: string])[] = [
    ...providerTypes.map(type => [type.type, 'model'] as const),
    ['vertex', 'claude-sonnet-4-5'],
    ['vertex', 'mistral-small-2503'],
    ['vertex', 'text-embedding-005'],
    ['azure', 'claude-sonnet-4-5'],
    ['bedrock', 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'],
    ['bedrock', 'openai.gpt-oss-120b-1:0'],
    ['watsonx', 'deployment/d3d9f8a1-0000-4000-8000-000000000000'],
  ]
  for (const [name, modelId] of models) {
    const type = findProviderType(name)
    const { shape } = type.route(complete(type), modelId, rules)
    const asked = questionsOf(shape, { hasModel: true }).filter(({ members }) => members !== null)
    assert.ok(asked.length > 0, `${name} ${modelId}`)
  }
})

test('a grant is called in status what OpenShell calls it, or nothing', () => {
  const file = (type: string) => ({ GOOGLE_APPLICATION_CREDENTIALS_JSON: `{"type":"${type}"}` })
  const secret = { AZURE_CLIENT_SECRET: 's' }
  const keys = { AWS_ACCESS_KEY_ID: 'k', AWS_SECRET_ACCESS_KEY: 's' }
  const role = { AWS_ROLE_ARN: 'r' }
  const client = { OAUTH2_CLIENT_SECRET: 's' }
  type Named = Readonly<Record<string, string>>
  const rows: readonly (readonly [type: string, material: Named, config: Named, name: string])[] = [
    ['vertex', { GOOGLE_SERVICE_ACCOUNT_JSON: keyFile() }, {}, 'google_service_account_jwt'],
    ['vertex', file('service_account'), {}, 'google_service_account_jwt'],
    ['vertex', file('authorized_user'), {}, 'oauth2_refresh_token'],
    ['vertex', file('external_account_authorized_user'), {}, 'oauth2_refresh_token'],
    ['vertex', file('external_account'), {}, ''],
    ['vertex', file('impersonated_service_account'), {}, ''],
    ['vertex', {}, { GCE_METADATA_HOST: 'metadata.google.internal' }, ''],
    ['azure', secret, {}, 'oauth2_client_credentials'],
    ['azure', { AZURE_CLIENT_CERTIFICATE: 'pem' }, {}, 'oauth2_client_credentials'],
    ['azure', {}, { AZURE_FEDERATED_TOKEN_FILE: '/f' }, 'oauth2_client_credentials'],
    ['azure', { IDENTITY_HEADER: 'h' }, {}, ''],
    ['azure', {}, {}, ''],
    ['azure', { AZURE_OPENAI_API_KEY: 'k' }, {}, ''],
    ['bedrock', keys, role, 'aws_sts_assume_role'],
    ['bedrock', {}, { ...role, AWS_WEB_IDENTITY_TOKEN_FILE: '/f' }, 'aws_sts_assume_role'],
    ['bedrock', keys, {}, ''],
    ['bedrock', {}, role, ''],
    ['bedrock', { AWS_BEARER_TOKEN_BEDROCK: 'k' }, {}, ''],
    ['oauth2', client, {}, 'oauth2_client_credentials'],
    ['oauth2', { OAUTH2_PRIVATE_KEY: 'pem' }, {}, 'oauth2_client_credentials'],
    ['oauth2', { ...client, OAUTH2_REFRESH_TOKEN: 't' }, {}, 'oauth2_refresh_token'],
    ['oauth2', client, { OAUTH2_SUBJECT_TOKEN_FILE: '/f' }, ''],
    ['watsonx', { IBM_CLOUD_API_KEY: 'k' }, {}, ''],
    ['openai', {}, { OPENAI_IDENTITY_PROVIDER_ID: 'i' }, ''],
    ['anthropic', { ANTHROPIC_API_KEY: 'k' }, {}, ''],
  ]
  for (const [name, material, config, expected] of rows) {
    const type = findProviderType(name)
    const secrets = Object.entries(material).map(
      ([key, value]) => [key, new Secret(value)] as const,
    )
    const provider = aProvider({
      type: type.type,
      material: new Map(secrets),
      config: new Map(Object.entries(config)),
    })
    const row = `${name} ${Object.keys(material)} ${Object.keys(config)}`
    assert.equal(type.strategyOf(provider), expected, row)
  }
})

test('the name of a grant is told even of material that nothing can be made of', () => {
  for (const type of providerTypes) {
    const names = type.credentialKeys.map(key => key.name)
    for (const text of ['', '{', '[]', '{"type":7}', '\u0000', 'x'.repeat(70_000)]) {
      for (const some of [...names.map(name => [name]), names, []]) {
        const material = new Map(some.map(name => [name, new Secret(text)]))
        const config = new Map(type.configKeys.map(key => [key.name, text]))
        assert.equal(typeof type.strategyOf(aProvider({ material, config })), 'string', type.type)
      }
    }
  }
})

/** Everything that a grant sends, as far as it is known before it is sent. */
function valuesOf(grant: Grant): readonly unknown[] {
  if (grant.kind === 'local') return []
  const { body } = grant
  const sent = body.kind === 'form' ? body.fields : body.kind === 'json' ? body.members : new Map()
  return [...grant.headers.values(), ...sent.values()]
}
