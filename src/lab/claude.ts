import type { Clock } from '../system/clock.ts'
import { type Answer, type Call, eventAnswer, eventText, jsonAnswer } from './call.ts'
import type { Header } from './header.ts'
import { elementsOf, isObject, type JsonObject } from './json.ts'
import {
  contentText,
  type OfferedTool,
  planReply,
  type Reply,
  replyText,
  streamPieces,
  tokenCount,
} from './reply.ts'

/** Fields of a Messages request that every offering of Claude takes. */
const MESSAGE_FIELDS: ReadonlySet<string> = new Set([
  'cache_control',
  'max_tokens',
  'messages',
  'metadata',
  'output_config',
  'service_tier',
  'stop_sequences',
  'stream',
  'system',
  'temperature',
  'thinking',
  'tool_choice',
  'tools',
  'top_k',
  'top_p',
])

/** Fields of a count_tokens request that every offering takes. */
const COUNT_FIELDS: ReadonlySet<string> = new Set([
  'cache_control',
  'messages',
  'model',
  'output_config',
  'system',
  'thinking',
  'tool_choice',
  'tools',
])

/** Fields that exist only together with a beta of the `anthropic-beta` header. */
const BETA_FIELDS: ReadonlyMap<string, readonly string[]> = new Map([
  ['container', ['code-execution-']],
  ['context_management', ['context-management-', 'compact-']],
  ['mcp_servers', ['mcp-client-']],
  ['output_format', ['structured-outputs-']],
  ['speed', ['fast-mode-']],
])

/** The beta that knows a `scope` where something is marked to be cached. */
const CACHE_SCOPE_BETA = 'prompt-caching-scope-'

/** API version `2026-10-21` took the sampling parameters away. */
const SAMPLING_FIELDS = ['temperature', 'top_p', 'top_k']

const ERROR_TYPES: ReadonlyMap<number, string> = new Map([
  [400, 'invalid_request_error'],
  [401, 'authentication_error'],
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [413, 'request_too_large'],
  [429, 'rate_limit_error'],
  [529, 'overloaded_error'],
])

/** How one offering of Claude differs from another. */
export interface ClaudeOffering {
  /** What its ids begin with after `req_` and `msg_`; '' for Anthropic's own API. */
  readonly mark: string
  readonly clock: Clock
  /** A fresh random id. */
  readonly newId: () => string
}

/** A request that was told apart from its envelope. */
export interface ClaudeRequest {
  readonly call: Call
  readonly body: JsonObject
  readonly model: string
  /** As sent by header or in the body. */
  readonly apiVersion: string
  /** Values of the `anthropic-beta` header. */
  readonly betas: readonly string[]
  /** Body fields that belong to the offering's envelope. */
  readonly envelope: readonly string[]
}

/** An error in Anthropic's dialect. */
export function claudeError(offering: ClaudeOffering, status: number, message: string): Answer {
  const requestId = `req_${offering.mark}${offering.newId()}`
  const type = ERROR_TYPES.get(status) ?? 'api_error'
  const body = { type: 'error', error: { type, message }, request_id: requestId }
  return jsonAnswer(status, body, [['request-id', requestId]])
}

/** The values of the `anthropic-beta` headers of a call. */
export function betasOf(headers: readonly Header[]): readonly string[] {
  return headers
    .filter(([name]) => name === 'anthropic-beta')
    .flatMap(([, value]) => value.split(','))
    .map(value => value.trim())
    .filter(value => value !== '')
}

/** Answers a Messages request, streamed when it says so. */
export function answerMessages(offering: ClaudeOffering, request: ClaudeRequest): Answer {
  const { body, model, call } = request
  const problem = messagesProblem(request)
  if (problem !== null) return claudeError(offering, 400, problem)
  const reply = planReply({
    model,
    prompt: lastText(body.messages),
    tools: offeredTools(body),
    bodyBytes: call.body.byteLength,
  })
  if ('problem' in reply) return claudeError(offering, 400, reply.problem)
  const requestId: Header = ['request-id', `req_${offering.mark}${offering.newId()}`]
  const message = messageOf(offering, model, reply)
  if (body.stream !== true) return jsonAnswer(200, message, [requestId])
  return eventAnswer(messageEvents(message, reply, offering.clock, call.signal), [requestId])
}

/** Answers a count_tokens request. */
export function answerCount(offering: ClaudeOffering, request: ClaudeRequest): Answer {
  const { body, call } = request
  const problem = fieldProblem(request, COUNT_FIELDS) ?? listProblem(body.messages)
  if (problem !== null) return claudeError(offering, 400, problem)
  return jsonAnswer(200, { input_tokens: tokenCount(call.body.byteLength) }, [
    ['request-id', `req_${offering.mark}${offering.newId()}`],
  ])
}

function messagesProblem(request: ClaudeRequest): string | null {
  const { body } = request
  const maxTokens = body.max_tokens
  const problem = fieldProblem(request, MESSAGE_FIELDS)
  if (problem !== null) return problem
  if (maxTokens === undefined) return 'max_tokens: Field required'
  if (!Number.isInteger(maxTokens) || Number(maxTokens) < 1)
    return 'max_tokens: Input should be greater than or equal to 1'
  if (body.stream !== undefined && typeof body.stream !== 'boolean')
    return 'stream: Input should be a valid boolean'
  return listProblem(body.messages) ?? versionProblem(request)
}

