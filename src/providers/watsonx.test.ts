import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aProvider } from '../../test/store/records.ts'
import { noExecute, rulesOf } from '../../test/support/outside.ts'
import { Secret } from '../core/secret.ts'
import type { InputIo } from '../oauth/token-request.ts'
import { watsonx } from './watsonx.ts'

const rules = rulesOf(['127.0.0.1:8080', 'hub.example'])
const MODEL = 'ibm/granite-3-3-8b-instruct'
const PROJECT = { WATSONX_PROJECT_ID: 'p-1' }
const HOST = 'https://us-south.ml.cloud.ibm.com'

type Words = Readonly<Record<string, string>>

function provider(config: Words, material: Words = { IBM_CLOUD_API_KEY: 'a-key' }) {
  const secrets = Object.entries(material).map(([key, text]) => [key, new Secret(text)] as const)
  return aProvider({
    type: 'watsonx',
    material: new Map(secrets),
    config: new Map(Object.entries(config)),
  })
}

function shape(config: Words, modelId = MODEL, material?: Words) {
  return watsonx.route(provider(config, material), modelId, rules).shape
}

test('a model is served translated, by the version that the translation is written for', () => {
  const address = new Map([
    ['model_id', MODEL],
    ['project_id', 'p-1'],
  ])
  const common = {
    ...{ model: 'keep', version: null, removeMembers: [], dropQuery: ['*'] },
    ...{ baseUrl: '', keepQuery: [], hasBetas: false, defaultMembers: [] },
  }
  assert.deepEqual(shape(PROJECT), {
    baseUrl: `${HOST}/ml/v1`,
    modelId: MODEL,
    operations: [
      {
        ...common,
        protocol: 'openai_chat_completions',
        path: '/text/chat?version=2025-02-11',
        streamPath: '/text/chat_stream?version=2025-02-11',
        translation: { name: 'watsonx_chat', options: address },
      },
      {
        ...common,
        protocol: 'openai_embeddings',
        path: '/text/embeddings?version=2025-02-11',
        streamPath: '',
        translation: { name: 'watsonx_embeddings', options: address },
      },
      ...['chat', 'chat_stream', 'embeddings'].map(name => ({
        ...common,
        protocol: `watsonx_${name}`,
        path: `/text/${name}`,
        streamPath: '',
        dropQuery: ['model_id', 'project_id', 'space_id'],
        translation: { name: 'watsonx_native', options: address },
      })),
    ],
    auth: { kind: 'header', header: 'authorization', prefix: 'Bearer ' },
    defaultHeaders: new Map(),
    allowHeaders: [],
    betas: null,
    deadToken: [{ status: 401, when: [], unless: ['authorization_rejected'] }],
  })
})

test('a deployment needs neither project nor model, and stays in its place', () => {
  const { modelId, operations } = shape({}, 'deployment/my_model-1')
  assert.equal(modelId, 'my_model-1')
  assert.deepEqual(
    operations.map(({ path, streamPath, translation }) => [path, streamPath, translation]),
    [
      [
        '/deployments/{model}/text/chat?version=2025-02-11',
        '/deployments/{model}/text/chat_stream?version=2025-02-11',
        { name: 'watsonx_chat', options: new Map() },
      ],
      ...['chat', 'chat_stream'].map(name => [
        `/deployments/{model}/text/${name}`,
        '',
        { name: 'watsonx_native', options: new Map() },
      ]),
    ],
  )
  for (const id of ['', '..', '../x', 'a/b', 'a?b', 'a%2f', 'a;b', '-a', 'x'.repeat(129)]) {
    assert.throws(() => shape({}, `deployment/${id}`), { code: 'invalid_argument' }, id)
  }
})

test('the version of the API is the operator’s when chosen, else a native request’s own', () => {
  const chosen = shape({ ...PROJECT, WATSONX_API_VERSION: '2024-10-08' })
  const paths = chosen.operations.flatMap(one => [one.path, one.streamPath]).filter(path => path)
  assert.equal(paths.length, 6)
  for (const path of paths) assert.match(path, /\?version=2024-10-08$/)
})

test('exactly one of project and space pays', () => {
  const options = ({ translation }: { readonly translation: unknown }) => translation
  const [chat] = shape({ WATSONX_SPACE_ID: 's-1' }).operations
  assert.deepEqual(chat === undefined ? null : options(chat), {
    name: 'watsonx_chat',
    options: new Map([
      ['model_id', MODEL],
      ['space_id', 's-1'],
    ]),
  })
  assert.throws(() => shape({}), { code: 'invalid_config', message: /^Neither/ })
  assert.throws(() => shape({ ...PROJECT, WATSONX_SPACE_ID: 's' }), { code: 'invalid_config' })
})

