import { type Answer, type Call, jsonAnswer, type Vendor } from './call.ts'
import { answerChat, type OpenaiRequest } from './chat.ts'
import {
  answerCount,
  answerMessages,
  betasOf,
  type ClaudeOffering,
  type ClaudeRequest,
  claudeError,
} from './claude.ts'
import { answerCompletions } from './completions.ts'
import { answerEmbeddings } from './embeddings.ts'
import { headerValues } from './header.ts'
import type { JsonObject } from './json.ts'
import { answerResponses } from './responses.ts'
import { bearerOf, leakIn, readJsonBody } from './strict.ts'
import type { World } from './world.ts'

const PREFIX = '/azure/'
const BODY_BYTES_MAX = 33_554_432
const DEPLOYMENTS = ['gpt-5.5', 'gpt-4o', 'text-embedding-3-small']
const CLAUDE_DEPLOYMENT = /^claude-[\w.-]+$/
const CREATED_AT_SECONDS = 1_767_225_600
const DATED_VERSION = /^\?api-version=\d{4}-\d\d-\d\d(-preview)?$/

/** Whose tokens each API takes. */
const AUDIENCES = {
  v1: ['azure.ai', 'azure.cognitiveservices'],
  classic: ['azure.cognitiveservices'],
  claude: ['azure.ai'],
} as const

/** What the classic API serves below a deployment; the v1 API serves these and `responses`. */
const DEPLOYMENT_OPERATIONS = ['chat/completions', 'completions', 'embeddings']

/** Where a call goes. */
interface Place {
  readonly api: 'v1' | 'classic' | 'claude'
  /** For example `chat/completions`. */
  readonly operation: string
  /** As the path names it; '' when the body does. */
  readonly deployment: string
}

/** A resource of Azure: OpenAI by the v1 and the classic API, and Claude as Foundry serves it. */
export function createAzureOpenai(world: World): Vendor {
  const offering: ClaudeOffering = { mark: '', clock: world.clock, newId: world.newId }
  return {
    name: 'azure.openai',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path.startsWith(PREFIX),
    refuse: (status, message) => azureError(status, String(status), message),
    answer(call) {
      const place = placeOf(call.path)
      if (place === null) return azureError(404, '404', 'Resource not found')
      const refusal = credentialRefusal(world, call, place) ?? queryRefusal(call, place)
      if (refusal !== null) return refusal
      if (place.api === 'claude') return answerClaude(offering, call, place)
      return call.method === 'GET' ? answerModels(place) : answerPost(world, call, place)
    },
  }
}

function placeOf(path: string): Place | null {
  const rest = path.slice(PREFIX.length)
  const [, v1] = /^openai\/v1\/(.+)$/.exec(rest) ?? []
  if (v1 !== undefined) return { api: 'v1', operation: v1, deployment: '' }
  const [, claude] = /^anthropic\/v1\/(.+)$/.exec(rest) ?? []
  if (claude !== undefined) return { api: 'claude', operation: claude, deployment: '' }
  const [, deployment, below] = /^openai\/deployments\/([\w.-]+)\/(.+)$/.exec(rest) ?? []
  if (deployment !== undefined && below !== undefined)
    return DEPLOYMENT_OPERATIONS.includes(below)
      ? { api: 'classic', operation: below, deployment }
      : null
  const [, bare] = /^openai\/(responses|models(?:\/[^/]+)?)$/.exec(rest) ?? []
  return bare === undefined ? null : { api: 'classic', operation: bare, deployment: '' }
}

