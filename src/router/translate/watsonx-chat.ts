import { RouterError } from '../errors.ts'
import { UpstreamError } from '../exchange.ts'
import { errorBody, translateAnswer } from './answer.ts'
import { type EventTranslation, eventText, type ServerSentEvent } from './event-stream.ts'
import { isObject, type JsonObject, objectsIn, parseAnswer, without } from './json.ts'
import { withoutStrictness } from './tool-schema.ts'
import type { TranslationContext, Translator } from './translator.ts'
import { readIbmError } from './watsonx-error.ts'

/** The sentence that ends OpenAI's streams. */
const DONE = 'data: [DONE]\n\n'

/** Members that the route says itself; an agent must not choose whose project pays. */
const ADDRESS = ['model', 'model_id', 'project_id', 'space_id', 'deployment_id']

/** What OpenAI takes about the call, not about the answer; watsonx refuses members it does not know. */
const ABOUT_THE_CALL = [
  ...['stream', 'stream_options', 'user', 'safety_identifier', 'prompt_cache_key', 'store'],
  ...['metadata', 'service_tier', 'parallel_tool_calls', 'tool_choice', 'tools', 'messages'],
]

/** Finish reasons of watsonx that OpenAI's clients do not know. */
const FINISH_REASONS: ReadonlyMap<unknown, string> = new Map([['time_limit', 'length']])

/** OpenAI Chat Completions on watsonx.ai's `text/chat` and `text/chat_stream`. */
export const watsonxChat: Translator = (body, context) => {
  const isStream = body.stream === true
  const options = isObject(body.stream_options) ? body.stream_options : {}
  const wantsUsage = options.include_usage === true
  return {
    isStream,
    body: requestBody(body, context),
    answer: answer =>
      translateAnswer(answer, {
        readError: readIbmError,
        whole: whole => completion(whole, context),
        events: isStream ? () => chunks(context, { wantsUsage }) : null,
      }),
  }
}

function requestBody(body: JsonObject, { options }: TranslationContext): JsonObject {
  if (!Array.isArray(body.messages)) {
    throw new RouterError('bad_request', 'The request body has no array "messages"')
  }
  if (body.functions !== undefined || body.function_call !== undefined) {
    throw new RouterError('bad_request', 'Functions are not served here. Use "tools" instead')
  }
  return {
    ...without(body, [...ADDRESS, ...ABOUT_THE_CALL]),
    messages: body.messages.map(message),
    ...(Array.isArray(body.tools) && body.tools.length > 0 ? { tools: body.tools.map(tool) } : {}),
    ...toolChoice(body.tool_choice),
    ...Object.fromEntries(options),
  }
}

/** A message as an agent may send it, or as it got it and sends it back. */
function message(value: unknown): unknown {
  if (!isObject(value)) return value
  const unsent = ['refusal', 'audio', 'annotations'].filter(name => value[name] === null)
  const bare = without(value, unsent)
  return value.role === 'developer' ? { ...bare, role: 'system' } : bare
}

function tool(value: unknown): unknown {
  if (!isObject(value) || !isObject(value.function)) return value
  const { parameters } = value.function
  return {
    ...value,
    function: {
      ...without(value.function, ['strict']),
      ...(parameters === undefined ? {} : { parameters: withoutStrictness(parameters) }),
    },
  }
}

function toolChoice(choice: unknown): JsonObject {
  if (choice === undefined || choice === null) return {}
  return typeof choice === 'string' ? { tool_choice_option: choice } : { tool_choice: choice }
}

function completion(body: JsonObject, context: TranslationContext): JsonObject | null {
  if (!Array.isArray(body.choices)) return null
  return {
    ...head(body, context),
    object: 'chat.completion',
    choices: objectsIn(body.choices).map((choice, index) => ({
      index: choice.index ?? index,
      message: { refusal: null, ...answered(choice.message) },
      logprobs: choice.logprobs ?? null,
      finish_reason: finishReason(choice.finish_reason),
    })),
    ...(isObject(body.usage) ? { usage: usage(body.usage) } : {}),
  }
}

