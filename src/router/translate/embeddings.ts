import { RouterError } from '../errors.ts'
import type { JsonObject } from './json.ts'

/** What an OpenAI Embeddings request asks for. */
export interface EmbeddingsRequest {
  readonly inputs: readonly string[]
  /** Null when the model's own are wanted. */
  readonly dimensions: number | null
  readonly isBase64: boolean
}

/** Reads an OpenAI Embeddings request. @throws RouterError `bad_request`. */
export function readEmbeddingsRequest(body: JsonObject): EmbeddingsRequest {
  const { input, dimensions, encoding_format: format = 'float' } = body
  const inputs = typeof input === 'string' ? [input] : input
  if (!Array.isArray(inputs) || inputs.length === 0 || !inputs.every(one => isText(one))) {
    throw new RouterError('bad_request', '"input" must be text or an array of texts; not tokens')
  }
  if (format !== 'float' && format !== 'base64') {
    throw new RouterError('bad_request', '"encoding_format" must be "float" or "base64"')
  }
  if (dimensions !== undefined && !isCount(dimensions)) {
    throw new RouterError('bad_request', '"dimensions" must be a whole number from 1')
  }
  return { inputs, dimensions: dimensions ?? null, isBase64: format === 'base64' }
}

/** The answer in OpenAI's form; null when a vector is none. */
export function embeddingsAnswer(
  vectors: readonly unknown[],
  options: {
    readonly modelId: string
    readonly tokens: unknown
    readonly isBase64: boolean
  },
): JsonObject | null {
  if (vectors.length === 0 || !vectors.every(isVector)) return null
  const tokens = typeof options.tokens === 'number' ? options.tokens : 0
  return {
    object: 'list',
    data: vectors.map((vector, index) => ({
      object: 'embedding',
      index,
      embedding: options.isBase64 ? base64(vector) : vector,
    })),
    model: options.modelId,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  }
}

/** OpenAI's compact form: 32-bit floats, lowest byte first. */
function base64(vector: readonly number[]): string {
  const bytes = Buffer.alloc(vector.length * 4)
  for (const [at, value] of vector.entries()) bytes.writeFloatLE(value, at * 4)
  return bytes.toString('base64')
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 1
}

function isVector(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length > 0 && value.every(one => typeof one === 'number')
}
