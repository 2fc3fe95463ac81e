import { type Answer, type Call, eventAnswer, jsonAnswer, type Vendor } from './call.ts'
import { answerChat, type OpenaiRequest, usageOf } from './chat.ts'
import { answerCompletions } from './completions.ts'
import { answerEmbeddings, vectorOf } from './embeddings.ts'
import { headerValues } from './header.ts'
import { isObject, type JsonObject } from './json.ts'
import {
  planReply,
  type Reply,
  type ReplyRequest,
  replyText,
  streamPieces,
  tokenCount,
} from './reply.ts'
import { bearerOf, leakIn, readJsonBody } from './strict.ts'
import { chatProblem, chatRequest } from './watsonx-chat.ts'
import type { World } from './world.ts'

const BODY_BYTES_MAX = 33_554_432
const TEXT_PATH = /^\/ml\/v1\/text\/(chat|chat_stream|embeddings)$/
const DEPLOYMENT_PATH = /^\/ml\/v1\/deployments\/([\w-]+)\/text\/(chat|chat_stream)$/
const GATEWAY_PREFIX = '/ml/gateway/v1/'
const DIMENSIONS = 16
const INPUTS_MAX = 1_000

/** watsonx.ai: chat and embeddings in its own dialect, and the OpenAI-compatible model gateway. */
export function createWatsonx(world: World): Vendor {
  return {
    name: 'watsonx',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path.startsWith('/ml/'),
    refuse: (status, message) => watsonxError(status, 'lab_refusal', message),
    answer(call) {
      const leak = leakIn(call.headers, ['authorization'])
      if (leak !== null) return invalid(leak)
      const refusal = credentialRefusal(world, call)
      if (refusal !== null) return refusal
      if (call.path.startsWith(GATEWAY_PREFIX)) return answerGateway(world, call)
      const [, deployment = '', deployed] = DEPLOYMENT_PATH.exec(call.path) ?? []
      const verb = TEXT_PATH.exec(call.path)?.[1] ?? deployed
      if (call.method !== 'POST' || verb === undefined) {
        return watsonxError(404, 'not_found', `Nothing is served at ${call.method} ${call.path}`)
      }
      if (deployment !== '' && deployment !== world.ibm.deploymentId) {
        return watsonxError(404, 'deployment_not_found', `No deployment ${deployment}`)
      }
      return answerText(world, call, { verb, isDeployment: deployment !== '' })
    },
  }
}

function credentialRefusal(world: World, call: Call): Answer | null {
  const { username, userApiKey } = world.ibm
  const zen = Buffer.from(`${username}:${userApiKey.reveal()}`).toString('base64')
  if (headerValues(call.headers, 'authorization').join() === `ZenApiKey ${zen}`) return null
  const verdict = world.tokens.judge(bearerOf(call.headers) ?? '', 'ibm', call.nowMs)
  if (verdict === 'valid') return null
  if (verdict === 'expired') {
    const message = 'Failed to authenticate the request due to an expired token'
    return watsonxError(401, 'authentication_token_expired', message)
  }
  const message = 'Failed to authenticate the request due to an invalid token'
  return watsonxError(401, 'authentication_token_not_valid', message)
}

function answerText(
  world: World,
  call: Call,
  { verb, isDeployment }: { readonly verb: string; readonly isDeployment: boolean },
): Answer {
  if (!/^\?version=\d{4}-\d\d-\d\d$/.test(call.query))
    return watsonxError(400, 'missing_version', 'The version query parameter is required')
  const body = readJsonBody(call)
  if (typeof body === 'string') return invalid(body)
  const problem = addressProblem(world, body, isDeployment)
  if (problem !== null) return invalid(problem)
  const model = isDeployment ? 'deployed-model' : String(body.model_id)
  if (verb === 'embeddings') return answerVectors(world, call, { body, model })
  const wrong = chatProblem(body)
  if (wrong !== null) return invalid(wrong)
  const request: ReplyRequest = { ...chatRequest(body), model, bodyBytes: call.body.byteLength }
  const reply = planReply(request)
  if ('problem' in reply) return invalid(reply.problem)
  const nowMs = world.clock.nowMs()
  const head = {
    ...{ id: `chatcmpl-${world.newId()}`, model_id: model, model },
    ...{ created: Math.floor(nowMs / 1_000), created_at: new Date(nowMs).toISOString() },
  }
  if (verb === 'chat') return jsonAnswer(200, wholeChat(world, head, reply))
  if (headerValues(call.headers, 'accept').join() !== 'text/event-stream')
    return invalid('chat_stream answers text/event-stream; Accept must say so')
  return eventAnswer(chatEvents(world, call, { head, reply }))
}

