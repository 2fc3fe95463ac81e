import { type Answer, type Call, eventAnswer, eventText, jsonAnswer } from './call.ts'
import { elementsOf, isObject, type JsonObject } from './json.ts'
import {
  contentText,
  type OfferedTool,
  planReply,
  type Reply,
  replyText,
  streamPieces,
} from './reply.ts'
import type { World } from './world.ts'

/** A request in one of OpenAI's dialects, told apart from its envelope. */
export interface OpenaiRequest {
  readonly call: Call
  readonly body: JsonObject
  readonly model: string
  /** A 400 in the dialect of the API that asks. */
  readonly refuse: (message: string) => Answer
}

/** Token counts as Chat Completions and Completions spell them. */
export function usageOf(reply: Reply): JsonObject {
  return {
    prompt_tokens: reply.inputTokens,
    completion_tokens: reply.outputTokens,
    total_tokens: reply.inputTokens + reply.outputTokens,
  }
}

/** Answers Chat Completions, streamed when the request says so. */
export function answerChat(world: World, request: OpenaiRequest): Answer {
  const { call, body, model, refuse } = request
  const messages = elementsOf(body.messages)
  if (messages.length === 0) return refuse("Missing required parameter: 'messages'")
  if (!messages.every(message => isObject(message) && typeof message.role === 'string'))
    return refuse("Invalid value for 'messages': each needs a role")
  if (body.stream_options !== undefined && body.stream !== true)
    return refuse("The 'stream_options' parameter is only allowed when 'stream' is enabled")
  const last = messages.findLast(message => isObject(message) && message.role !== 'assistant')
  const reply = planReply({
    model,
    prompt: isObject(last) ? contentText(last.content) : '',
    tools: offeredTools(body),
    bodyBytes: call.body.byteLength,
  })
  if ('problem' in reply) return refuse(reply.problem)
  const base = {
    id: `chatcmpl-${world.newId()}`,
    created: Math.floor(world.clock.nowMs() / 1_000),
    model,
  }
  if (body.stream === true) return eventAnswer(chatEvents(world, request, { base, reply }))
  return jsonAnswer(200, {
    ...base,
    object: 'chat.completion',
    choices: [
      { index: 0, message: messageOf(world, reply), logprobs: null, finish_reason: finish(reply) },
    ],
    usage: usageOf(reply),
  })
}

/** Whether a stream shall end with a chunk that carries the usage. */
export function wantsUsage(body: JsonObject): boolean {
  const options = body.stream_options
  return isObject(options) && options.include_usage === true
}

function offeredTools(body: JsonObject): readonly OfferedTool[] {
  return elementsOf(body.tools)
    .map(tool => (isObject(tool) ? tool.function : null))
    .filter(isObject)
    .map(offered => ({ name: String(offered.name), schema: offered.parameters }))
}

function finish(reply: Reply): string {
  return reply.tool === null ? 'stop' : 'tool_calls'
}

function messageOf(world: World, reply: Reply): JsonObject {
  if (reply.tool === null) return { role: 'assistant', content: replyText(reply), refusal: null }
  return { role: 'assistant', content: null, refusal: null, tool_calls: [toolCall(world, reply)] }
}

function toolCall(world: World, { tool }: Reply): JsonObject {
  const name = tool?.name ?? ''
  const called = { name, arguments: JSON.stringify(tool?.input ?? {}) }
  return { id: `call_${world.newId()}`, type: 'function', function: called }
}

async function* chatEvents(
  world: World,
  { call, body }: OpenaiRequest,
  { base, reply }: { readonly base: JsonObject; readonly reply: Reply },
): AsyncGenerator<string> {
  const hasUsage = wantsUsage(body)
  const chunk = (choices: readonly JsonObject[], usage: JsonObject | null) => {
    const fields = { ...base, object: 'chat.completion.chunk', choices }
    return eventText('', hasUsage ? { ...fields, usage } : fields)
  }
  const step = (delta: JsonObject, reason: string | null = null) =>
    chunk([{ index: 0, delta, logprobs: null, finish_reason: reason }], null)

  yield step({ role: 'assistant', content: reply.tool === null ? '' : null })
  if (reply.tool !== null) yield step({ tool_calls: [{ index: 0, ...toolCall(world, reply) }] })
  for await (const content of streamPieces(reply, world.clock, call.signal)) yield step({ content })
  yield step({}, finish(reply))
  if (hasUsage) yield chunk([], usageOf(reply))
  yield 'data: [DONE]\n\n'
}