test('the model gateway is OpenAI’s dialect, not translated', () => {
  const { baseUrl, operations } = shape({ WATSONX_MODEL_GATEWAY: 'True' }, 'gpt-5')
  assert.equal(baseUrl, `${HOST}/ml/gateway/v1`)
  assert.deepEqual(
    operations.map(({ protocol, path, model, translation }) => [
      protocol,
      path,
      model,
      translation,
    ]),
    [
      ['openai_chat_completions', '/chat/completions', 'replace', null],
      ['openai_completions', '/completions', 'replace', null],
      ['openai_embeddings', '/embeddings', 'replace', null],
      ['model_discovery', '/models', 'keep', null],
    ],
  )
  assert.equal(shape({ ...PROJECT, WATSONX_MODEL_GATEWAY: 'false' }).baseUrl, `${HOST}/ml/v1`)
  assert.throws(() => shape({ ...PROJECT, WATSONX_MODEL_GATEWAY: 'yes' }), {
    code: 'invalid_config',
  })
})

test('tokens go to IBM’s hosts, and to those that the operator allowed', () => {
  for (const [url, origin] of [
    ['https://eu-de.ml.cloud.ibm.com', 'https://eu-de.ml.cloud.ibm.com'],
    ['https://private.eu-de.ml.cloud.ibm.com/', 'https://private.eu-de.ml.cloud.ibm.com'],
    ['https://ap-south-1.aws.wxai.ibm.com/ml/v1', 'https://ap-south-1.aws.wxai.ibm.com'],
    ['https://hub.example', 'https://hub.example'],
    ['http://127.0.0.1:8080', 'http://127.0.0.1:8080'],
  ] as const) {
    assert.equal(shape({ ...PROJECT, WATSONX_URL: url }).baseUrl, `${origin}/ml/v1`)
  }
  for (const url of [
    'http://us-south.ml.cloud.ibm.com',
    'https://ml.cloud.ibm.com.evil.example',
    'https://evil.example',
    'https://us-south.ml.cloud.ibm.com:8443',
    'https://169.254.169.254',
  ]) {
    assert.throws(() => shape({ ...PROJECT, WATSONX_URL: url }), { code: 'endpoint_forbidden' })
  }
  for (const url of ['https://hub.example/x', 'https://hub.example/?a', 'no url']) {
    assert.throws(() => shape({ ...PROJECT, WATSONX_URL: url }), { code: 'invalid_config' })
  }
  for (const [config, code] of [
    [{ IBM_IAM_URL: 'https://evil.example' }, 'endpoint_forbidden'],
    [{ WATSONX_AUTH: 'vpc', IBM_VPC_METADATA_URL: 'http://10.0.0.1' }, 'endpoint_forbidden'],
    [{ WATSONX_AUTH: 'mcsp', IBM_IAM_URL: 'https://iam.cloud.ibm.com' }, 'endpoint_forbidden'],
  ] as const) {
    assert.throws(() => watsonx.grant(provider(config), 0, rules), { code })
  }
})

test('a configuration that cannot work is refused in words', () => {
  const rows: readonly (readonly [config: Words, material: Words, code: string])[] = [
    [{}, {}, 'invalid_credential'],
    [{}, { IBM_CLOUD_API_KEY: '{"apikey":"x"}' }, 'invalid_credential'],
    [{}, { IBM_CLOUD_API_KEY: 'two words' }, 'invalid_credential'],
    [{ WATSONX_AUTH: 'iam' }, {}, 'invalid_credential'],
    [{ WATSONX_AUTH: 'magic' }, {}, 'invalid_config'],
    [{ WATSONX_AUTH: 'cp4d' }, { WATSONX_PASSWORD: 'x' }, 'invalid_config'],
    [{ WATSONX_USERNAME: 'a:b' }, { WATSONX_PASSWORD: 'x' }, 'invalid_config'],
    [{ WATSONX_USERNAME: 'ada' }, {}, 'invalid_credential'],
  ]
  for (const [config, material, code] of rows) {
    assert.throws(() => watsonx.grant(provider(config, material), 0, rules), { code })
  }
  assert.throws(() => shape({ ...PROJECT, WATSONX_API_VERSION: '2025' }), {
    code: 'invalid_config',
  })
  for (const id of ['', 'a b', 'x'.repeat(257)]) {
    assert.throws(() => shape(PROJECT, id), { code: 'invalid_argument' })
  }
})

test('the user of Software Hub may do without an exchange', async () => {
  const config = { ...PROJECT, WATSONX_AUTH: 'zen', WATSONX_USERNAME: 'ada' }
  const grant = watsonx.grant(provider(config), 0, rules)
  assert.ok(grant?.kind === 'local')
  const io: InputIo = {
    fetch: () => Promise.reject(new Error('no network')),
    clock: { nowMs: () => 0, monotonicMs: () => 0, sleep: async () => {} },
    random: { fraction: () => 0, bytes: count => new Uint8Array(count) },
    execute: noExecute,
    vendorNowMs: 0,
    readFile: () => Promise.reject(new Error('no file')),
    mint: () => Promise.reject(new Error('no endpoint')),
  }
  const minted = await grant.mint(io, new AbortController().signal)
  assert.ok(minted.kind === 'minted')
  assert.equal(Buffer.from(minted.token.reveal(), 'base64').toString(), 'ada:a-key')
  const { auth } = shape(config)
  assert.deepEqual(auth, { kind: 'header', header: 'authorization', prefix: 'ZenApiKey ' })
})
