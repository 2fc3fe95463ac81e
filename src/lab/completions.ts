import { type Answer, eventAnswer, eventText, jsonAnswer } from './call.ts'
import { type OpenaiRequest, usageOf, wantsUsage } from './chat.ts'
import { elementsOf, type JsonObject } from './json.ts'
import { planReply, type Reply, replyText, streamPieces } from './reply.ts'
import type { World } from './world.ts'

/** Answers the older Completions, streamed when the request says so. */
export function answerCompletions(world: World, request: OpenaiRequest): Answer {
  const { call, body, model, refuse } = request
  const prompt = body.prompt
  if (prompt === undefined) return refuse("Missing required parameter: 'prompt'")
  const reply = planReply({
    model,
    prompt: typeof prompt === 'string' ? prompt : elementsOf(prompt).join('\n'),
    tools: [],
    bodyBytes: call.body.byteLength,
  })
  if ('problem' in reply) return refuse(reply.problem)
  const base = {
    id: `cmpl-${world.newId()}`,
    object: 'text_completion',
    created: Math.floor(world.clock.nowMs() / 1_000),
    model,
  }
  if (body.stream === true) return eventAnswer(completionEvents(world, request, { base, reply }))
  const choice = { index: 0, text: replyText(reply), logprobs: null, finish_reason: 'stop' }
  return jsonAnswer(200, { ...base, choices: [choice], usage: usageOf(reply) })
}

async function* completionEvents(
  world: World,
  { call, body }: OpenaiRequest,
  { base, reply }: { readonly base: JsonObject; readonly reply: Reply },
): AsyncGenerator<string> {
  const step = (text: string, reason: string | null) =>
    eventText('', {
      ...base,
      choices: [{ index: 0, text, logprobs: null, finish_reason: reason }],
    })
  for await (const text of streamPieces(reply, world.clock, call.signal)) yield step(text, null)
  yield step('', 'stop')
  if (wantsUsage(body)) yield eventText('', { ...base, choices: [], usage: usageOf(reply) })
  yield 'data: [DONE]\n\n'
}
