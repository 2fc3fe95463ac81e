import type { Protocol } from '../core/route.ts'
import { type Dialect, RouterError } from './errors.ts'
import type { AgentRequest } from './exchange.ts'

/** What an agent's request line means. */
export interface Match {
  readonly protocol: Protocol
  /** What follows the path of a list of models, as sent: '' or `/…`. Empty for every other protocol. */
  readonly suffix: string
  /** As sent, without the question mark. */
  readonly query: string
}

type RequestLine = Pick<AgentRequest, 'method' | 'target' | 'headers'>

const POSTS: ReadonlyMap<string, Protocol> = new Map([
  ['/v1/messages', 'anthropic_messages'],
  ['/v1/messages/count_tokens', 'anthropic_count_tokens'],
  ['/v1/chat/completions', 'openai_chat_completions'],
  ['/v1/completions', 'openai_completions'],
  ['/v1/responses', 'openai_responses'],
  ['/v1/responses/compact', 'openai_responses_compact'],
  ['/v1/embeddings', 'openai_embeddings'],
  ['/ml/v1/text/chat', 'watsonx_chat'],
  ['/ml/v1/text/chat_stream', 'watsonx_chat_stream'],
  ['/ml/v1/text/embeddings', 'watsonx_embeddings'],
])

const MODELS_PATH = '/v1/models'

/** What follows `/model/ID/` in Bedrock's own paths; the id is whatever the agent's SDK was told. */
const BEDROCK_POSTS: ReadonlyMap<string, Protocol> = new Map([
  ['invoke', 'aws_bedrock_invoke'],
  ['invoke-with-response-stream', 'aws_bedrock_invoke_stream'],
  ['converse', 'aws_bedrock_converse'],
  ['converse-stream', 'aws_bedrock_converse_stream'],
])

/** What follows `/models/ID:` in Gemini's paths. */
const GEMINI_VERBS: ReadonlyMap<string, Protocol> = new Map([
  ['generateContent', 'gemini_generate_content'],
  ['streamGenerateContent', 'gemini_stream_generate_content'],
  ['countTokens', 'gemini_count_tokens'],
  ['embedContent', 'gemini_embed_content'],
  ['batchEmbedContents', 'gemini_batch_embed_contents'],
  // Only Vertex AI has it, for embeddings; its SDKs send what they send to Vertex.
  ['predict', 'gemini_predict'],
])

/**
 * Vertex AI's own paths. Project, location and model are whatever the agent's SDK was told; of
 * percent-encodings only those of `@` and `:` are known, so no segment can hide a slash or a step.
 */
const PLACE = String.raw`projects/\w(?:[\w.~@:-]|%40|%3A)*/locations/\w[\w-]*`
const MODEL = String.raw`\w(?:[\w.~@-]|%40)*`
const CLAUDE_PATH = new RegExp(
  `^(?:/v1)?/${PLACE}/publishers/anthropic/models/(${MODEL}:(?:r|streamR)awPredict)$`,
)

/** Gemini, as its own API has it and as Vertex AI has it, with or without a project. */
const GEMINI_PATH = new RegExp(
  `^/v1(?:alpha|beta1?)?/(?:(?:${PLACE}/)?publishers/google/)?models/${MODEL}:(\\w+)$`,
)
const GEMINI_MODELS_PATH = '/v1beta/models'

/** Only Google's SDKs send these. */
const GOOGLE_HEADERS: readonly string[] = ['x-goog-api-key', 'x-goog-api-client']

/**
 * Reads a request line. Paths match byte by byte: nothing is normalised first, so nothing that
 * another server might normalise differently gets through.
 *
 * @throws RouterError `not_found`, `method_not_allowed`.
 */
export function matchRequest({ method, target, headers }: RequestLine): Match {
  const mark = target.indexOf('?')
  const path = mark === -1 ? target : target.slice(0, mark)
  const query = mark === -1 ? '' : target.slice(mark + 1)
  const protocol = POSTS.get(path) ?? vendorProtocol(path)
  if (protocol !== undefined) {
    demandMethod('POST', method, path)
    return { protocol, suffix: '', query }
  }
  const list = [GEMINI_MODELS_PATH, MODELS_PATH].find(one => path.startsWith(one)) ?? null
  const suffix = list === null ? '' : path.slice(list.length)
  if (list === null || !isModelSuffix(suffix)) throw notFound(path)
  demandMethod('GET', method, path)
  const isGemini = list === GEMINI_MODELS_PATH || hasHeader(headers, GOOGLE_HEADERS)
  return { protocol: isGemini ? 'gemini_model_discovery' : 'model_discovery', suffix, query }
}

