import { RouterError } from '../errors.ts'
import { translateAnswer } from './answer.ts'
import { embeddingsAnswer, readEmbeddingsRequest } from './embeddings.ts'
import { objectsIn } from './json.ts'
import type { Translator } from './translator.ts'
import { readIbmError } from './watsonx-error.ts'

/** OpenAI Embeddings on watsonx.ai's `text/embeddings`. */
export const watsonxEmbeddings: Translator = (body, { modelId, options }) => {
  const { inputs, dimensions, isBase64 } = readEmbeddingsRequest(body)
  if (dimensions !== null) {
    throw new RouterError('bad_request', 'watsonx.ai does not take "dimensions". Leave it out')
  }
  return {
    isStream: false,
    body: { inputs, ...Object.fromEntries(options) },
    answer: answer =>
      translateAnswer(answer, {
        readError: readIbmError,
        whole: ({ results, input_token_count: tokens }) =>
          embeddingsAnswer(
            objectsIn(results).map(result => result.embedding),
            { modelId, tokens, isBase64 },
          ),
        events: null,
      }),
  }
}
