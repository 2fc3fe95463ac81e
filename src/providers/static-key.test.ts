import assert from 'node:assert/strict'
import { test } from 'node:test'
import { aProvider } from '../../test/store/records.ts'
import { rulesOf } from '../../test/support/outside.ts'
import { keyFile } from '../../test/support/service-account.ts'
import { Secret } from '../core/secret.ts'
import { anthropic } from './anthropic.ts'
import { deepinfra } from './deepinfra.ts'
import { generic } from './generic.ts'
import { nvidia } from './nvidia.ts'
import { openai } from './openai.ts'
import type { ProviderType } from './provider-type.ts'

const vendors = [
  [openai, 'OPENAI', 'https://api.openai.com/v1'],
  [anthropic, 'ANTHROPIC', 'https://api.anthropic.com/v1'],
  [nvidia, 'NVIDIA', 'https://integrate.api.nvidia.com/v1'],
  [deepinfra, 'DEEPINFRA', 'https://api.deepinfra.com/v1/openai'],
] as const

type Texts = Readonly<Record<string, string>>

function route(
  type: ProviderType,
  given: { readonly keys: Texts; readonly config?: Texts; readonly model?: string },
  allowList: readonly string[] = [],
) {
  const provider = aProvider({
    type: type.type,
    material: new Map(Object.entries(given.keys).map(([key, one]) => [key, new Secret(one)])),
    config: new Map(Object.entries(given.config ?? {})),
  })
  return type.route(provider, given.model ?? 'some/model:v1', rulesOf(allowList))
}

test('each vendor’s own host, key and header', () => {
  for (const [type, name, baseUrl] of vendors) {
    const { shape, credential } = route(type, { keys: { [`${name}_API_KEY`]: 'k' } })
    assert.equal(shape.baseUrl, baseUrl)
    assert.equal(shape.modelId, 'some/model:v1')
    assert.deepEqual(credential, { kind: 'material', key: `${name}_API_KEY` })
    const isAnthropic = type === anthropic
    assert.deepEqual(
      shape.auth,
      isAnthropic
        ? { kind: 'header', header: 'x-api-key', prefix: '' }
        : { kind: 'header', header: 'authorization', prefix: 'Bearer ' },
    )
    assert.deepEqual(
      [...shape.defaultHeaders],
      isAnthropic ? [['anthropic-version', '2023-06-01']] : [],
    )
    assert.deepEqual(
      shape.operations.map(one => `${one.protocol} ${one.path} ${one.model}`),
      isAnthropic
        ? [
            'anthropic_messages /messages replace',
            'anthropic_count_tokens /messages/count_tokens replace',
            'model_discovery /models keep',
          ]
        : [
            'openai_chat_completions /chat/completions replace',
            'openai_completions /completions replace',
            'openai_responses /responses replace',
            'openai_responses_compact /responses/compact replace',
            'openai_embeddings /embeddings replace',
            'model_discovery /models keep',
          ],
    )
    assert.equal(type.grant(aProvider(), 0, rulesOf()), null)
  }
})

test('a base URL of one’s own stays with the vendor, or with a host that the operator allowed', () => {
  const config = (url: string) => ({
    keys: { OPENAI_API_KEY: 'k' },
    config: { OPENAI_BASE_URL: url },
  })
  const of = (url: string, allowList: readonly string[] = []) =>
    route(openai, config(url), allowList).shape.baseUrl
  assert.equal(of(' https://api.openai.com/v1/ '), 'https://api.openai.com/v1')
  assert.equal(of('https://api.openai.com/other//'), 'https://api.openai.com/other')
  assert.equal(of('https://proxy.example/v1', ['proxy.example']), 'https://proxy.example/v1')
  assert.equal(of('http://127.0.0.1:1/v1', ['127.0.0.1:1']), 'http://127.0.0.1:1/v1')
  const refused = [
    'https://proxy.example/v1',
    'http://api.openai.com/v1',
    'https://api.openai.com.evil.example/v1',
    'http://169.254.169.254/latest',
    'file:///etc/passwd',
  ]
  for (const url of refused) assert.throws(() => of(url), { name: 'AppError' }, url)
  assert.throws(() => of('https://api.openai.com/v1?key=x'), { code: 'invalid_config' })
})