/** Whose error format the sender of a request reads: by its path, else by its headers. */
export function dialectOf({ target, headers }: RequestLine): Dialect {
  const path = target.split('?', 1)[0] ?? ''
  if (path.startsWith('/ml/')) return 'watsonx'
  const protocol = POSTS.get(path)
  if (protocol === 'openai_responses') return 'openai_responses'
  if (protocol !== undefined) return protocol.startsWith('anthropic') ? 'anthropic' : 'openai'
  const vendors = vendorProtocol(path)
  if (vendors?.startsWith('aws') === true) return 'aws'
  if (vendors?.startsWith('vertex') === true) return 'anthropic'
  if (vendors !== undefined || /^\/v1(alpha|beta1?)\//.test(path)) return 'google'
  if (hasHeader(headers, ['anthropic-version'])) return 'anthropic'
  return hasHeader(headers, GOOGLE_HEADERS) ? 'google' : 'openai'
}

function hasHeader(headers: readonly string[], names: readonly string[]): boolean {
  for (let at = 0; at < headers.length; at += 2) {
    if (names.includes((headers[at] ?? '').toLowerCase())) return true
  }
  return false
}

/** The protocol of a path that only one vendor has. */
function vendorProtocol(path: string): Protocol | undefined {
  const verb = /^\/model\/[\w.~:%-]+\/([a-z-]+)$/.exec(path)?.[1]
  if (verb !== undefined) return BEDROCK_POSTS.get(verb)
  return GEMINI_VERBS.get(GEMINI_PATH.exec(path)?.[1] ?? '') ?? claudeProtocol(path)
}

/** Counting is a model's name in these paths, and has no stream. */
function claudeProtocol(path: string): Protocol | undefined {
  const target = CLAUDE_PATH.exec(path)?.[1]
  if (target === undefined || target === 'count-tokens:streamRawPredict') return undefined
  if (target === 'count-tokens:rawPredict') return 'vertex_count_tokens'
  return target.endsWith(':rawPredict') ? 'vertex_raw_predict' : 'vertex_stream_raw_predict'
}

/** '' or `/ID`, where an id may hold slashes, plain or encoded, but no step out of its place. */
function isModelSuffix(suffix: string): boolean {
  if (suffix === '') return true
  if (!/^\/[\w.~@:%/-]+$/.test(suffix) || /%(?![0-9A-Fa-f]{2})/.test(suffix)) return false
  const plain = suffix.replace(/%([0-9A-Fa-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  )
  return plain
    .slice(1)
    .split('/')
    .every(segment => /^[\w.~@:-]+$/.test(segment) && !/^\.+$/.test(segment))
}

function demandMethod(expected: string, method: string, path: string): void {
  if (method === expected) return
  throw new RouterError('method_not_allowed', `${path} takes ${expected} only`, { allow: expected })
}

function notFound(path: string): RouterError {
  if (path.startsWith('/v1/responses/')) {
    return new RouterError(
      'not_found',
      'inference.local serves no stored responses: read an answer as it comes. A new one may name an earlier one in "previous_response_id"',
    )
  }
  const bedrock = [...BEDROCK_POSTS.keys()].map(verb => `/model/ID/${verb}`)
  const vertex = ['rawPredict', 'streamRawPredict'].map(
    verb => `/projects/ID/locations/ID/publishers/anthropic/models/ID:${verb}`,
  )
  const gemini = [...GEMINI_VERBS.keys()].map(verb => `/v1beta/models/ID:${verb}`)
  const lists = [MODELS_PATH, GEMINI_MODELS_PATH]
  const paths = [...POSTS.keys(), ...lists, ...bedrock, ...vertex, ...gemini].join(', ')
  return new RouterError('not_found', `inference.local serves ${paths} and nothing else`)
}
