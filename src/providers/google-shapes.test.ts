import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rulesOf } from '../../test/support/outside.ts'
import { vertexProvider } from '../../test/support/service-account.ts'
import { googleVertexAi } from './google-vertex-ai.ts'

type Texts = Readonly<Record<string, string>>

const HOST = 'https://us-east1-aiplatform.googleapis.com'
const PREFIX = `${HOST}/v1/projects/my-project/locations/us-east1`
const WORKSPACE = { ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID: 'wrkspc_1' }
const MANAGED =
  'https://claude.googleapis.com/v1/projects/my-project/locations/global/workspaces/wrkspc_1/invoke/v1'

function shapeOf(modelId: string, config: Texts = {}, allowList: readonly string[] = []) {
  const all = { VERTEX_BASE_URL: PREFIX, ...config }
  const provider = vertexProvider({ config: new Map(Object.entries(all)) })
  return googleVertexAi.route(provider, modelId, rulesOf(allowList)).shape
}

test('Mistral and AI21 are served by rawPredict, with the model in path and body', () => {
  const cases: readonly (readonly [
    id: string,
    publisher: string,
    inPath: string,
    inBody: string,
  ])[] = [
    ['mistral-medium-3', 'mistralai', '{model}', 'mistral-medium-3'],
    ['mistralai/mistral-small-2503', 'mistralai', '{model}', 'mistral-small-2503'],
    ['codestral-2501', 'mistralai', '{model}', 'codestral-2501'],
    ['codestral-2405', 'mistralai', 'codestral@2405', 'codestral'],
    ['codestral@2405', 'mistralai', 'codestral@2405', 'codestral'],
    ['mistral-large-2407', 'mistralai', 'mistral-large@2407', 'mistral-large'],
    ['mistral-nemo-2407', 'mistralai', 'mistral-nemo@2407', 'mistral-nemo'],
    ['jamba-1.5-large@001', 'ai21', '{model}', 'jamba-1.5-large@001'],
    ['ai21/jamba-large-1.6', 'ai21', '{model}', 'jamba-large-1.6'],
  ]
  for (const [id, publisher, inPath, inBody] of cases) {
    const { baseUrl, modelId, operations } = shapeOf(id)
    assert.equal(baseUrl, `${PREFIX}/publishers/${publisher}/models`, id)
    assert.equal(modelId, inBody, id)
    assert.deepEqual(operations, [
      {
        protocol: 'openai_chat_completions',
        path: `/${inPath}:rawPredict`,
        streamPath: `/${inPath}:streamRawPredict`,
        model: 'replace',
        version: null,
        dropQuery: [],
        baseUrl: '',
        keepQuery: [],
        hasBetas: false,
        defaultMembers: [],
        removeMembers: ['stream_options'],
        translation: null,
      },
    ])
  }
})

test('a deployed model is served by its endpoint, under the name that it was given', () => {
  for (const [id, name] of [
    ['123456', 'my/model'],
    ['mg-endpoint-0a', 'gemma-3'],
  ] as const) {
    const { baseUrl, modelId, operations } = shapeOf(name, { VERTEX_AI_ENDPOINT_ID: id })
    assert.equal(`${baseUrl}${operations[0]?.path}`, `${PREFIX}/endpoints/${id}/chat/completions`)
    assert.equal(modelId, name)
  }
  for (const id of ['../x', 'a/b', 'A', '1:predict', ' ; ', 'x'.repeat(64)]) {
    assert.throws(() => shapeOf('m', { VERTEX_AI_ENDPOINT_ID: id }), { code: 'invalid_config' }, id)
  }
  const own =
    'https://1.us-east1-2.prediction.vertexai.goog/v1/projects/my-project/locations/us-east1'
  const config = { VERTEX_BASE_URL: own, VERTEX_AI_ENDPOINT_ID: '1' }
  assert.throws(() => shapeOf('m', config), { code: 'endpoint_forbidden' })
  const allowed = ['1.us-east1-2.prediction.vertexai.goog']
  assert.equal(shapeOf('m', config, allowed).baseUrl, `${own}/endpoints/1`)
})

test('Claude in a workspace keeps Anthropic’s own shape, with Google’s token', () => {
  const shape = shapeOf('claude-sonnet-5-5', WORKSPACE)
  assert.equal(shape.baseUrl, MANAGED)
  assert.equal(shape.modelId, 'claude-sonnet-5-5')
  assert.deepEqual(shape.auth, { kind: 'header', header: 'authorization', prefix: 'Bearer ' })
  assert.deepEqual([...shape.defaultHeaders], [['anthropic-version', '2023-06-01']])
  assert.deepEqual(shape.allowHeaders, ['anthropic-version', 'anthropic-beta'])
  assert.deepEqual(
    shape.operations.map(({ protocol, path, model, version }) => [protocol, path, model, version]),
    [
      ['anthropic_messages', '/messages', 'replace', null],
      ['anthropic_count_tokens', '/messages/count_tokens', 'replace', null],
      ['model_discovery', '/models', 'keep', null],
    ],
  )
  assert.deepEqual(shape.deadToken, shapeOf('claude-sonnet-4-5').deadToken)
})

test('the workspace comes from the base URL or from the configuration', () => {
  const claude = 'https://claude.googleapis.com'
  const cases: readonly Texts[] = [
    { VERTEX_BASE_URL: MANAGED },
    { VERTEX_BASE_URL: MANAGED.replace('/invoke/v1', '/') },
    { ...WORKSPACE, VERTEX_BASE_URL: `${claude}/v1/projects/my-project` },
    { ...WORKSPACE, VERTEX_BASE_URL: 'claude.googleapis.com', VERTEX_AI_PROJECT_ID: 'my-project' },
    { ...WORKSPACE, VERTEX_BASE_URL: '', VERTEX_AI_PROJECT_ID: 'my-project' },
  ]
  for (const config of cases) {
    assert.equal(shapeOf('claude-sonnet-5-5', config).baseUrl, MANAGED, JSON.stringify(config))
  }
  const eu = shapeOf('claude-x', { ...WORKSPACE, ANTHROPIC_GOOGLE_CLOUD_LOCATION: 'eu' })
  assert.match(eu.baseUrl, /locations\/eu\/workspaces/)
  const lab = { ...WORKSPACE, VERTEX_BASE_URL: 'http://127.0.0.1:9/v1/projects/my-project' }
  assert.match(shapeOf('claude-x', lab, ['127.0.0.1:9']).baseUrl, /^http:\/\/127\.0\.0\.1:9\/v1\//)
  assert.match(shapeOf('gemini-2.5-pro', WORKSPACE).baseUrl, /endpoints\/openapi$/)
})

test('a workspace that could move the request elsewhere is refused', () => {
  const wrong: readonly Texts[] = [
    { ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID: '../x' },
    { ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID: 'a/b' },
    { ...WORKSPACE, ANTHROPIC_GOOGLE_CLOUD_LOCATION: 'us/..' },
    { VERTEX_BASE_URL: 'https://claude.googleapis.com/v1/projects/my-project' },
    { VERTEX_BASE_URL: 'https://claude.googleapis.com/v2' },
    { VERTEX_BASE_URL: `${MANAGED}?x=1` },
    { VERTEX_BASE_URL: 'http://claude.googleapis.com' },
    { VERTEX_BASE_URL: 'https://claude.googleapis.com.evil.example' },
  ]
  for (const config of wrong) {
    assert.throws(() => shapeOf('claude-x', config), { name: 'AppError' }, JSON.stringify(config))
  }
})