function answered(value: unknown): JsonObject {
  const said = isObject(value) ? value : {}
  const calls = objectsIn(said.tool_calls).map(call => ({
    ...without(call, ['index']),
    type: 'function',
    function: called(call.function),
  }))
  return {
    role: 'assistant',
    content: null,
    ...without(said, ['tool_calls']),
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
  }
}

/** OpenAI's arguments are JSON text. */
function called(value: unknown): JsonObject {
  const { name, arguments: input } = isObject(value) ? value : {}
  return { name, arguments: typeof input === 'string' ? input : JSON.stringify(input ?? {}) }
}

function head(body: JsonObject, context: TranslationContext): JsonObject {
  return { id: body.id ?? '', created: body.created ?? 0, model: context.modelId }
}

function usage(value: JsonObject): JsonObject {
  const { prompt_tokens: prompt = 0, completion_tokens: completed = 0 } = value
  const sum = Number(prompt) + Number(completed)
  return { prompt_tokens: prompt, completion_tokens: completed, total_tokens: sum, ...value }
}

function finishReason(reason: unknown): unknown {
  return FINISH_REASONS.get(reason) ?? reason ?? null
}

/** The translation of one stream. */
function chunks(
  context: TranslationContext,
  { wantsUsage }: { readonly wantsUsage: boolean },
): EventTranslation {
  const seenCalls = new Set<string>()
  let last: JsonObject = {}
  let used: JsonObject | null = null
  let isFinished = false
  const chunk = (choices: readonly JsonObject[], rest: JsonObject = {}): string =>
    eventText({ ...last, object: 'chat.completion.chunk', choices, ...rest })
  return {
    event({ name, data }: ServerSentEvent): string {
      const body = parseAnswer(data)
      if (body === null) throw new UpstreamError('broken', 'An event of the stream is no JSON')
      const error = readIbmError(body)
      if (error !== null || name === 'error') {
        isFinished = true
        const said = error ?? { code: '', message: "The provider's API broke the stream off" }
        return eventText(errorBody(said, statusOf(body)))
      }
      if (isObject(body.usage)) used = usage(body.usage)
      const choices = objectsIn(body.choices)
      if (choices.length === 0) return ''
      last = head(body, context)
      isFinished ||= choices.some(({ finish_reason: reason }) => finishReason(reason) !== null)
      const steps = choices.map((choice, index) => step(choice, { index, seenCalls }))
      return chunk(steps, wantsUsage ? { usage: null } : {})
    },
    end() {
      // A connection that closes early can look like an end.
      if (!isFinished) throw new UpstreamError('broken', 'The stream ended before its answer did')
      return (wantsUsage && used !== null ? chunk([], { usage: used }) : '') + DONE
    },
  }
}

function step(
  choice: JsonObject,
  options: { readonly index: number; readonly seenCalls: Set<string> },
): JsonObject {
  const index = choice.index ?? options.index
  const said = isObject(choice.delta) ? choice.delta : {}
  const calls = objectsIn(said.tool_calls).map((call, at) => {
    const callIndex = call.index ?? at
    return callStep({ ...call, index: callIndex }, `${index}/${callIndex}`, options.seenCalls)
  })
  return {
    index,
    delta: {
      ...without(said, ['tool_calls']),
      ...(calls.length > 0 ? { tool_calls: calls } : {}),
    },
    logprobs: choice.logprobs ?? null,
    finish_reason: finishReason(choice.finish_reason),
  }
}

/**
 * A piece of a tool call. OpenAI says id, type and name once, with the first; readers that see an id
 * again take it for another call, and some add names up.
 */
function callStep(call: JsonObject, key: string, seenCalls: Set<string>): JsonObject {
  const said = isObject(call.function) ? call.function : {}
  const { arguments: input } = said
  const added = typeof input === 'string' ? input : input === undefined ? '' : JSON.stringify(input)
  if (seenCalls.has(key)) return { index: call.index, function: { arguments: added } }
  seenCalls.add(key)
  const { index, id } = call
  return { index, id, type: 'function', function: { name: said.name, arguments: added } }
}

function statusOf(body: JsonObject): number {
  return typeof body.status_code === 'number' ? body.status_code : 500
}
