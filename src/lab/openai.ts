import { type Answer, type Call, jsonAnswer, type Vendor } from './call.ts'
import { answerChat, type OpenaiRequest } from './chat.ts'
import { answerCompletions } from './completions.ts'
import { answerEmbeddings } from './embeddings.ts'
import type { JsonObject } from './json.ts'
import { answerCompact, answerResponses } from './responses.ts'
import { bearerOf, leakIn, readJsonBody } from './strict.ts'
import type { World } from './world.ts'

const BODY_BYTES_MAX = 33_554_432
const MODELS = ['gpt-5.5', 'gpt-4o', 'text-embedding-3-small']
const MODEL_CREATED_AT_SECONDS = 1_767_225_600

/** OpenAI's API, with a static key as bearer or a token of its workload identity federation. */
export function createOpenai(world: World): Vendor {
  return openaiVendor(world, {
    name: 'openai',
    prefix: '/openai/v1/',
    isKnown: (bearer, nowMs) =>
      bearer === world.openaiKey.reveal() ||
      world.tokens.judge(bearer, 'openai', nowMs) === 'valid',
  })
}

/** An OpenAI-compatible API of somebody else's, behind the lab's authorization server. */
export function createOauthOpenai(world: World): Vendor {
  return openaiVendor(world, {
    name: 'oauth2.openai',
    prefix: '/oauth2/openai/v1/',
    isKnown: (bearer, nowMs) => world.tokens.judge(bearer, 'oauth2', nowMs) === 'valid',
  })
}

/** What tells one OpenAI-compatible API from another. */
interface OpenaiOffering {
  readonly name: string
  readonly prefix: string
  readonly isKnown: (bearer: string, nowMs: number) => boolean
}

function openaiVendor(world: World, { name, prefix, isKnown }: OpenaiOffering): Vendor {
  const operations: ReadonlyMap<string, (request: OpenaiRequest) => Answer> = new Map([
    ['chat/completions', (request: OpenaiRequest) => answerChat(world, request)],
    ['completions', (request: OpenaiRequest) => answerCompletions(world, request)],
    ['responses', (request: OpenaiRequest) => answerResponses(world, request)],
    ['responses/compact', (request: OpenaiRequest) => answerCompact(world, request)],
    ['embeddings', answerEmbeddings],
  ])
  return {
    name,
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path.startsWith(prefix),
    refuse: openaiError,
    answer(call) {
      const leak = leakIn(call.headers, ['authorization'])
      if (leak !== null) return openaiError(400, leak)
      if (!isKnown(bearerOf(call.headers) ?? '', call.nowMs))
        return openaiError(401, 'Incorrect API key provided.', 'invalid_api_key')
      const operation = call.path.slice(prefix.length)
      const answer = operations.get(operation)
      if (call.method === 'POST' && answer !== undefined) return answerPost(call, answer)
      if (call.method === 'GET') return answerModels(operation)
      return openaiError(404, `Invalid URL (${call.method} ${call.path})`)
    },
  }
}

function answerPost(call: Call, answer: (request: OpenaiRequest) => Answer): Answer {
  const refuse = (message: string) => openaiError(400, message)
  const body = readJsonBody(call)
  if (typeof body === 'string') return refuse(body)
  const model = body.model
  if (typeof model !== 'string' || model === '') return refuse('you must provide a model parameter')
  if (body.stream !== undefined && typeof body.stream !== 'boolean')
    return refuse("Invalid type for 'stream': expected a boolean")
  return answer({ call, body, model, refuse })
}

function answerModels(operation: string): Answer {
  if (operation === 'models')
    return jsonAnswer(200, { object: 'list', data: MODELS.map(modelObject) })
  const id = /^models\/([^/]+)$/.exec(operation)?.[1]
  if (id !== undefined && MODELS.includes(id)) return jsonAnswer(200, modelObject(id))
  return openaiError(404, `Not found: ${operation}`, 'model_not_found')
}

function modelObject(id: string): JsonObject {
  return { id, object: 'model', created: MODEL_CREATED_AT_SECONDS, owned_by: 'lab' }
}

function openaiError(status: number, message: string, code: string | null = null): Answer {
  const error = { message, type: errorType(status), param: null, code }
  return jsonAnswer(status, { error })
}

function errorType(status: number): string {
  if (status === 429) return 'rate_limit_exceeded'
  return status >= 500 ? 'server_error' : 'invalid_request_error'
}