/** Exactly one of project and space, and a model; a deployment knows all three itself. */
function addressProblem(world: World, body: JsonObject, isDeployment: boolean): string | null {
  const { model_id: model, project_id: project, space_id: space } = body
  if (isDeployment) {
    const isNamed = [model, project, space].some(value => value !== undefined)
    return isNamed ? 'A deployment takes no model_id, project_id or space_id' : null
  }
  if (typeof model !== 'string' || model === '') return 'model_id is required'
  if ((project === undefined) === (space === undefined))
    return 'Exactly one of project_id and space_id is required'
  const isKnown = project === world.ibm.projectId || space === world.ibm.spaceId
  return isKnown ? null : 'The project or space could not be found'
}

function wholeChat(world: World, head: JsonObject, reply: Reply): JsonObject {
  const { tool } = reply
  const message =
    tool === null
      ? { role: 'assistant', content: replyText(reply) }
      : { role: 'assistant', tool_calls: [toolCall(world, tool.name, JSON.stringify(tool.input))] }
  const reason = tool === null ? 'stop' : 'tool_calls'
  return {
    ...head,
    choices: [{ index: 0, message, finish_reason: reason }],
    usage: usageOf(reply),
    system: { warnings: [{ message: 'Pretended', id: 'lab' }] },
  }
}

async function* chatEvents(
  world: World,
  call: Call,
  { head, reply }: { readonly head: JsonObject; readonly reply: Reply },
): AsyncGenerator<string> {
  let count = 0
  const event = (choices: readonly JsonObject[], rest: JsonObject = {}): string => {
    count += 1
    return `id: ${count}\nevent: message\ndata: ${JSON.stringify({ ...head, choices, ...rest })}\n\n`
  }
  const step = (delta: JsonObject, reason: string | null = null): string =>
    event([{ index: 0, delta, finish_reason: reason }])

  yield step({ role: 'assistant', content: '' })
  const { tool } = reply
  if (tool !== null) {
    const input = JSON.stringify(tool.input)
    const call = toolCall(world, tool.name, '')
    // The id comes with every piece, the name only with the first.
    for (const [at, piece] of [input.slice(0, 3), input.slice(3)].entries()) {
      const name = at === 0 ? tool.name : ''
      yield step({ tool_calls: [{ ...call, index: 0, function: { name, arguments: piece } }] })
    }
  }
  for await (const content of streamPieces(reply, world.clock, call.signal)) yield step({ content })
  yield step({ content: '' }, tool === null ? 'stop' : 'tool_calls')
  yield event([], { usage: usageOf(reply) })
}

function toolCall(world: World, name: string, input: string): JsonObject {
  const called = { name, arguments: input }
  return { id: `chatcmpl-tool-${world.newId()}`, type: 'function', function: called }
}

function answerVectors(
  world: World,
  call: Call,
  { body, model }: { readonly body: JsonObject; readonly model: string },
): Answer {
  const known = ['model_id', 'project_id', 'space_id', 'inputs', 'parameters']
  const unknown = Object.keys(body).find(name => !known.includes(name))
  if (unknown !== undefined) return invalid(`Unknown member ${unknown}`)
  const { inputs } = body
  if (!Array.isArray(inputs) || inputs.length === 0 || inputs.length > INPUTS_MAX)
    return invalid(`inputs must be an array of 1 to ${INPUTS_MAX} texts`)
  if (!inputs.every(input => typeof input === 'string')) return invalid('inputs must be texts')
  const results = inputs.map(input => ({ embedding: [...vectorOf(input, DIMENSIONS)] }))
  const created_at = new Date(world.clock.nowMs()).toISOString()
  const input_token_count = tokenCount(call.body.byteLength)
  return jsonAnswer(200, { model_id: model, created_at, results, input_token_count })
}

function answerGateway(world: World, call: Call): Answer {
  const operation = call.path.slice(GATEWAY_PREFIX.length)
  if (call.method === 'GET' && operation === 'models') {
    const model = { id: 'lab-model', object: 'model', created: 0, owned_by: 'lab' }
    return jsonAnswer(200, { object: 'list', data: [model] })
  }
  const body = readJsonBody(call)
  if (call.method !== 'POST') return watsonxError(404, 'not_found', 'Nothing is served here')
  if (typeof body === 'string') return invalid(body)
  if (!isObject(body) || typeof body.model !== 'string') return invalid('model is required')
  const request: OpenaiRequest = { call, body, model: body.model, refuse: invalid }
  switch (operation) {
    case 'chat/completions':
      return answerChat(world, request)
    case 'completions':
      return answerCompletions(world, request)
    case 'embeddings':
      return answerEmbeddings(request)
    default:
      return watsonxError(404, 'not_found', `The model gateway has no ${operation}`)
  }
}

function invalid(message: string): Answer {
  return watsonxError(400, 'invalid_request_entity', message)
}

function watsonxError(status: number, code: string, message: string): Answer {
  const more_info = 'https://cloud.ibm.com/apidocs/watsonx-ai'
  const errors = [{ code, message, more_info }]
  return jsonAnswer(status, { errors, trace: 'lab', status_code: status })
}
