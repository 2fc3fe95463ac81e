import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rulesOf } from '../../test/support/outside.ts'
import { vertexProvider } from '../../test/support/service-account.ts'
import { VERTEX_BETAS } from './claude-betas.ts'
import { googleVertexAi } from './google-vertex-ai.ts'

const rules = rulesOf()
const PREFIX = 'projects/my-project/locations/us-east1'
const HOST = 'https://us-east1-aiplatform.googleapis.com'

function route(modelId: string, config: Readonly<Record<string, string>> = {}) {
  const base = { VERTEX_BASE_URL: `${HOST}/v1/${PREFIX}` }
  const provider = vertexProvider({ config: new Map(Object.entries({ ...base, ...config })) })
  return googleVertexAi.route(provider, modelId, rules)
}

const common = {
  auth: { kind: 'header', header: 'authorization', prefix: 'Bearer ' },
  defaultHeaders: new Map(),
  allowHeaders: [],
  betas: null,
  deadToken: [
    { status: 401, when: [], unless: ['ACCESS_TOKEN_TYPE_UNSUPPORTED', 'ACCOUNT_STATE_INVALID'] },
  ],
}
const version = {
  byHeader: new Map([['2023-06-01', 'vertex-2023-10-16']]),
  fallback: 'vertex-2023-10-16',
}

test('Claude is served as Anthropic Messages, with the model in the path', () => {
  const { shape, credential } = route('claude-3-7-sonnet')
  assert.deepEqual(credential, { kind: 'token' })
  assert.deepEqual(shape, {
    ...common,
    baseUrl: `${HOST}/v1/${PREFIX}/publishers/anthropic/models`,
    modelId: 'claude-3-7-sonnet@20250219',
    betas: VERTEX_BETAS,
    operations: [
      {
        protocol: 'anthropic_messages',
        path: '/{model}:rawPredict',
        streamPath: '/{model}:streamRawPredict',
        model: 'remove',
        version,
        dropQuery: ['beta'],
        baseUrl: '',
        keepQuery: [],
        hasBetas: true,
        defaultMembers: [],
        removeMembers: [],
        translation: null,
      },
      {
        protocol: 'anthropic_count_tokens',
        path: '/count-tokens:rawPredict',
        streamPath: '',
        model: 'replace',
        version,
        dropQuery: ['beta'],
        baseUrl: '',
        keepQuery: [],
        hasBetas: true,
        defaultMembers: [],
        removeMembers: [],
        translation: null,
      },
      {
        protocol: 'vertex_raw_predict',
        path: '/{model}:rawPredict',
        streamPath: '',
        model: 'keep',
        version,
        dropQuery: ['beta'],
        baseUrl: '',
        keepQuery: [],
        hasBetas: true,
        defaultMembers: [],
        removeMembers: [],
        translation: null,
      },
      {
        protocol: 'vertex_stream_raw_predict',
        path: '/{model}:streamRawPredict',
        streamPath: '',
        model: 'keep',
        version,
        dropQuery: ['beta'],
        baseUrl: '',
        keepQuery: [],
        hasBetas: true,
        defaultMembers: [],
        removeMembers: [],
        translation: null,
      },
      {
        protocol: 'vertex_count_tokens',
        path: '/count-tokens:rawPredict',
        streamPath: '',
        model: 'replace',
        version,
        dropQuery: ['beta'],
        baseUrl: '',
        keepQuery: [],
        hasBetas: true,
        defaultMembers: [],
        removeMembers: [],
        translation: null,
      },
    ],
  })
})

test('Gemini is served as OpenAI Chat Completions and in its own dialect, elsewhere', () => {
  assert.deepEqual(route('gemini-2.5-flash').shape, {
    ...common,
    baseUrl: `${HOST}/v1beta1/${PREFIX}/endpoints/openapi`,
    modelId: 'google/gemini-2.5-flash',
    operations: [
      {
        protocol: 'openai_chat_completions',
        path: '/chat/completions',
        streamPath: '',
        model: 'replace',
        version: null,
        dropQuery: [],
        baseUrl: '',
        keepQuery: [],
        hasBetas: false,
        defaultMembers: [],
        removeMembers: [],
        translation: null,
      },
      ...['generateContent', 'streamGenerateContent', 'countTokens'].map(verb => ({
        protocol: `gemini_${verb.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)}`,
        path: `/gemini-2.5-flash:${verb}`,
        streamPath: '',
        model: 'remove',
        version: null,
        dropQuery: ['*'],
        baseUrl: `${HOST}/v1beta1/${PREFIX}/publishers/google/models`,
        keepQuery: ['alt'],
        hasBetas: false,
        defaultMembers: [{ path: 'contents[].role', json: '"user"' }],
        removeMembers: ['store'],
        translation: null,
      })),
    ],
  })
})

test('Google’s embedding models are served translated, by their own verb', () => {
  for (const id of ['text-embedding-005', 'google/gemini-embedding-001']) {
    const { baseUrl, modelId, operations } = route(id).shape
    assert.equal(baseUrl, `${HOST}/v1/${PREFIX}/publishers/google/models`)
    assert.equal(modelId, id.replace('google/', ''))
    assert.deepEqual(operations, [
      {
        protocol: 'openai_embeddings',
        path: '/{model}:predict',
        streamPath: '',
        model: 'keep',
        version: null,
        dropQuery: ['*'],
        baseUrl: '',
        keepQuery: [],
        hasBetas: false,
        defaultMembers: [],
        removeMembers: [],
        translation: { name: 'vertex_embeddings', options: new Map() },
      },
      ...[
        ['gemini_embed_content', 'one'],
        ['gemini_batch_embed_contents', 'batch'],
      ].map(([protocol = '', form = '']) => ({
        protocol,
        path: '/{model}:predict',
        streamPath: '',
        model: 'keep',
        version: null,
        dropQuery: ['*'],
        baseUrl: '',
        keepQuery: [],
        hasBetas: false,
        defaultMembers: [],
        removeMembers: [],
        translation: { name: 'gemini_embeddings', options: new Map([['form', form]]) },
      })),
      {
        protocol: 'gemini_predict',
        path: '/{model}:predict',
        streamPath: '',
        model: 'remove',
        version: null,
        dropQuery: ['*'],
        baseUrl: '',
        keepQuery: [],
        hasBetas: false,
        defaultMembers: [],
        removeMembers: [],
        translation: null,
      },
    ])
  }
  assert.match(route('text-embedding-x', { VERTEX_AI_PUBLISHER: 'qwen' }).shape.baseUrl, /openapi$/)
})

