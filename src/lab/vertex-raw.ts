import type { Answer, Call } from './call.ts'
import { answerChat } from './chat.ts'
import { readJsonBody } from './strict.ts'
import type { World } from './world.ts'

/** What Mistral's API takes of Chat Completions; it refuses the rest. */
const FIELDS = [
  ...['model', 'messages', 'stream', 'temperature', 'top_p', 'max_tokens', 'stop', 'random_seed'],
  ...['tools', 'tool_choice', 'response_format', 'presence_penalty', 'frequency_penalty', 'n'],
  ...['safe_prompt', 'parallel_tool_calls'],
]

/** Answers a model of Mistral or AI21: Chat Completions by `rawPredict`, with the model in the body. */
export function answerRaw(
  world: World,
  call: Call,
  options: {
    /** As the path has it. */
    readonly model: string
    readonly isStream: boolean
    readonly refuse: (status: number, message: string) => Answer
  },
): Answer {
  const { isStream } = options
  const refuse = (message: string) => options.refuse(400, message)
  const body = readJsonBody(call)
  if (typeof body === 'string') return refuse(body)
  const [model] = decodeURIComponent(options.model).split('@')
  if (model === undefined || body.model !== model)
    return refuse(`model: ${String(body.model)} is not the model of the path`)
  const unknown = Object.keys(body).find(name => !FIELDS.includes(name))
  if (unknown !== undefined) return refuse(`${unknown}: Extra inputs are not permitted`)
  if (isStream !== (body.stream === true))
    return refuse('stream must be true for streamRawPredict, and for it alone')
  return answerChat(world, { call, body, model, refuse })
}
