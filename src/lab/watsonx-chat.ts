import { elementsOf, isObject, type JsonObject } from './json.ts'
import { contentText, type OfferedTool } from './reply.ts'

/** What `text/chat` takes; anything else is refused, OpenAI's `model` and `stream` included. */
const MEMBERS = [
  ...[
    'model_id',
    'project_id',
    'space_id',
    'messages',
    'tools',
    'tool_choice',
    'tool_choice_option',
  ],
  ...['context', 'frequency_penalty', 'logit_bias', 'logprobs', 'top_logprobs', 'max_tokens'],
  ...['max_completion_tokens', 'n', 'presence_penalty', 'response_format', 'seed', 'stop'],
  ...['temperature', 'top_p', 'time_limit', 'reasoning_effort', 'include_reasoning'],
  ...['chat_template_kwargs', 'repetition_penalty', 'length_penalty', 'guided_json'],
]
const ROLES: readonly unknown[] = ['system', 'user', 'assistant', 'tool']
const TOOL_CHOICES: readonly unknown[] = ['none', 'auto', 'required']

/** What is wrong with a chat request, in one sentence; null when nothing is. */
export function chatProblem(body: JsonObject): string | null {
  const unknown = Object.keys(body).find(name => !MEMBERS.includes(name))
  if (unknown !== undefined) return `Json document validation error: unknown member ${unknown}`
  const messages = elementsOf(body.messages)
  if (messages.length === 0) return 'messages should not be empty'
  if (!messages.every(message => isObject(message) && ROLES.includes(message.role)))
    return `The role of a message must be one of ${ROLES.join(', ')}`
  if (body.tool_choice !== undefined && !isObject(body.tool_choice))
    return 'tool_choice must be an object; for a text there is tool_choice_option'
  if (body.tool_choice_option !== undefined && !TOOL_CHOICES.includes(body.tool_choice_option))
    return `tool_choice_option must be one of ${TOOL_CHOICES.join(', ')}`
  if (body.tool_choice !== undefined && body.tool_choice_option !== undefined)
    return 'tool_choice and tool_choice_option exclude one another'
  for (const offered of functionsOf(body)) {
    if (offered.strict !== undefined) return 'A function takes no strict'
    if (hasKeyword(offered.parameters)) return 'Schemas take no additionalProperties'
  }
  return null
}

/** What a reply to a sound chat request is planned from. */
export function chatRequest(body: JsonObject): {
  readonly prompt: string
  readonly tools: readonly OfferedTool[]
} {
  const last = elementsOf(body.messages).findLast(
    message => isObject(message) && message.role !== 'assistant',
  )
  const tools = functionsOf(body).map(({ name, parameters }) => ({
    name: String(name),
    schema: parameters,
  }))
  return { prompt: isObject(last) ? contentText(last.content) : '', tools }
}

function functionsOf(body: JsonObject): readonly JsonObject[] {
  return elementsOf(body.tools)
    .map(tool => (isObject(tool) ? tool.function : null))
    .filter(isObject)
}

/** Whether `additionalProperties` stands anywhere as a keyword, and not as a property's name. */
function hasKeyword(schema: unknown): boolean {
  if (Array.isArray(schema)) return schema.some(hasKeyword)
  if (!isObject(schema)) return false
  return Object.entries(schema).some(([name, value]) => {
    if (name === 'additionalProperties') return true
    const isNames = name === 'properties' && isObject(value)
    return isNames ? Object.values(value).some(hasKeyword) : hasKeyword(value)
  })
}