/** A 401 unless the call brings the resource's key or one living token for its audience, not both. */
function credentialRefusal(world: World, call: Call, { api }: Place): Answer | null {
  const keyHeader = api === 'claude' ? 'x-api-key' : 'api-key'
  const leak = leakIn(call.headers, ['authorization', keyHeader])
  if (leak !== null) return azureError(400, '400', leak)
  const keys = headerValues(call.headers, keyHeader)
  const bearers = headerValues(call.headers, 'authorization')
  if (keys.length + bearers.length > 1)
    return azureError(400, '400', `Send ${keyHeader} or authorization, not both`)
  if (keys.length === 1) {
    if (keys[0] === world.azure.apiKey.reveal()) return null
    const message =
      'Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.'
    return azureError(401, '401', message)
  }
  const token = bearerOf(call.headers) ?? ''
  const isValid = AUDIENCES[api].some(
    audience => world.tokens.judge(token, audience, call.nowMs) === 'valid',
  )
  if (!isValid) {
    const host = api === 'classic' ? 'https://cognitiveservices.azure.com' : 'https://ai.azure.com'
    const message = `Unauthorized. Access token is missing, invalid, audience is incorrect (${host}), or have expired.`
    return jsonAnswer(401, { statusCode: 401, message })
  }
  if (world.azure.hasRole()) return null
  const message = `The principal \`${world.azure.clientId}\` lacks the required data action \`Microsoft.CognitiveServices/accounts/OpenAI/deployments/chat/completions/action\` to perform the operation.`
  return azureError(401, 'PermissionDenied', message)
}

/** The v1 API takes no dated version, the classic one demands it. */
function queryRefusal(call: Call, { api }: Place): Answer | null {
  const isGood =
    api === 'classic'
      ? DATED_VERSION.test(call.query)
      : ['', api === 'v1' ? '?api-version=preview' : '?beta=true'].includes(call.query)
  return isGood ? null : azureError(400, 'BadRequest', 'API version not supported')
}

function answerPost(world: World, call: Call, { operation, deployment }: Place): Answer {
  const refuse = (message: string) => azureError(400, 'BadRequest', message)
  if (call.method !== 'POST') return azureError(405, '405', 'Method not allowed')
  const body = readJsonBody(call)
  if (typeof body === 'string') return refuse(body)
  const model = deployment === '' ? body.model : deployment
  if (typeof model !== 'string') return refuse('you must provide a model parameter')
  if (!DEPLOYMENTS.includes(model)) {
    const message =
      'The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.'
    return azureError(404, 'DeploymentNotFound', message)
  }
  const request: OpenaiRequest = { call, body, model, refuse }
  switch (operation) {
    case 'chat/completions':
      return answerChat(world, request)
    case 'completions':
      return answerCompletions(world, request)
    case 'responses':
      return answerResponses(world, request)
    case 'embeddings':
      return answerEmbeddings(request)
    default:
      return azureError(404, '404', 'Resource not found')
  }
}

function answerModels({ operation }: Place): Answer {
  if (operation === 'models')
    return jsonAnswer(200, { object: 'list', data: DEPLOYMENTS.map(modelObject) })
  const id = /^models\/([^/]+)$/.exec(operation)?.[1] ?? ''
  if (DEPLOYMENTS.includes(id)) return jsonAnswer(200, modelObject(id))
  return azureError(404, '404', 'Resource not found')
}

function modelObject(id: string): JsonObject {
  return { id, object: 'model', created: CREATED_AT_SECONDS, owned_by: 'lab' }
}

/** As Anthropic serves it, but for models and batches, which Foundry does not have. */
function answerClaude(offering: ClaudeOffering, call: Call, { operation }: Place): Answer {
  const answer: ((one: ClaudeOffering, request: ClaudeRequest) => Answer) | null =
    operation === 'messages'
      ? answerMessages
      : operation === 'messages/count_tokens'
        ? answerCount
        : null
  if (call.method !== 'POST' || answer === null)
    return claudeError(offering, 404, `Not found: ${call.method} ${operation}`)
  const [version = ''] = headerValues(call.headers, 'anthropic-version')
  if (version === '') return claudeError(offering, 400, 'anthropic-version: header is required')
  const body = readJsonBody(call)
  if (typeof body === 'string') return claudeError(offering, 400, body)
  const { model } = body
  if (typeof model !== 'string' || !CLAUDE_DEPLOYMENT.test(model))
    return claudeError(offering, 404, `model: ${String(model)}`)
  const betas = betasOf(call.headers)
  return answer(offering, { call, body, model, apiVersion: version, betas, envelope: ['model'] })
}

function azureError(status: number, code: string, message: string): Answer {
  return jsonAnswer(status, { error: { code, message } })
}