function fieldProblem(request: ClaudeRequest, fields: ReadonlySet<string>): string | null {
  const { body, envelope, betas } = request
  for (const name of Object.keys(body)) {
    const isUnlocked = (BETA_FIELDS.get(name) ?? []).some(beta => hasBeta(betas, beta))
    if (!fields.has(name) && !envelope.includes(name) && !isUnlocked)
      return `${name}: Extra inputs are not permitted`
  }
  return hasBeta(betas, CACHE_SCOPE_BETA) ? null : scopeProblem(body)
}

function hasBeta(betas: readonly string[], beginning: string): boolean {
  return betas.some(value => value.startsWith(beginning))
}

/** Where a mark says for whom to cache, which only a beta knows. */
function scopeProblem(body: JsonObject): string | null {
  const lists: readonly (readonly [string, readonly unknown[]])[] = [
    ['system', elementsOf(body.system)],
    ['tools', elementsOf(body.tools)],
    ...elementsOf(body.messages)
      .filter(isObject)
      .map(({ content }, at) => [`messages.${at}.content`, elementsOf(content)] as const),
  ]
  if (hasScope(body)) return 'cache_control.ephemeral.scope: Extra inputs are not permitted'
  for (const [where, list] of lists) {
    const at = list.findIndex(hasScope)
    if (at >= 0)
      return `${where}.${at}.cache_control.ephemeral.scope: Extra inputs are not permitted`
  }
  return null
}

function hasScope(one: unknown): boolean {
  return isObject(one) && isObject(one.cache_control) && one.cache_control.scope !== undefined
}

function listProblem(messages: unknown): string | null {
  if (messages === undefined) return 'messages: Field required'
  if (!Array.isArray(messages)) return 'messages: Input should be a valid list'
  if (messages.length === 0) return 'messages: at least one message is required'
  const index = messages.findIndex(message => !isMessage(message))
  return index < 0 ? null : `messages.${index}: Input should have a role and content`
}

function isMessage(message: unknown): boolean {
  if (!isObject(message)) return false
  const { role, content } = message
  return (
    (role === 'user' || role === 'assistant' || role === 'system') &&
    (typeof content === 'string' || Array.isArray(content))
  )
}

/** What API version `2026-10-21` no longer takes. */
function versionProblem({ body, apiVersion }: ClaudeRequest): string | null {
  if (apiVersion !== '2026-10-21') return null
  const sampling = SAMPLING_FIELDS.find(name => body[name] !== undefined)
  if (sampling !== undefined) return `${sampling}: Not supported in API version 2026-10-21`
  for (const message of elementsOf(body.messages)) {
    if (!isObject(message)) continue
    for (const block of elementsOf(message.content).filter(isObject)) {
      if (message.role === 'assistant' && block.type === 'document')
        return 'messages: document blocks are not allowed in assistant messages'
      if (message.role === 'user' && elementsOf(block.citations).length > 0)
        return 'messages: citations are not allowed on user text blocks'
    }
  }
  return null
}

/** What the user said last; agents put messages of their own behind it. */
function lastText(messages: unknown): string {
  const last = elementsOf(messages).findLast(one => isObject(one) && one.role === 'user')
  return isObject(last) ? contentText(last.content) : ''
}

function offeredTools(body: JsonObject): readonly OfferedTool[] {
  return elementsOf(body.tools)
    .filter(isObject)
    .map(tool => ({ name: String(tool.name), schema: tool.input_schema }))
}

/** A finished message, as the unstreamed answer has it. */
interface Message {
  readonly id: string
  readonly type: 'message'
  readonly role: 'assistant'
  readonly model: string
  readonly content: readonly JsonObject[]
  readonly stop_reason: string
  readonly stop_sequence: null
  readonly usage: JsonObject
}

function messageOf(offering: ClaudeOffering, model: string, reply: Reply): Message {
  const { tool } = reply
  const block =
    tool === null
      ? { type: 'text', text: replyText(reply) }
      : { type: 'tool_use', id: `toolu_${offering.mark}${offering.newId()}`, ...tool }
  return {
    id: `msg_${offering.mark}${offering.newId()}`,
    type: 'message',
    role: 'assistant',
    model,
    content: [block],
    stop_reason: tool === null ? 'end_turn' : 'tool_use',
    stop_sequence: null,
    usage: {
      input_tokens: reply.inputTokens,
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      output_tokens: reply.outputTokens,
    },
  }
}

async function* messageEvents(
  message: Message,
  reply: Reply,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const event = (type: string, fields: JsonObject) => eventText(type, { type, ...fields })
  const usage = { ...message.usage, output_tokens: 1 }
  const [block = {}] = message.content
  const { tool } = reply
  yield event('message_start', {
    message: { ...message, content: [], stop_reason: null, usage },
  })
  yield event('content_block_start', {
    index: 0,
    content_block: tool === null ? { ...block, text: '' } : { ...block, input: {} },
  })
  yield event('ping', {})
  if (tool !== null) {
    const delta = { type: 'input_json_delta', partial_json: JSON.stringify(tool.input) }
    yield event('content_block_delta', { index: 0, delta })
  }
  for await (const text of streamPieces(reply, clock, signal))
    yield event('content_block_delta', { index: 0, delta: { type: 'text_delta', text } })
  yield event('content_block_stop', { index: 0 })
  yield event('message_delta', {
    delta: { stop_reason: message.stop_reason, stop_sequence: null },
    usage: { output_tokens: reply.outputTokens },
  })
  yield event('message_stop', {})
}
