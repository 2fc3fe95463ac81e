import { crc32 } from 'node:zlib'
import { type AwsProblem, verifyCall, verifyPresigned } from './aws-verify.ts'
import { type Answer, type Call, jsonAnswer, type Vendor } from './call.ts'
import { answerChat } from './chat.ts'
import { answerMessages, type ClaudeOffering } from './claude.ts'
import { headerValues } from './header.ts'
import { elementsOf, isObject, type JsonObject, parseObject } from './json.ts'
import { contentText, planReply, type Reply, replyText, streamPieces } from './reply.ts'
import { bearerOf, leakIn, readJsonBody } from './strict.ts'
import type { World } from './world.ts'

const PREFIX = '/bedrock'
const BODY_BYTES_MAX = 26_214_400
const VERSIONS = ['bedrock-2023-05-31', '2026-10-21']
const KEY_PREFIX = 'bedrock-api-key-'
const CONVERSE_FIELDS = [
  ...['messages', 'system', 'inferenceConfig', 'toolConfig', 'guardrailConfig'],
  ...['additionalModelRequestFields', 'performanceConfig', 'requestMetadata'],
]

/** Betas of Anthropic's that Bedrock takes in the body; which other it refuses, it does not say. */
const BETAS: ReadonlySet<string> = new Set([
  'claude-code-20250219',
  'computer-use-2025-01-24',
  'context-1m-2025-08-07',
  'context-management-2025-06-27',
  'effort-2025-11-24',
  'interleaved-thinking-2025-05-14',
  'tool-search-tool-2025-10-19',
])

const EXCEPTIONS: ReadonlyMap<number, string> = new Map([
  [400, 'ValidationException'],
  [403, 'AccessDeniedException'],
  [404, 'ResourceNotFoundException'],
  [429, 'ThrottlingException'],
  [503, 'ServiceUnavailableException'],
])

/** The Bedrock runtime: InvokeModel for Claude, Converse for any model, OpenAI chat for OpenAI's. */
export function createBedrock(world: World): Vendor {
  const offering: ClaudeOffering = { mark: 'bdrk_', clock: world.clock, newId: world.newId }
  return {
    name: 'bedrock',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path.startsWith(`${PREFIX}/`),
    refuse: awsError,
    answer(call) {
      const leak = leakIn(call.headers, ['authorization', 'x-amz-security-token'])
      const claudes = call.headers.find(([name]) => name.startsWith('anthropic-'))?.[0]
      if (leak !== null || claudes !== undefined)
        return awsError(400, leak ?? `Header "${claudes}" is not known here`)
      const problem = callerProblem(world, call)
      if (problem !== null) return awsError(403, problem.message, problem.code)
      if (call.method !== 'POST' || call.query !== '')
        return awsError(404, 'Nothing is served here')
      const body = readBody(call)
      if (typeof body === 'string') return awsError(400, body)
      if (call.path === `${PREFIX}/openai/v1/chat/completions`)
        return answerOpenai(world, call, body)
      const [, model = '', verb = ''] =
        /^\/bedrock\/model\/([^/]+)\/([a-z-]+)$/.exec(call.path) ?? []
      const request = { call, body, model: decodeURIComponent(model) }
      switch (verb) {
        case 'invoke':
        case 'invoke-with-response-stream':
          return answerInvoke(offering, request, verb !== 'invoke')
        case 'converse':
        case 'converse-stream':
          return answerConverse(world, request, verb !== 'converse')
        default:
          return awsError(404, `Nothing is served at ${call.path}`)
      }
    },
  }
}

/** A body without a type counts as JSON: AWS's own clients send InvokeModel's so. */
function readBody(call: Call): JsonObject | string {
  const isTyped = headerValues(call.headers, 'content-type').length > 0
  return isTyped ? readJsonBody(call) : (parseObject(call.body) ?? 'The body is not a JSON object')
}

interface ModelRequest {
  readonly call: Call
  readonly body: JsonObject
  readonly model: string
}

/** Null when the call is signed by a living session, or brings a living API key. */
function callerProblem(world: World, call: Call): AwsProblem | null {
  const verifier = { accounts: world.aws, tokens: world.tokens, service: 'bedrock' }
  const bearer = bearerOf(call.headers)
  if (bearer === world.aws.bedrockKey.reveal()) return null
  if (bearer === null) {
    const keys = verifyCall(verifier, call)
    return 'code' in keys ? keys : null
  }
  const text = bearer.startsWith(KEY_PREFIX) ? bearer.slice(KEY_PREFIX.length) : ''
  const url = URL.parse(`https://${Buffer.from(text, 'base64').toString()}`)
  const isRight =
    url?.host === 'bedrock.amazonaws.com' &&
    url.searchParams.get('Action') === 'CallWithBearerToken' &&
    url.searchParams.get('Version') === '1'
  if (url === null || !isRight) {
    return { code: 'AccessDeniedException', message: 'Authentication failed: invalid API Key' }
  }
  const options = { method: 'POST', nowMs: call.nowMs, unsigned: ['Version'] }
  const keys = verifyPresigned(verifier, url, options)
  if (!('code' in keys)) return null
  const isOver = keys.code === 'ExpiredTokenException'
  return isOver ? { ...keys, message: 'Bearer Token has expired' } : keys
}

