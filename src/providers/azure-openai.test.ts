import assert from 'node:assert/strict'
import { test } from 'node:test'
import { azureProvider } from '../../test/support/azure.ts'
import { rulesOf } from '../../test/support/outside.ts'
import { azureOpenai } from './azure-openai.ts'

type Strings = Readonly<Record<string, string>>

const KEY = { AZURE_OPENAI_API_KEY: 'a-key' }
const HOST = 'https://res.openai.azure.com'

function route(modelId: string, config: Strings = {}, material: Strings = {}) {
  return azureOpenai.route(azureProvider(material, config), modelId, rulesOf(['apim.example']))
}

/** Where each protocol goes. */
function paths(modelId: string, config: Strings = {}): Strings {
  const { baseUrl, operations } = route(modelId, config).shape
  return Object.fromEntries(operations.map(one => [one.protocol, `${baseUrl}${one.path}`]))
}

test('the v1 API names the deployment in the body', () => {
  const v1 = `${HOST}/openai/v1`
  assert.deepEqual(paths('gpt-5.5'), {
    openai_chat_completions: `${v1}/chat/completions`,
    openai_completions: `${v1}/completions`,
    openai_responses: `${v1}/responses`,
    openai_responses_compact: `${v1}/responses/compact`,
    openai_embeddings: `${v1}/embeddings`,
    model_discovery: `${v1}/models`,
  })
  const { shape, credential } = route('gpt-5.5')
  assert.deepEqual(credential, { kind: 'token' })
  assert.deepEqual(shape.auth, { kind: 'header', header: 'authorization', prefix: 'Bearer ' })
  assert.equal(shape.modelId, 'gpt-5.5')
  const edits = shape.operations.map(({ model, dropQuery }) => [model, ...dropQuery])
  assert.deepEqual(edits[0], ['replace', 'api-version'])
  assert.deepEqual(edits.at(-1), ['keep', 'api-version'])
  assert.equal(route('m', { AZURE_OPENAI_DEPLOYMENT: 'mine' }).shape.modelId, 'mine')
})

test('a version chooses between the v1 API, its preview and the classic paths', () => {
  const chat = (version: string) =>
    paths('gpt', { AZURE_OPENAI_API_VERSION: version }).openai_chat_completions
  assert.equal(chat('v1'), `${HOST}/openai/v1/chat/completions`)
  for (const version of ['preview', 'latest']) {
    assert.equal(chat(version), `${HOST}/openai/v1/chat/completions?api-version=preview`)
  }
  const deployment = '/openai/deployments/{model}'
  const query = '?api-version=2024-10-21'
  assert.deepEqual(paths('gpt', { AZURE_OPENAI_API_VERSION: '2024-10-21' }), {
    openai_chat_completions: `${HOST}${deployment}/chat/completions${query}`,
    openai_completions: `${HOST}${deployment}/completions${query}`,
    openai_responses: `${HOST}/openai/responses${query}`,
    openai_responses_compact: `${HOST}/openai/responses/compact${query}`,
    openai_embeddings: `${HOST}${deployment}/embeddings${query}`,
    model_discovery: `${HOST}/openai/models${query}`,
  })
  assert.match(chat('2025-04-01-preview') ?? '', /api-version=2025-04-01-preview$/)
  for (const version of ['2024', '2024-10-21&x=1', 'V1', 'beta']) {
    assert.throws(() => chat(version), { code: 'invalid_config' }, version)
  }
})

test('Claude is served as Anthropic serves it, on Foundry’s host', () => {
  const claude = 'https://res.services.ai.azure.com/anthropic/v1'
  const expected = {
    anthropic_messages: `${claude}/messages`,
    anthropic_count_tokens: `${claude}/messages/count_tokens`,
  }
  assert.deepEqual(paths('claude-sonnet-5-5'), expected)
  const project = 'https://res.services.ai.azure.com/api/projects/mine'
  for (const endpoint of [`${claude}/`, 'res.services.ai.azure.com/anthropic', project]) {
    assert.deepEqual(paths('claude-x', { AZURE_OPENAI_ENDPOINT: endpoint }), expected, endpoint)
  }
  assert.deepEqual(paths('my-own-name', { AZURE_OPENAI_ENDPOINT: claude }), expected)
  const { shape } = route('claude-x')
  assert.deepEqual(shape.allowHeaders, ['anthropic-version', 'anthropic-beta'])
  assert.equal(shape.defaultHeaders.get('anthropic-version'), '2023-06-01')
})

