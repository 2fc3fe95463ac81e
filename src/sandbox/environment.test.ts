import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PLACEHOLDER_KEY, sandboxEnvironment } from './environment.ts'

const OPTIONS = {
  sandboxName: 'demo',
  proxyUrl: 'http://127.0.0.1:4000',
  caFile: '/t/ca.pem',
  caBundleFile: '/t/bundle.pem',
  credentialNames: ['ACME_LOGIN', 'GOOGLE_SERVICE_ACCOUNT_JSON'],
}

for (const name of [
  'ANTHROPIC_AUTH_TOKEN',
  'ANTHROPIC_FOUNDRY_API_KEY',
  'CLAUDE_CODE_OAUTH_TOKEN',
  'CLAUDE_CODE_USE_VERTEX',
  'OPENAI_ADMIN_KEY',
  'GOOGLE_API_KEY',
  'GOOGLE_APPLICATION_CREDENTIALS',
  'GOOGLE_APPLICATION_CREDENTIALS_JSON',
  'GOOGLE_SERVICE_ACCOUNT_JSON',
  'VERTEX_AI_TOKEN',
  'AZURE_CLIENT_SECRET',
  'AZURE_CLIENT_CERTIFICATE_PATH',
  'AZURE_OPENAI_API_KEY',
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'AWS_BEARER_TOKEN_BEDROCK',
  'AWS_WEB_IDENTITY_TOKEN_FILE',
  'IBM_CLOUD_API_KEY',
  'WATSONX_APIKEY',
  'OPENSHELL_TOKEN',
  'OPENSHELL_SANDBOX_TOKEN_FILE',
  'OPENSHELL_MASTER_KEY',
  'ACME_LOGIN',
  'acme_login',
  'ALL_PROXY',
  'all_proxy',
  'GOOGLE_GENAI_USE_VERTEXAI',
]) {
  test(`${name} does not reach the child`, () => {
    assert.equal(sandboxEnvironment({ [name]: 'value' }, OPTIONS)[name], undefined)
  })
}

for (const name of [
  'PATH',
  'HOME',
  'TERM',
  'GOOGLE_CLOUD_PROJECT',
  'AWS_REGION',
  'AZURE_TENANT_ID',
  'ANTHROPIC_MODEL',
  'KEYBOARD',
  'OPENSHELL_GATEWAY_ENDPOINT',
]) {
  test(`${name} stays as it is`, () => {
    assert.equal(sandboxEnvironment({ [name]: 'value' }, OPTIONS)[name], 'value')
  })
}

test('what leads to the router replaces what was there', () => {
  const parent = {
    HTTPS_PROXY: 'http://old:1',
    http_proxy: 'http://old:1',
    NO_PROXY: '*',
    ANTHROPIC_BASE_URL: 'https://api.anthropic.com',
    ANTHROPIC_API_KEY: 'a real one',
    OPENAI_API_KEY: 'a real one',
    GEMINI_API_KEY: 'a real one',
    SSL_CERT_FILE: '/etc/old.pem',
  }
  assert.deepEqual(sandboxEnvironment(parent, OPTIONS), {
    HTTP_PROXY: OPTIONS.proxyUrl,
    HTTPS_PROXY: OPTIONS.proxyUrl,
    NO_PROXY: '127.0.0.1,localhost,::1',
    http_proxy: OPTIONS.proxyUrl,
    https_proxy: OPTIONS.proxyUrl,
    no_proxy: '127.0.0.1,localhost,::1',
    NODE_USE_ENV_PROXY: '1',
    NODE_EXTRA_CA_CERTS: '/t/ca.pem',
    DENO_CERT: '/t/ca.pem',
    SSL_CERT_FILE: '/t/bundle.pem',
    REQUESTS_CA_BUNDLE: '/t/bundle.pem',
    CURL_CA_BUNDLE: '/t/bundle.pem',
    GIT_SSL_CAINFO: '/t/bundle.pem',
    CODEX_CA_CERTIFICATE: '/t/bundle.pem',
    ANTHROPIC_BASE_URL: 'https://inference.local',
    ANTHROPIC_API_KEY: PLACEHOLDER_KEY,
    OPENAI_BASE_URL: 'https://inference.local/v1',
    OPENAI_API_KEY: PLACEHOLDER_KEY,
    GOOGLE_GEMINI_BASE_URL: 'https://inference.local',
    GEMINI_API_KEY: PLACEHOLDER_KEY,
    OPENSHELL_SANDBOX: 'demo',
  })
})

test('an unset variable is left out', () => {
  assert.ok(!('GONE' in sandboxEnvironment({ GONE: undefined }, OPTIONS)))
})
