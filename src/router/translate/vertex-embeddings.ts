import { translateAnswer, type VendorError } from './answer.ts'
import { embeddingsAnswer, readEmbeddingsRequest } from './embeddings.ts'
import { isObject, type JsonObject, objectsIn } from './json.ts'
import type { Translator } from './translator.ts'

/** OpenAI Embeddings on Vertex AI's `:predict`; `task_type` passes as Google's extension. */
export const vertexEmbeddings: Translator = (body, { modelId }) => {
  const { inputs, dimensions, isBase64 } = readEmbeddingsRequest(body)
  const task = body.task_type === undefined ? {} : { task_type: body.task_type }
  return {
    isStream: false,
    body: {
      instances: inputs.map(content => ({ content, ...task })),
      ...(dimensions === null ? {} : { parameters: { outputDimensionality: dimensions } }),
    },
    answer: answer =>
      translateAnswer(answer, {
        readError: readGoogleError,
        whole: ({ predictions }) => {
          const embeddings = objectsIn(predictions).map(({ embeddings: one }) =>
            isObject(one) ? one : {},
          )
          const vectors = embeddings.map(one => one.values)
          const tokens = embeddings.reduce((sum, one) => sum + tokenCount(one), 0)
          return embeddingsAnswer(vectors, { modelId, tokens, isBase64 })
        },
        events: null,
      }),
  }
}

function tokenCount({ statistics }: JsonObject): number {
  const count = isObject(statistics) ? statistics.token_count : 0
  return typeof count === 'number' ? count : 0
}

function readGoogleError({ error }: JsonObject): VendorError | null {
  if (!isObject(error) || typeof error.message !== 'string') return null
  return { code: typeof error.status === 'string' ? error.status : '', message: error.message }
}
