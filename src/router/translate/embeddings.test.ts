// Goal: OpenAI's embeddings client is served by two APIs that know nothing of it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answered, translate } from '../../../test/support/translation.ts'
import { RouterError } from '../errors.ts'
import { vertexEmbeddings } from './vertex-embeddings.ts'
import { watsonxEmbeddings } from './watsonx-embeddings.ts'

const ADDRESS = { model_id: 'ibm/slate', space_id: 's-1' }
const VECTOR = [0.5, -0.25, 0]
const BASE64 = Buffer.from(new Float32Array(VECTOR).buffer).toString('base64')

function list(embeddings: readonly unknown[], tokens: number): unknown {
  return {
    object: 'list',
    data: embeddings.map((embedding, index) => ({ object: 'embedding', index, embedding })),
    model: 'the-model',
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  }
}

test('watsonx: texts go out as inputs, vectors come back', async () => {
  const one = translate(watsonxEmbeddings, { model: 'x', user: 'u', input: 'a' }, ADDRESS)
  assert.deepEqual(one.body, { inputs: ['a'], ...ADDRESS })
  const said = { results: [{ embedding: VECTOR }, { embedding: VECTOR }], input_token_count: 9 }
  assert.deepEqual(await answered(one, said), { status: 200, body: list([VECTOR, VECTOR], 9) })
  const compact = translate(watsonxEmbeddings, { input: ['a', 'b'], encoding_format: 'base64' })
  assert.deepEqual(await answered(compact, said), { status: 200, body: list([BASE64, BASE64], 9) })
})

test('Vertex: texts go out as instances, vectors and token counts come back', async () => {
  const request = { input: ['a', 'b'], dimensions: 3, task_type: 'CLUSTERING', model: 'x' }
  const two = translate(vertexEmbeddings, request)
  assert.deepEqual(two.body, {
    instances: ['a', 'b'].map(content => ({ content, task_type: 'CLUSTERING' })),
    parameters: { outputDimensionality: 3 },
  })
  assert.deepEqual(translate(vertexEmbeddings, { input: 'a' }).body, {
    instances: [{ content: 'a' }],
  })
  const embeddings = { values: VECTOR, statistics: { token_count: 2, truncated: false } }
  assert.deepEqual(await answered(two, { predictions: [{ embeddings }, { embeddings }] }), {
    status: 200,
    body: list([VECTOR, VECTOR], 4),
  })
  assert.deepEqual(await answered(two, { predictions: [{ embeddings: { values: VECTOR } }] }), {
    status: 200,
    body: list([VECTOR], 0),
  })
})

test('errors keep their status', async () => {
  const google = { error: { code: 403, message: 'No', status: 'PERMISSION_DENIED' } }
  const error = { message: 'No', type: 'permission_error', param: null, code: 'PERMISSION_DENIED' }
  const vertex = translate(vertexEmbeddings, { input: 'a' })
  assert.deepEqual(await answered(vertex, google, 403), { status: 403, body: { error } })
  const watsonx = translate(watsonxEmbeddings, { input: 'a' })
  assert.deepEqual(await answered(watsonx, { errors: [{ code: 'c', message: 'No' }] }, 403), {
    status: 403,
    body: { error: { ...error, code: 'c' } },
  })
})

test('an answer without vectors is the upstream’s failure', async () => {
  const rows = [
    [
      watsonxEmbeddings,
      [{}, { results: [] }, { results: [{}] }, { results: [{ embedding: ['1'] }] }],
    ],
    [
      vertexEmbeddings,
      [{}, { predictions: [{}] }, { predictions: [{ embeddings: { values: [] } }] }],
    ],
  ] as const
  for (const [translator, answers] of rows) {
    for (const said of answers) {
      await assert.rejects(answered(translate(translator, { input: 'a' }), said), {
        code: 'upstream_broken',
      })
    }
  }
})

test('what neither can be asked is a bad request', () => {
  const rows: readonly unknown[] = [
    {},
    { input: [] },
    { input: [1, 2] },
    { input: [[1]] },
    { input: ['a', 1] },
    { input: 'a', encoding_format: 'int8' },
    { input: 'a', dimensions: 0 },
    { input: 'a', dimensions: 1.5 },
    { input: 'a', dimensions: '3' },
  ]
  for (const translator of [watsonxEmbeddings, vertexEmbeddings]) {
    for (const body of rows) {
      assert.throws(
        () => translate(translator, body),
        (error: unknown) => error instanceof RouterError && error.code === 'bad_request',
      )
    }
  }
  assert.throws(() => translate(watsonxEmbeddings, { input: 'a', dimensions: 3 }), /dimensions/)
})
