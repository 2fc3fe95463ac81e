import type { Answer, Call, Vendor } from './call.ts'
import { answerChat } from './chat.ts'
import {
  answerCount,
  answerMessages,
  betasOf,
  type ClaudeOffering,
  type ClaudeRequest,
  claudeError,
} from './claude.ts'
import { rpcError, unauthenticated } from './google-rpc.ts'
import { isSelfSigned } from './google-self-signed.ts'
import { headerValues } from './header.ts'
import { bearerOf, leakIn, readJsonBody } from './strict.ts'
import { answerPredict } from './vertex-embeddings.ts'
import { answerGemini, type GeminiVerb } from './vertex-gemini.ts'
import { answerRaw } from './vertex-raw.ts'
import type { World } from './world.ts'

const BODY_BYTES_MAX = 31_457_280
const AUDIENCE = 'https://aiplatform.googleapis.com/'
const VERSIONS = ['vertex-2023-10-16', '2026-10-21']

/** Betas of Anthropic's that Vertex is known to take; it refuses the others. */
const BETAS: ReadonlySet<string> = new Set([
  'claude-code-20250219',
  'compact-2026-01-12',
  'computer-use-2025-01-24',
  'computer-use-2025-11-24',
  'context-1m-2025-08-07',
  'context-management-2025-06-27',
  'fine-grained-tool-streaming-2025-05-14',
  'interleaved-thinking-2025-05-14',
  'token-efficient-tools-2025-02-19',
  'tool-search-tool-2025-10-19',
])

const PROJECT = '[a-z][a-z0-9-]{4,28}[a-z0-9]'
const LOCATION = '[a-z]+(?:-[a-z]+[0-9]+)?'
const CLAUDE_PATH = new RegExp(
  `^/v1/projects/${PROJECT}/locations/${LOCATION}/publishers/anthropic/models/([^/:]+):(rawPredict|streamRawPredict)$`,
)
const OPENAPI_PATH = new RegExp(
  `^/v1(?:beta1)?/projects/${PROJECT}/locations/${LOCATION}/endpoints/openapi/chat/completions$`,
)

const EMBEDDINGS_PATH = new RegExp(
  `^/v1/projects/${PROJECT}/locations/${LOCATION}/publishers/google/models/([\\w.-]+):predict$`,
)

const GEMINI_PATH = new RegExp(
  `^/v1(?:beta1)?/projects/${PROJECT}/locations/${LOCATION}/publishers/google/models/([\\w.@-]+):(generateContent|streamGenerateContent|countTokens)$`,
)

const RAW_PATH = new RegExp(
  `^/v1/projects/${PROJECT}/locations/${LOCATION}/publishers/(?:mistralai|ai21)/models/([^/:]+):(rawPredict|streamRawPredict)$`,
)
const DEPLOYED_PATH = new RegExp(
  `^/v1/projects/${PROJECT}/locations/${LOCATION}/endpoints/\\d+/chat/completions$`,
)

/** Vertex AI: Claude by rawPredict, Gemini by its own verbs, these and others by the OpenAI-compatible endpoint. */
export function createVertex(world: World): Vendor {
  const offering: ClaudeOffering = { mark: 'vrtx_', clock: world.clock, newId: world.newId }
  return {
    name: 'vertex',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => /^\/v1(beta1)?\/projects\//.test(path),
    refuse: rpcError,
    answer(call) {
      const leak = leakIn(call.headers, ['authorization'])
      if (leak !== null) return rpcError(400, leak)
      const refusal = credentialRefusal(world, call)
      if (refusal !== null) return refusal
      if (call.method !== 'POST') return rpcError(404, `${call.method} is not known here`)
      if (OPENAPI_PATH.test(call.path)) return answerOpenapi(world, call)
      const embedder = EMBEDDINGS_PATH.exec(call.path)?.[1]
      if (embedder !== undefined) return answerPredict(call, { model: embedder, refuse: rpcError })
      const gemini = geminiTarget(call.path)
      if (gemini !== null) return answerGemini(world, call, gemini)
      if (DEPLOYED_PATH.test(call.path)) return answerDeployed(world, call)
      const [, rawModel, rawVerb] = RAW_PATH.exec(call.path) ?? []
      if (rawModel !== undefined) {
        const isStream = rawVerb === 'streamRawPredict'
        return answerRaw(world, call, { model: rawModel, isStream, refuse: rpcError })
      }
      const [, model, verb] = CLAUDE_PATH.exec(call.path) ?? []
      if (model === undefined || verb === undefined)
        return rpcError(404, `Nothing is served at ${call.path}`)
      return answerClaude(offering, call, { model, verb })
    },
  }
}

