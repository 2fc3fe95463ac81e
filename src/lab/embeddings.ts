import { createHash } from 'node:crypto'
import { type Answer, jsonAnswer } from './call.ts'
import type { OpenaiRequest } from './chat.ts'
import { tokenCount } from './reply.ts'

const DIMENSIONS_DEFAULT = 16
const DIMENSIONS_MAX = 4_096
const INPUTS_MAX = 2_048

/** Answers OpenAI's Embeddings: vectors of unit length that depend on the input alone. */
export function answerEmbeddings({ call, body, model, refuse }: OpenaiRequest): Answer {
  const inputs = inputsOf(body.input)
  if (inputs.length === 0 || inputs.length > INPUTS_MAX)
    return refuse(`'input' must be text, tokens, or up to ${INPUTS_MAX} of them`)
  const dimensions = body.dimensions ?? DIMENSIONS_DEFAULT
  if (typeof dimensions !== 'number' || !(dimensions >= 1 && dimensions <= DIMENSIONS_MAX))
    return refuse(`'dimensions' must be from 1 to ${DIMENSIONS_MAX}`)
  const format = body.encoding_format ?? 'float'
  if (format !== 'float' && format !== 'base64')
    return refuse("'encoding_format' must be float or base64")
  const entries = inputs.map((input, index) => {
    const vector = vectorOf(input, Math.floor(dimensions))
    const embedding =
      format === 'float' ? [...vector] : Buffer.from(vector.buffer).toString('base64')
    return { object: 'embedding', index, embedding }
  })
  const tokens = tokenCount(call.body.byteLength)
  const usage = { prompt_tokens: tokens, total_tokens: tokens }
  return jsonAnswer(200, { object: 'list', data: entries, model, usage })
}

/** Text, an array of texts, an array of token numbers, or an array of such arrays. */
function inputsOf(input: unknown): readonly string[] {
  if (typeof input === 'string') return input === '' ? [] : [input]
  if (!Array.isArray(input)) return []
  const areTokens = input.every(element => typeof element === 'number')
  if (areTokens) return input.length === 0 ? [] : [JSON.stringify(input)]
  return input.map(element => (typeof element === 'string' ? element : JSON.stringify(element)))
}

/** A vector of unit length that depends on the input alone. */
export function vectorOf(input: string, dimensions: number): Float32Array {
  const raw = Array.from({ length: dimensions }, (_, index) => {
    const digest = createHash('sha256').update(`${index}:${input}`).digest()
    return digest.readInt32BE() / 2 ** 31
  })
  const length = Math.hypot(...raw)
  return Float32Array.from(raw, value => value / length)
}