test('a key under any other name works too; with several, the first by name', () => {
  const choose = (keys: Texts) => route(openai, { keys }).credential
  assert.deepEqual(choose({ MY_KEY: 'k' }), { kind: 'material', key: 'MY_KEY' })
  assert.deepEqual(choose({ B: 'k', A: 'k' }), { kind: 'material', key: 'A' })
  assert.deepEqual(choose({ A: 'k', OPENAI_API_KEY: 'k' }), {
    kind: 'material',
    key: 'OPENAI_API_KEY',
  })
  assert.throws(() => choose({}), { code: 'invalid_credential' })
})

test('what a header cannot carry, or must not, is no API key', () => {
  const wrong = ['', 'with space', 'line\n', 'a\r\nX-Evil: 1', 'schlüssel', keyFile()]
  const compact = '{"type":"authorized_user","refresh_token":"1//x"}'
  for (const text of [...wrong, compact, '-----BEGIN PRIVATE KEY-----']) {
    for (const type of [openai, anthropic, generic]) {
      const given = { keys: { API_KEY: text }, config: { BASE_URL: 'https://h.example' } }
      assert.throws(
        () => route(type, given, ['h.example']),
        (error: unknown) =>
          error instanceof Error &&
          'code' in error &&
          error.code === 'invalid_credential' &&
          (text === '' || !error.message.includes(text)),
      )
    }
  }
})

test('a model id is printable and at most 256 characters', () => {
  const keys = { OPENAI_API_KEY: 'k' }
  assert.equal(route(openai, { keys, model: 'x'.repeat(256) }).shape.modelId.length, 256)
  for (const model of ['', 'x'.repeat(257), 'a b', 'a\nb', 'é']) {
    assert.throws(() => route(openai, { keys, model }), { code: 'invalid_argument' })
  }
})

const base = { keys: { API_KEY: 'k' }, config: { BASE_URL: 'https://h.example/v1' } }
const allowed = ['h.example']

test('a generic provider speaks the protocol and uses the header it is told', () => {
  const auth = (config: Texts) =>
    route(generic, { ...base, config: { ...base.config, ...config } }, allowed).shape.auth
  assert.deepEqual(auth({}), { kind: 'header', header: 'authorization', prefix: 'Bearer ' })
  assert.deepEqual(auth({ PROTOCOL: 'openai' }), {
    kind: 'header',
    header: 'authorization',
    prefix: 'Bearer ',
  })
  assert.deepEqual(auth({ PROTOCOL: 'anthropic' }), {
    kind: 'header',
    header: 'x-api-key',
    prefix: '',
  })
  assert.deepEqual(auth({ AUTH_HEADER: 'Api-Key' }), {
    kind: 'header',
    header: 'api-key',
    prefix: '',
  })
  assert.deepEqual(auth({ PROTOCOL: 'anthropic', AUTH_HEADER: 'Authorization' }), {
    kind: 'header',
    header: 'authorization',
    prefix: 'Bearer ',
  })
  for (const header of ['host', 'Content-Length', 'x y', 'x\r\ny', 'x:y', 'x'.repeat(65)]) {
    assert.throws(() => auth({ AUTH_HEADER: header }), { code: 'invalid_config' }, header)
  }
  for (const protocol of ['OpenAI', 'grpc']) {
    assert.throws(() => auth({ PROTOCOL: protocol }), { code: 'invalid_config' }, protocol)
  }
})

test('a generic provider needs an allowed base URL and one key', () => {
  assert.equal(route(generic, base, allowed).shape.baseUrl, 'https://h.example/v1')
  assert.throws(() => route(generic, base), { code: 'endpoint_forbidden' })
  assert.throws(() => route(generic, { keys: base.keys }), { code: 'invalid_config' })
  const named = route(generic, { ...base, keys: { OTHER: 'k' } }, allowed)
  assert.deepEqual(named.credential, { kind: 'material', key: 'OTHER' })
  const both = route(generic, { ...base, keys: { A: 'k', API_KEY: 'k' } }, allowed)
  assert.deepEqual(both.credential, { kind: 'material', key: 'API_KEY' })
  for (const keys of [{}, { A: 'k', B: 'k' }]) {
    assert.throws(() => route(generic, { ...base, keys }, allowed), { code: 'invalid_credential' })
  }
})