function answerInvoke(
  offering: ClaudeOffering,
  { call, body, model }: ModelRequest,
  isStream: boolean,
): Answer {
  if (!/(^|[./])anthropic\.claude-[\w.-]+(:\d+)?$/.test(model))
    return awsError(400, 'The provided model identifier is invalid.')
  const apiVersion = String(body.anthropic_version ?? '')
  if (!VERSIONS.includes(apiVersion)) return awsError(400, 'anthropic_version: Field required')
  const extra = ['model', 'stream'].find(name => body[name] !== undefined)
  if (extra !== undefined) return awsError(400, `${extra}: Extra inputs are not permitted`)
  const betas = elementsOf(body.anthropic_beta).map(String)
  if (!betas.every(value => BETAS.has(value)))
    return awsError(400, 'The model returned the following errors: invalid beta flag')
  const answer = answerMessages(offering, {
    ...{ call, model, apiVersion, betas, envelope: ['anthropic_version', 'anthropic_beta'] },
    body: { ...body, stream: isStream },
  })
  if (answer.status !== 200) return awsError(answer.status, messageIn(answer))
  if (!isStream || answer.body instanceof Uint8Array) return answer
  return streamAnswer(invokeFrames(answer.body))
}

async function* invokeFrames(
  events: AsyncIterable<string | Uint8Array>,
): AsyncGenerator<Uint8Array> {
  for await (const event of events) {
    const [, json = ''] = /^data: (.*)$/m.exec(String(event)) ?? []
    yield frame('chunk', { bytes: Buffer.from(json).toString('base64'), p: 'abcdefgh' })
  }
}

function answerConverse(
  world: World,
  { call, body, model }: ModelRequest,
  isStream: boolean,
): Answer {
  const extra = Object.keys(body).find(name => !CONVERSE_FIELDS.includes(name))
  if (extra !== undefined) return awsError(400, `Unknown member "${extra}"`)
  const last = elementsOf(body.messages).at(-1)
  if (!isObject(last) || !Array.isArray(last.content))
    return awsError(400, 'A conversation must have messages with a list as content')
  const { byteLength: bodyBytes } = call.body
  const reply = planReply({ model, prompt: contentText(last.content), tools: [], bodyBytes })
  if ('problem' in reply) return awsError(400, reply.problem)
  const { inputTokens, outputTokens } = reply
  const usage = { inputTokens, outputTokens, totalTokens: inputTokens + outputTokens }
  if (isStream) return streamAnswer(converseFrames(world, call, { reply, usage }))
  return jsonAnswer(200, {
    output: { message: { role: 'assistant', content: [{ text: replyText(reply) }] } },
    stopReason: 'end_turn',
    usage,
    metrics: { latencyMs: 1 },
  })
}

async function* converseFrames(
  world: World,
  { signal }: Call,
  { reply, usage }: { readonly reply: Reply; readonly usage: JsonObject },
): AsyncGenerator<Uint8Array> {
  yield frame('messageStart', { role: 'assistant' })
  for await (const text of streamPieces(reply, world.clock, signal))
    yield frame('contentBlockDelta', { contentBlockIndex: 0, delta: { text } })
  yield frame('contentBlockStop', { contentBlockIndex: 0 })
  yield frame('messageStop', { stopReason: 'end_turn' })
  yield frame('metadata', { usage, metrics: { latencyMs: 1 } })
}

function answerOpenai(world: World, call: Call, body: JsonObject): Answer {
  const { model } = body
  if (typeof model !== 'string' || !model.startsWith('openai.'))
    return awsError(404, 'The model does not exist here')
  return answerChat(world, { call, body, model, refuse: message => awsError(400, message) })
}

function awsError(status: number, message: string, code = ''): Answer {
  const type = code || (EXCEPTIONS.get(status) ?? 'InternalServerException')
  return jsonAnswer(status, { message }, [['x-amzn-errortype', type]])
}

/** The words of an error that Claude's own dialect tells. */
function messageIn({ body }: Answer): string {
  const text = body instanceof Uint8Array ? Buffer.from(body).toString() : '{}'
  const { error }: { readonly error?: { readonly message?: string } } = JSON.parse(text)
  return error?.message ?? ''
}

function streamAnswer(frames: AsyncIterable<Uint8Array>): Answer {
  return {
    status: 200,
    headers: [['content-type', 'application/vnd.amazon.eventstream']],
    body: frames,
  }
}

/** One message of the event stream encoding: prelude, headers, payload, and two checksums. */
function frame(eventType: string, payload: JsonObject): Uint8Array {
  const headers = Buffer.concat([
    textHeader(':event-type', eventType),
    textHeader(':content-type', 'application/json'),
    textHeader(':message-type', 'event'),
  ])
  const body = Buffer.from(JSON.stringify(payload))
  const message = Buffer.alloc(12 + headers.length + body.length + 4)
  message.writeUInt32BE(message.length, 0)
  message.writeUInt32BE(headers.length, 4)
  message.writeUInt32BE(crc32(message.subarray(0, 8)), 8)
  headers.copy(message, 12)
  body.copy(message, 12 + headers.length)
  message.writeUInt32BE(crc32(message.subarray(0, -4)), message.length - 4)
  return message
}

function textHeader(name: string, value: string): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(Buffer.byteLength(value))
  return Buffer.concat([
    Buffer.from([name.length]),
    Buffer.from(name),
    Buffer.from([7]),
    length,
    Buffer.from(value),
  ])
}
