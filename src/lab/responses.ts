import { type Answer, eventAnswer, eventText, jsonAnswer } from './call.ts'
import type { OpenaiRequest } from './chat.ts'
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
import type { World } from './world.ts'

/** Answers OpenAI's Responses, streamed when the request says so. */
export function answerResponses(world: World, request: OpenaiRequest): Answer {
  const { call, body, model, refuse } = request
  const input = body.input
  if (input === undefined) return refuse("Missing required parameter: 'input'")
  const previous = body.previous_response_id ?? null
  if (previous !== null && !isResponseId(previous))
    return refuse(`Previous response with id '${String(previous)}' not found.`)
  const reply = planReply({
    model,
    prompt: promptOf(input),
    tools: offeredTools(body),
    bodyBytes: call.body.byteLength,
  })
  if ('problem' in reply) return refuse(reply.problem)
  const response = responseOf(world, request)
  const item = itemOf(world, reply)
  if (body.stream === true)
    return eventAnswer(responseEvents(world, request, { response, item, reply }))
  return jsonAnswer(200, completed(response, item, reply))
}

/** Answers the compaction of a conversation: its last words, and one item in place of the rest. */
export function answerCompact(world: World, { call, body, refuse }: OpenaiRequest): Answer {
  if (body.input === undefined) return refuse("Missing required parameter: 'input'")
  if (body.stream !== undefined) return refuse("Unknown parameter: 'stream'.")
  const item = { type: 'message', role: 'user', content: promptOf(body.input) }
  const sealed = Buffer.from(promptOf(body.input)).toString('base64')
  return jsonAnswer(200, {
    id: `resp_${world.newId()}`,
    object: 'response.compaction',
    created_at: Math.floor(world.clock.nowMs() / 1_000),
    output: [item, { type: 'compaction', id: `cmp_${world.newId()}`, encrypted_content: sealed }],
    usage: { input_tokens: tokenCount(call.body.byteLength), output_tokens: 1 },
  })
}

/** Responses are not kept, but their ids are known by their form. */
function isResponseId(id: unknown): boolean {
  return typeof id === 'string' && /^resp_[\w-]{8,64}$/.test(id)
}

/** What the user said last, or what a tool answered since. */
function promptOf(input: unknown): string {
  if (typeof input === 'string') return input
  const last = elementsOf(input).findLast(
    item => isObject(item) && (item.role === 'user' || item.type === 'function_call_output'),
  )
  return isObject(last) ? contentText(last.content ?? last.output) : ''
}

function offeredTools(body: JsonObject): readonly OfferedTool[] {
  return elementsOf(body.tools)
    .filter(isObject)
    .filter(tool => tool.type === 'function')
    .map(tool => ({ name: String(tool.name), schema: tool.parameters }))
}

/** The response while it is being made; the fields that its schema requires repeat the request's. */
function responseOf(world: World, { body, model }: OpenaiRequest): JsonObject {
  return {
    id: `resp_${world.newId()}`,
    object: 'response',
    created_at: Math.floor(world.clock.nowMs() / 1_000),
    status: 'in_progress',
    error: null,
    incomplete_details: null,
    instructions: body.instructions ?? null,
    metadata: body.metadata ?? {},
    model,
    output: [],
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    temperature: body.temperature ?? null,
    tool_choice: body.tool_choice ?? 'auto',
    tools: body.tools ?? [],
    top_p: body.top_p ?? null,
    usage: null,
  }
}

function itemOf(world: World, reply: Reply): JsonObject {
  const status = 'completed'
  if (reply.tool === null) {
    const content = [textPart(replyText(reply))]
    return { type: 'message', id: `msg_${world.newId()}`, status, role: 'assistant', content }
  }
  return {
    type: 'function_call',
    id: `fc_${world.newId()}`,
    status,
    call_id: `call_${world.newId()}`,
    name: reply.tool.name,
    arguments: JSON.stringify(reply.tool.input),
  }
}

function textPart(text: string): JsonObject {
  return { type: 'output_text', text, annotations: [], logprobs: [] }
}

function completed(response: JsonObject, item: JsonObject, reply: Reply): JsonObject {
  const usage = {
    input_tokens: reply.inputTokens,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: reply.outputTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: reply.inputTokens + reply.outputTokens,
  }
  return { ...response, status: 'completed', output: [item], usage }
}

type Numbered = (type: string, fields: JsonObject) => string

async function* responseEvents(
  world: World,
  { call }: OpenaiRequest,
  parts: { readonly response: JsonObject; readonly item: JsonObject; readonly reply: Reply },
): AsyncGenerator<string> {
  const { response, item, reply } = parts
  let sequence = 0
  const event: Numbered = (type, fields) => {
    const text = eventText(type, { type, sequence_number: sequence, ...fields })
    sequence += 1
    return text
  }
  const at = { item_id: item.id, output_index: 0 }
  yield event('response.created', { response })
  yield event('response.in_progress', { response })
  const opened = { ...item, status: 'in_progress' }
  if (reply.tool === null) {
    yield event('response.output_item.added', { output_index: 0, item: { ...opened, content: [] } })
    const text = { ...at, content_index: 0 }
    yield event('response.content_part.added', { ...text, part: textPart('') })
    for await (const delta of streamPieces(reply, world.clock, call.signal))
      yield event('response.output_text.delta', { ...text, delta, logprobs: [] })
    const whole = replyText(reply)
    yield event('response.output_text.done', { ...text, text: whole, logprobs: [] })
    yield event('response.content_part.done', { ...text, part: textPart(whole) })
  } else {
    const called = JSON.stringify(reply.tool.input)
    yield event('response.output_item.added', {
      output_index: 0,
      item: { ...opened, arguments: '' },
    })
    yield event('response.function_call_arguments.delta', { ...at, delta: called })
    yield event('response.function_call_arguments.done', {
      ...at,
      name: reply.tool.name,
      arguments: called,
    })
  }
  yield event('response.output_item.done', { output_index: 0, item })
  yield event('response.completed', { response: completed(response, item, reply) })
}
