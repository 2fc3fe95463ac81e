// Goal: the source follows from the keys, and a configuration that cannot work is refused in words.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { azureProvider, certificatePem, rsaKeyPem } from '../../test/support/azure.ts'
import { rulesOf } from '../../test/support/outside.ts'
import { AppError } from '../core/errors.ts'
import { azureGrant, azureSource } from './azure-source.ts'

const NOW_MS = 1_800_000_000_000
const APP = { AZURE_TENANT_ID: 'my-tenant', AZURE_CLIENT_ID: 'my-client' }
const SECRET = { AZURE_CLIENT_SECRET: 'a-secret' }
const LOGIN = 'https://login.microsoftonline.com/my-tenant/oauth2/v2.0/token'

type Strings = Readonly<Record<string, string>>

function grantOf(material: Strings, config: Strings = {}, allowList: readonly string[] = []) {
  return azureGrant(azureProvider(material, config), NOW_MS, rulesOf(allowList))
}

function urlOf(material: Strings, config: Strings, allowList: readonly string[] = []): string {
  const grant = grantOf(material, config, allowList)
  return grant?.kind === 'request' ? grant.url.href : ''
}

function scopeOf(config: Strings): unknown {
  const grant = grantOf(SECRET, { ...APP, ...config })
  const isForm = grant?.kind === 'request' && grant.body.kind === 'form'
  return isForm ? grant.body.fields.get('scope') : null
}

test('the source follows from the keys', () => {
  const pem = `${rsaKeyPem}${certificatePem()}`
  const endpoint = { IDENTITY_ENDPOINT: 'http://127.0.0.1:40342/x' }
  const cases: readonly (readonly [source: string, Strings, Strings, url: string])[] = [
    ['api_key', { AZURE_OPENAI_API_KEY: 'k' }, {}, ''],
    ['client_secret', SECRET, APP, LOGIN],
    ['client_certificate', { AZURE_CLIENT_CERTIFICATE: pem }, APP, LOGIN],
    ['federated_token', {}, { ...APP, AZURE_FEDERATED_TOKEN_FILE: '/var/run/t' }, LOGIN],
    ['app_service', { IDENTITY_HEADER: 'h' }, endpoint, 'http://127.0.0.1:40342/x'],
    [
      'arc',
      {},
      { ...endpoint, IMDS_ENDPOINT: 'http://127.0.0.1:40342' },
      'http://127.0.0.1:40342/x',
    ],
    ['imds', {}, {}, 'http://169.254.169.254/metadata/identity/oauth2/token'],
    ['imds', {}, { AZURE_CLIENT_ID: 'x' }, 'http://169.254.169.254/metadata/identity/oauth2/token'],
  ]
  for (const [source, material, config, url] of cases) {
    assert.equal(azureSource(azureProvider(material, config)), source)
    assert.equal(urlOf(material, config, ['127.0.0.1:40342']).split('?')[0], url, source)
  }
})

test('what contradicts itself or is not complete is refused', () => {
  const header = { IDENTITY_HEADER: 'h' }
  const endpoint = { IDENTITY_ENDPOINT: 'http://127.0.0.1:40342/x' }
  const file = { AZURE_FEDERATED_TOKEN_FILE: '/var/run/t' }
  const cases: readonly (readonly [Strings, Strings, words: RegExp])[] = [
    [{ ...SECRET, AZURE_OPENAI_API_KEY: 'k' }, APP, /API_KEY and AZURE_CLIENT_SECRET together/],
    [SECRET, { ...APP, ...file }, /SECRET and AZURE_FEDERATED_TOKEN_FILE together/],
    [{ ...SECRET, ...header }, { ...APP, ...endpoint }, /IDENTITY_HEADER together/],
    [header, { ...endpoint, IMDS_ENDPOINT: 'x' }, /IDENTITY_HEADER and IMDS_ENDPOINT together/],
    [{}, APP, /nothing proves the application.*AZURE_CLIENT_SECRET/s],
    [{}, endpoint, /without its companion/],
    [header, {}, /IDENTITY_ENDPOINT is not configured/],
    [{}, { IMDS_ENDPOINT: 'x' }, /IDENTITY_ENDPOINT is not configured/],
    [
      {},
      { ...endpoint, IMDS_ENDPOINT: 'x', AZURE_CLIENT_ID: 'y' },
      /AZURE_CLIENT_ID cannot be used with Azure Arc/,
    ],
    [SECRET, { AZURE_CLIENT_ID: 'x' }, /AZURE_TENANT_ID is not configured/],
    [SECRET, { AZURE_TENANT_ID: 'x' }, /AZURE_CLIENT_ID is not configured/],
    [SECRET, { ...APP, AZURE_CLIENT_ID: 'a b' }, /AZURE_CLIENT_ID is not the id/],
    [{}, { ...APP, AZURE_FEDERATED_TOKEN_FILE: 'token' }, /not an absolute path/],
    [{ AZURE_CLIENT_SECRET: 'a-secret\n' }, APP, /not a client secret/],
    [{ AZURE_CLIENT_SECRET: '' }, APP, /not a client secret/],
    [{ AZURE_CLIENT_CERTIFICATE: rsaKeyPem }, APP, /no certificate/],
    [SECRET, { ...APP, AZURE_OPENAI_ENDPOINT: ' ' }, /AZURE_OPENAI_ENDPOINT is not configured/],
  ]
  for (const [material, config, words] of cases) {
    assert.throws(
      () => grantOf(material, config, ['127.0.0.1:40342']),
      (error: unknown) => {
        assert.ok(error instanceof AppError)
        assert.match(`${error.message} ${error.hint}`, words)
        return true
      },
    )
  }
})