test('a static key goes as Azure wants it, and is never renewed', () => {
  for (const [modelId, header] of [
    ['gpt-5.5', 'api-key'],
    ['claude-x', 'x-api-key'],
  ] as const) {
    const { shape, credential } = route(modelId, {}, KEY)
    assert.deepEqual(shape.auth, { kind: 'header', header, prefix: '' })
    assert.deepEqual(shape.deadToken, [])
    assert.deepEqual(credential, { kind: 'material', key: 'AZURE_OPENAI_API_KEY' })
  }
  for (const key of ['a b', 'a\n', '']) {
    const material = { AZURE_OPENAI_API_KEY: key }
    assert.throws(() => route('m', {}, material), { code: 'invalid_credential' })
  }
})

test('a 401 means a dead token, unless it names a missing role or a wrong key', () => {
  assert.deepEqual(route('gpt').shape.deadToken, [
    {
      status: 401,
      when: [],
      unless: ['PermissionDenied', 'lacks the required data action', 'invalid subscription key'],
    },
  ])
})

test('an endpoint is read however the portal or an SDK shows it', () => {
  const chat = (endpoint: string) =>
    paths('gpt', { AZURE_OPENAI_ENDPOINT: endpoint }).openai_chat_completions
  const end = '/openai/v1/chat/completions'
  const cases: readonly (readonly [endpoint: string, base: string])[] = [
    ['res.openai.azure.com', HOST],
    [`${HOST}/`, HOST],
    [`${HOST}/openai`, HOST],
    [`${HOST}/openai/v1/`, HOST],
    ['https://res.cognitiveservices.azure.com/', 'https://res.cognitiveservices.azure.com'],
    ['https://res.openai.azure.us', 'https://res.openai.azure.us'],
    ['https://res.openai.azure.cn', 'https://res.openai.azure.cn'],
    [
      'https://res.services.ai.azure.com/api/projects/p-1/openai/v1',
      'https://res.services.ai.azure.com/api/projects/p-1',
    ],
    ['https://apim.example/team/openai/v1', 'https://apim.example/team'],
    ['https://apim.example/', 'https://apim.example'],
  ]
  for (const [endpoint, base] of cases) assert.equal(chat(endpoint), `${base}${end}`, endpoint)
  const refused: readonly (readonly [endpoint: string, code: string])[] = [
    ['http://res.openai.azure.com', 'endpoint_forbidden'],
    ['https://res.openai.azure.com.evil.example', 'endpoint_forbidden'],
    ['https://openai.azure.com', 'endpoint_forbidden'],
    ['https://evil.example', 'endpoint_forbidden'],
    ['https://evilopenai.azure.com', 'endpoint_forbidden'],
    ['https://169.254.169.254', 'endpoint_forbidden'],
    [`${HOST}:8443`, 'endpoint_forbidden'],
    [`${HOST}/openai/deployments/d/chat/completions?api-version=2024-10-21`, 'invalid_config'],
    [`${HOST}/other`, 'invalid_config'],
    [`${HOST}/?x=1`, 'invalid_config'],
    ['https://u:p@res.openai.azure.com', 'invalid_config'],
  ]
  for (const [endpoint, code] of refused) assert.throws(() => chat(endpoint), { code }, endpoint)
})

test('a deployment that would move the request elsewhere is refused', () => {
  for (const name of [
    '',
    '..',
    '../x',
    'a/b',
    'a?b',
    'a b',
    'a%2f',
    '.x',
    '-x',
    'é',
    'x'.repeat(129),
  ]) {
    assert.throws(() => route(name), { code: 'invalid_argument' }, name)
  }
  assert.equal(route('x'.repeat(128)).shape.modelId.length, 128)
})

test('the API’s refusals say what to do', () => {
  const said = (status: number, body: string) =>
    azureOpenai.probeRules?.find(
      rule =>
        (rule.status === 0 || rule.status === status) &&
        (rule.pattern === null || rule.pattern.test(body)),
    )?.code
  assert.equal(said(401, '{"error":{"code":"PermissionDenied"}}'), 'azure_role_missing')
  assert.equal(said(401, 'due to invalid subscription key or wrong'), 'azure_wrong_key')
  assert.equal(said(401, 'audience is incorrect (https://x)'), 'azure_audience_refused')
  assert.equal(said(403, 'AuthenticationTypeDisabled'), 'azure_keys_disabled')
  assert.equal(said(403, 'Access denied due to Virtual Network/Firewall'), 'azure_network_refused')
  assert.equal(said(404, '"DeploymentNotFound"'), 'azure_deployment_not_found')
  assert.equal(said(404, 'Resource not found'), 'azure_path_not_found')
  assert.equal(said(500, ''), undefined)
})
