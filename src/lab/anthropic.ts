import { type Answer, type Call, jsonAnswer, type Vendor } from './call.ts'
import {
  answerCount,
  answerMessages,
  betasOf,
  type ClaudeOffering,
  type ClaudeRequest,
  claudeError,
} from './claude.ts'
import { headerValues } from './header.ts'
import type { JsonObject } from './json.ts'
import { bearerOf, leakIn, readJsonBody } from './strict.ts'
import type { World } from './world.ts'

const BODY_BYTES_MAX = 33_554_432
const VERSIONS = ['2023-06-01', '2026-10-21']
const MODELS = ['claude-sonnet-5-5', 'claude-opus-4-6', 'claude-3-7-sonnet-20250219']
const OAUTH_BETA = 'oauth-2025-04-20'
const MODEL_CREATED_AT = '2026-01-01T00:00:00Z'

/**
 * Anthropic's own API: a static key in `x-api-key` or as a bearer, never both, or a token of its
 * workload identity federation, as a bearer and together with the OAuth beta.
 */
export function createAnthropic(world: World): Vendor {
  return anthropicVendor(world, {
    name: 'anthropic',
    prefix: '/anthropic/v1/',
    isKnown(call) {
      const bearer = bearerOf(call.headers)
      const key = headerValues(call.headers, 'x-api-key')[0] ?? bearer
      if (key === world.anthropicKey.reveal()) return true
      const hasBeta = betasOf(call.headers).includes(OAUTH_BETA)
      return hasBeta && world.tokens.judge(bearer ?? '', 'anthropic', call.nowMs) === 'valid'
    },
  })
}

/** An Anthropic-compatible API of somebody else's, behind the lab's authorization server. */
export function createOauthAnthropic(world: World): Vendor {
  return anthropicVendor(world, {
    name: 'oauth2.anthropic',
    prefix: '/oauth2/anthropic/v1/',
    isKnown: ({ headers, nowMs }) =>
      world.tokens.judge(bearerOf(headers) ?? '', 'oauth2', nowMs) === 'valid',
  })
}

/** Claude as managed by Anthropic on Google Cloud: the same API below a workspace, for Google's tokens. */
export function createGoogleClaude(world: World): Vendor {
  return anthropicVendor(world, {
    name: 'google.claude',
    prefix: '/v1/projects/demo-project/locations/global/workspaces/wrkspc_lab/invoke/v1/',
    isKnown: ({ headers, nowMs }) =>
      world.tokens.judge(bearerOf(headers) ?? '', 'google', nowMs) === 'valid',
  })
}

/** What tells one Anthropic-compatible API from another. */
interface AnthropicOffering {
  readonly name: string
  readonly prefix: string
  readonly isKnown: (call: Call) => boolean
}

function anthropicVendor(world: World, { name, prefix, isKnown }: AnthropicOffering): Vendor {
  const offering: ClaudeOffering = { mark: '', clock: world.clock, newId: world.newId }
  return {
    name,
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path.startsWith(prefix),
    refuse: (status, message) => claudeError(offering, status, message),
    answer(call) {
      const refusal = callRefusal(offering, call, isKnown)
      if (refusal !== null) return refusal
      const operation = `${call.method} ${call.path.slice(prefix.length)}`
      if (operation === 'POST messages') return answerPost(offering, call, answerMessages)
      if (operation === 'POST messages/count_tokens') return answerPost(offering, call, answerCount)
      if (operation === 'GET models') return jsonAnswer(200, modelList())
      const model = /^GET models\/([^/]+)$/.exec(operation)?.[1]
      if (model !== undefined && MODELS.includes(model)) return jsonAnswer(200, modelObject(model))
      return claudeError(offering, 404, `Not found: ${call.method} ${call.path}`)
    },
  }
}

function callRefusal(
  offering: ClaudeOffering,
  call: Call,
  isKnown: (call: Call) => boolean,
): Answer | null {
  const leak = leakIn(call.headers, ['authorization', 'x-api-key'])
  if (leak !== null) return claudeError(offering, 400, leak)
  const keys = ['x-api-key', 'authorization'].flatMap(name => headerValues(call.headers, name))
  if (keys.length > 1)
    return claudeError(offering, 400, 'Send x-api-key or authorization, not both')
  if (!isKnown(call)) return claudeError(offering, 401, 'invalid x-api-key')
  const [version = ''] = headerValues(call.headers, 'anthropic-version')
  if (version === '') return claudeError(offering, 400, 'anthropic-version: header is required')
  if (VERSIONS.includes(version)) return null
  return claudeError(offering, 400, `anthropic-version: "${version}" is not a valid version`)
}

function answerPost(
  offering: ClaudeOffering,
  call: Call,
  answer: (offering: ClaudeOffering, request: ClaudeRequest) => Answer,
): Answer {
  const body = readJsonBody(call)
  if (typeof body === 'string') return claudeError(offering, 400, body)
  const model = body.model
  if (typeof model !== 'string') return claudeError(offering, 400, 'model: Field required')
  if (!/^claude-[\w.-]+$/.test(model)) return claudeError(offering, 404, `model: ${model}`)
  return answer(offering, {
    call,
    body,
    model,
    apiVersion: headerValues(call.headers, 'anthropic-version')[0] ?? '',
    betas: betasOf(call.headers),
    envelope: ['model'],
  })
}

function modelList(): JsonObject {
  return {
    data: MODELS.map(modelObject),
    has_more: false,
    first_id: MODELS.at(0),
    last_id: MODELS.at(-1),
  }
}

function modelObject(id: string): JsonObject {
  return { type: 'model', id, display_name: id, created_at: MODEL_CREATED_AT }
}
