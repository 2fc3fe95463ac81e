import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answered, translate } from '../../../test/support/translation.ts'
import { RouterError } from '../errors.ts'
import { geminiEmbeddings } from './gemini-embeddings.ts'

const BATCH = { form: 'batch' }
const text = (...texts: string[]) => ({ content: { parts: texts.map(one => ({ text: one })) } })
const prediction = (...values: number[]) => ({ embeddings: { values, statistics: {} } })

test('one content becomes one instance, and one vector comes back', async () => {
  const one = translate(geminiEmbeddings, {
    ...{ model: 'models/x', ...text('a', 'b') },
    ...{ taskType: 'RETRIEVAL_DOCUMENT', title: 't', outputDimensionality: 2 },
  })
  assert.deepEqual(one.body, {
    instances: [{ content: 'a\nb', task_type: 'RETRIEVAL_DOCUMENT', title: 't' }],
    parameters: { outputDimensionality: 2 },
  })
  assert.deepEqual(await answered(one, { predictions: [prediction(1, 2)] }), {
    status: 200,
    body: { embedding: { values: [1, 2] } },
  })
})

test('a batch becomes as many instances, with one number of dimensions for all', async () => {
  const two = translate(geminiEmbeddings, { requests: [text('a'), text('b')] }, BATCH)
  assert.deepEqual(two.body, { instances: [{ content: 'a' }, { content: 'b' }] })
  assert.deepEqual(await answered(two, { predictions: [prediction(1), prediction(2)] }), {
    status: 200,
    body: { embeddings: [{ values: [1] }, { values: [2] }] },
  })
})

test('an error passes as it is, and an answer of another form is none', async () => {
  const one = translate(geminiEmbeddings, text('a'))
  const error = { error: { code: 429, message: 'Later', status: 'RESOURCE_EXHAUSTED' } }
  assert.deepEqual(await answered(one, error, 429), { status: 429, body: error })
  for (const said of [{}, { predictions: [] }, { predictions: [{ embeddings: {} }] }]) {
    await assert.rejects(answered(one, said), { code: 'upstream_broken' })
  }
})

test('what Vertex AI cannot be asked is refused in words', () => {
  const ROWS: readonly (readonly [body: object, options: typeof BATCH | object, words: RegExp])[] =
    [
      [{}, {}, /"content" must have "parts"/],
      [{ content: { parts: [] } }, {}, /"content" must have "parts"/],
      [{ content: { parts: [{ inlineData: {} }] } }, {}, /each part a "text"/],
      [text('a'), BATCH, /"requests" must be an array/],
      [{ requests: [] }, BATCH, /"requests" must be an array/],
      [
        { requests: [text('a'), { ...text('b'), outputDimensionality: 3 }] },
        BATCH,
        /the same "outputDimensionality"/,
      ],
    ]
  for (const [body, options, words] of ROWS) {
    assert.throws(
      () => translate(geminiEmbeddings, body, { ...options }),
      (error: unknown) => {
        assert.ok(error instanceof RouterError)
        assert.equal(error.code, 'bad_request')
        assert.match(error.message, words)
        return true
      },
    )
  }
})