test('a tenant is one tenant, and no step elsewhere', () => {
  for (const tenant of ['0a-1b', 'contoso.onmicrosoft.com', 'X']) {
    const url = urlOf(SECRET, { ...APP, AZURE_TENANT_ID: tenant })
    assert.equal(url, LOGIN.replace('my-tenant', tenant))
  }
  const refused = [
    'common',
    'Organizations',
    'consumers',
    '../evil',
    '..',
    '.',
    'a..b',
    'a/b',
    'a.',
  ]
  for (const tenant of [...refused, 'a b', 'a?b', 'a%2f', 'é', '-a/']) {
    const config = { ...APP, AZURE_TENANT_ID: tenant }
    assert.throws(() => grantOf(SECRET, config), { code: 'invalid_config' }, tenant)
  }
})

test('the authority is Entra ID of a cloud, or a host that the operator allowed', () => {
  const at = (host: string, allowList: readonly string[] = []) =>
    new URL(urlOf(SECRET, { ...APP, AZURE_AUTHORITY_HOST: host }, allowList)).origin
  const national = ['login.microsoftonline.us', 'login.partner.microsoftonline.cn']
  for (const host of [...national, 'login.chinacloudapi.cn', 'login.sovcloud-identity.fr']) {
    assert.equal(at(`https://${host}/`), `https://${host}`)
    assert.equal(at(host), `https://${host}`)
  }
  assert.equal(at('http://127.0.0.1:9', ['127.0.0.1:9']), 'http://127.0.0.1:9')
  assert.equal(at('https://adfs.example', ['adfs.example']), 'https://adfs.example')
  const refused = [
    'http://login.microsoftonline.com',
    'https://login.microsoftonline.com:444',
    'https://login.microsoftonline.com.evil.example',
    'https://evil.example',
    'http://127.0.0.1:9',
    'http://10.0.0.1',
    'file:///etc/passwd',
  ]
  for (const host of refused) assert.throws(() => at(host), AppError, host)
  const withPath = { code: 'invalid_config' }
  assert.throws(() => at('https://login.microsoftonline.com/tenant'), withPath)
})

test('the scope is that of the cloud and of the API', () => {
  const classic = { AZURE_OPENAI_API_VERSION: '2024-10-21' }
  const at = (host: string) => ({ AZURE_OPENAI_ENDPOINT: `https://${host}` })
  const cases: readonly (readonly [Strings, scope: string])[] = [
    [{}, 'https://ai.azure.com/.default'],
    [{ AZURE_OPENAI_API_VERSION: 'preview' }, 'https://ai.azure.com/.default'],
    [classic, 'https://cognitiveservices.azure.com/.default'],
    [{ ...classic, ...at('r.services.ai.azure.com') }, 'https://ai.azure.com/.default'],
    [at('r.openai.azure.us'), 'https://ai.azure.us/.default'],
    [{ ...classic, ...at('r.openai.azure.us') }, 'https://cognitiveservices.azure.us/.default'],
    [at('r.openai.azure.cn'), 'https://cognitiveservices.azure.cn/.default'],
    [{ AZURE_OPENAI_SCOPE: 'api://mine/.default' }, 'api://mine/.default'],
  ]
  for (const [config, scope] of cases) assert.equal(scopeOf(config), scope)
  for (const scope of ['https://a.example', 'https://a/.default https://b/.default', '/.default']) {
    assert.throws(() => scopeOf({ AZURE_OPENAI_SCOPE: scope }), { code: 'invalid_config' }, scope)
  }
})

test('a host that no cloud owns takes the cloud of its authority', () => {
  const config = {
    ...{ AZURE_OPENAI_ENDPOINT: 'https://apim.example', ...APP },
    AZURE_AUTHORITY_HOST: 'login.microsoftonline.us',
  }
  const grant = grantOf(SECRET, config, ['apim.example'])
  assert.ok(grant?.kind === 'request' && grant.body.kind === 'form')
  assert.equal(grant.body.fields.get('scope'), 'https://ai.azure.us/.default')
})

test('a machine’s endpoint is one that the operator allowed', () => {
  const header = { IDENTITY_HEADER: 'h' }
  const at = (endpoint: string, allowList: readonly string[]) =>
    urlOf(header, { IDENTITY_ENDPOINT: endpoint }, allowList).split('?')[0]
  const inside = 'http://169.254.129.2:8081/msi/token'
  assert.equal(at(inside, ['169.254.129.2:8081']), inside)
  assert.throws(() => at(inside, []), { code: 'endpoint_forbidden' })
  assert.throws(() => at(inside, ['169.254.129.2:8082']), { code: 'endpoint_forbidden' })
  assert.throws(() => at('http://10.0.0.1:1/x', ['10.0.0.1:1']), { code: 'endpoint_forbidden' })
  assert.throws(() => at('http://u:p@169.254.1.1:1/x', ['169.254.1.1:1']), AppError)
  const stand = { AZURE_POD_IDENTITY_AUTHORITY_HOST: 'http://127.0.0.1:9' }
  assert.match(urlOf({}, stand, ['127.0.0.1:9']), /^http:\/\/127\.0\.0\.1:9\/metadata\//)
  assert.throws(() => grantOf({}, stand), { code: 'endpoint_forbidden' })
})

test('a machine is asked for the resource of the scope', () => {
  const { searchParams } = new URL(urlOf({}, { AZURE_CLIENT_ID: 'one' }))
  assert.equal(searchParams.get('resource'), 'https://ai.azure.com')
  assert.equal(searchParams.get('client_id'), 'one')
})
