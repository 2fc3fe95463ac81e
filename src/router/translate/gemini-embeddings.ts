import { RouterError } from '../errors.ts'
import { translateAnswer } from './answer.ts'
import { isObject, type JsonObject, objectsIn } from './json.ts'
import type { Translator } from './translator.ts'

/**
 * Gemini's `:embedContent` and, with the option `form` of `batch`, `:batchEmbedContents` on Vertex AI's
 * `:predict`. An error is in Google's dialect on both sides and passes as it is.
 */
export const geminiEmbeddings: Translator = (body, { options }) => {
  const isBatch = options.get('form') === 'batch'
  const requests = isBatch ? objectsIn(body.requests) : [body]
  if (requests.length === 0) {
    throw new RouterError('bad_request', '"requests" must be an array of at least one object')
  }
  const dimensions = commonDimensions(requests)
  return {
    isStream: false,
    body: {
      instances: requests.map(instanceOf),
      ...(dimensions === undefined ? {} : { parameters: { outputDimensionality: dimensions } }),
    },
    answer: async answer => {
      if (answer.status < 200 || answer.status > 299) return answer
      return translateAnswer(answer, {
        readError: () => null,
        whole: ({ predictions }) => embeddingsOf(objectsIn(predictions), { isBatch }),
        events: null,
      })
    },
  }
}

function instanceOf(request: JsonObject): JsonObject {
  const { taskType, title } = request
  return {
    content: textOf(request),
    ...(taskType === undefined ? {} : { task_type: taskType }),
    ...(title === undefined ? {} : { title }),
  }
}

/** Vertex AI's `:predict` takes text alone. */
function textOf({ content }: JsonObject): string {
  const parts: readonly unknown[] =
    isObject(content) && Array.isArray(content.parts) ? content.parts : []
  const texts = parts.map(part => (isObject(part) ? part.text : undefined))
  if (texts.length > 0 && texts.every(text => typeof text === 'string')) return texts.join('\n')
  throw new RouterError('bad_request', '"content" must have "parts", and each part a "text"')
}

/** Vertex AI takes one number for all instances. */
function commonDimensions(requests: readonly JsonObject[]): unknown {
  const [first] = requests.map(request => request.outputDimensionality)
  if (requests.every(request => request.outputDimensionality === first)) return first
  throw new RouterError(
    'bad_request',
    'All requests of a batch must have the same "outputDimensionality"',
  )
}

function embeddingsOf(
  predictions: readonly JsonObject[],
  { isBatch }: { readonly isBatch: boolean },
): JsonObject | null {
  const embeddings = predictions.map(({ embeddings: one }) => {
    const values = isObject(one) ? one.values : null
    return Array.isArray(values) ? { values } : null
  })
  if (embeddings.length === 0 || embeddings.includes(null)) return null
  return isBatch ? { embeddings } : { embedding: embeddings[0] }
}