test('each model goes to its publisher’s endpoint under Vertex’s name for it', () => {
  const claude = '/publishers/anthropic/models'
  const compatible = '/endpoints/openapi'
  const cases: readonly (readonly [id: string, end: string, name: string, publisher?: string])[] = [
    ['claude-sonnet-4-5', claude, 'claude-sonnet-4-5@20250929'],
    ['claude-sonnet-4-5-20250929', claude, 'claude-sonnet-4-5@20250929'],
    ['claude-sonnet-4-5@20250929', claude, 'claude-sonnet-4-5@20250929'],
    ['claude-3-5-sonnet', claude, 'claude-3-5-sonnet@20240620'],
    ['claude-3-5-sonnet-20240620', claude, 'claude-3-5-sonnet@20240620'],
    ['claude-3-5-sonnet-20241022', claude, 'claude-3-5-sonnet-v2@20241022'],
    ['claude-3-5-sonnet-v2', claude, 'claude-3-5-sonnet-v2@20241022'],
    ['claude-sonnet-5-5', claude, 'claude-sonnet-5-5'],
    ['anthropic/claude-opus-4-1', claude, 'claude-opus-4-1@20250805'],
    ['Anthropic/claude-x', claude, 'claude-x'],
    ['my-tuned', claude, 'my-tuned', 'anthropic'],
    ['google/gemini-2.5-pro', compatible, 'google/gemini-2.5-pro'],
    ['meta/llama-4-maverick-maas', compatible, 'meta/llama-4-maverick-maas'],
    ['llama-4-maverick-maas', compatible, 'meta/llama-4-maverick-maas'],
    ['deepseek-r1-maas', compatible, 'deepseek-ai/deepseek-r1-maas'],
    ['openai/gpt-oss-120b-maas', compatible, 'openai/gpt-oss-120b-maas'],
    ['who-knows', compatible, 'who-knows'],
    ['who-knows', compatible, 'qwen/who-knows', 'qwen'],
    ['meta/llama-4', compatible, 'meta/llama-4', 'anthropic'],
    ['a@b', compatible, 'a@b'],
  ]
  for (const [id, end, name, publisher] of cases) {
    const { shape } = route(id, publisher === undefined ? {} : { VERTEX_AI_PUBLISHER: publisher })
    assert.ok(shape.baseUrl.endsWith(`/${PREFIX}${end}`), id)
    assert.equal(shape.modelId, name, id)
  }
})

test('a model id that would move the request elsewhere is refused', () => {
  const ids = [
    '',
    '..',
    '../x',
    '..;x',
    '.;x',
    ';x',
    'm;x',
    'a%2f',
    'a/b/c',
    '/x',
    'x/',
    'a?b',
    'a#b',
  ]
  const more = [
    'a b',
    'a\\b',
    'a\nb',
    'a:rawPredict',
    'claude-..',
    'anthropic/../x',
    'anthropic/..',
  ]
  for (const id of [...ids, ...more, 'é', '@x', 'x'.repeat(129), 'google/../../x']) {
    assert.throws(() => route(id), { code: 'invalid_argument' }, JSON.stringify(id))
  }
  for (const publisher of ['../x', 'a/b', 'a;b', 'a"b']) {
    const config = { VERTEX_AI_PUBLISHER: publisher }
    assert.throws(() => route('m', config), { code: 'invalid_argument' }, publisher)
  }
  assert.equal(route('x'.repeat(128)).shape.modelId.length, 128)
})

test('the project comes from the base URL, the configuration, or the key file, in this order', () => {
  const url = { VERTEX_BASE_URL: HOST }
  const projects = (config: Readonly<Record<string, string>>) =>
    /projects\/([^/]+)/.exec(route('m', config).shape.baseUrl)?.[1]
  assert.equal(projects({ VERTEX_AI_PROJECT_ID: 'configured' }), 'my-project')
  assert.equal(projects({ ...url, VERTEX_AI_PROJECT_ID: ' configured ' }), 'configured')
  assert.equal(projects(url), 'test-project')
  const nameless = vertexProvider(
    { config: new Map(Object.entries(url)) },
    { project_id: undefined },
  )
  assert.throws(() => googleVertexAi.route(nameless, 'm', rules), { code: 'invalid_config' })
})

test('without its key file there is no grant, and a route wants its project told', () => {
  const bare = vertexProvider({ material: new Map(), config: new Map() })
  assert.throws(() => googleVertexAi.route(bare, 'm', rules), { code: 'invalid_config' })
  assert.throws(() => googleVertexAi.grant(bare, 0, rules), { code: 'invalid_credential' })
  // Its tokens may come from a refresh that was configured.
  const told = new Map([['VERTEX_AI_PROJECT_ID', 'my-project']])
  const { shape } = googleVertexAi.route({ ...bare, config: told }, 'claude-a', rules)
  assert.match(shape.baseUrl, /\/projects\/my-project\//)
})