/** A 401 unless the call brings one token that this lab issued for Google and that lives. */
function credentialRefusal(world: World, call: Call): Answer | null {
  if (headerValues(call.headers, 'authorization').length === 0)
    return unauthorized('CREDENTIALS_MISSING')
  const token = bearerOf(call.headers) ?? ''
  const verdict = world.tokens.judge(token, 'google', call.nowMs)
  if (verdict === 'valid') return null
  const { accounts } = world
  if (isSelfSigned(token, { accounts, audience: AUDIENCE, nowMs: call.nowMs })) return null
  return unauthorized(
    verdict === 'unknown' ? 'ACCESS_TOKEN_TYPE_UNSUPPORTED' : 'ACCESS_TOKEN_EXPIRED',
  )
}

function unauthorized(reason: string): Answer {
  const method = 'google.cloud.aiplatform.v1.PredictionService.RawPredict'
  return unauthenticated('aiplatform.googleapis.com', method, reason)
}

function geminiTarget(path: string): { readonly model: string; readonly verb: GeminiVerb } | null {
  const [, model = '', verb] = GEMINI_PATH.exec(path) ?? []
  switch (verb) {
    case 'generateContent':
    case 'streamGenerateContent':
    case 'countTokens':
      return { model, verb }
    default:
      return null
  }
}

function answerOpenapi(world: World, call: Call): Answer {
  const body = readJsonBody(call)
  if (typeof body === 'string') return rpcError(400, body)
  const model = body.model
  if (typeof model !== 'string' || !/^[\w.-]+\/[\w.@-]+$/.test(model))
    return rpcError(400, `Malformed publisher model ${JSON.stringify(model)}`)
  return answerChat(world, { call, body, model, refuse: message => rpcError(400, message) })
}

/** A model that somebody deployed: it is called as they please. */
function answerDeployed(world: World, call: Call): Answer {
  const body = readJsonBody(call)
  if (typeof body === 'string') return rpcError(400, body)
  const refuse = (message: string) => rpcError(400, message)
  return answerChat(world, { call, body, model: String(body.model), refuse })
}

function answerClaude(
  offering: ClaudeOffering,
  call: Call,
  { model, verb }: { readonly model: string; readonly verb: string },
): Answer {
  if (call.query !== '') return rpcError(400, `Query ${call.query} is not known here`)
  const body = readJsonBody(call)
  if (typeof body === 'string') return claudeError(offering, 400, body)
  const isCount = model === 'count-tokens'
  const named = isCount ? body.model : decodeModel(model)
  if (typeof named !== 'string' || !/^claude-[\w.@-]+$/.test(named)) {
    const what = `Publisher Model \`${String(named)}\` was not found or your project does not have access to it.`
    return rpcError(404, what)
  }
  const request: ClaudeRequest = {
    call,
    body,
    model: named,
    apiVersion: String(body.anthropic_version ?? ''),
    betas: betasOf(call.headers),
    envelope: ['anthropic_version'],
  }
  const problem = envelopeProblem(request, { isCount, isStream: verb === 'streamRawPredict' })
  if (problem !== null) return claudeError(offering, 400, problem)
  return isCount ? answerCount(offering, request) : answerMessages(offering, request)
}

/** What Vertex demands around a Messages request. */
function envelopeProblem(
  { call, body, apiVersion, betas }: ClaudeRequest,
  { isCount, isStream }: { readonly isCount: boolean; readonly isStream: boolean },
): string | null {
  if (headerValues(call.headers, 'anthropic-version').length > 0)
    return 'Header "anthropic-version" is not taken here; use anthropic_version in the body'
  if (apiVersion === '') return 'anthropic_version: Field required'
  if (!VERSIONS.includes(apiVersion)) return `anthropic_version: Unknown value "${apiVersion}"`
  const unknown = betas.filter(value => !BETAS.has(value))
  if (unknown.length > 0) {
    const values = unknown.map(value => `\`${value}\``).join(', ')
    return `Unexpected value(s) ${values} for the \`anthropic-beta\` header. Please consult our documentation or try again without the header.`
  }
  if (isCount) return isStream ? 'count-tokens has no streamRawPredict' : null
  if (body.model !== undefined) return 'model: Extra inputs are not permitted'
  if (isStream && body.stream !== true) return 'streamRawPredict needs stream: true in the body'
  return !isStream && body.stream === true ? 'rawPredict cannot stream' : null
}

function decodeModel(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch (error) {
    if (error instanceof URIError) return ''
    throw error
  }
}
