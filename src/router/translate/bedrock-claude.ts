import { UpstreamError, type UpstreamResponse } from '../exchange.ts'
import { headerValue } from '../rewrite.ts'
import { withEvents, withJson } from './answer.ts'
import { type AwsEvent, readAwsEvents } from './aws-event-stream.ts'
import { type JsonObject, parseAnswer } from './json.ts'

const ERROR_BYTES_MAX = 1024 * 1024

const ERROR_TYPES: ReadonlyMap<number, string> = new Map([
  [400, 'invalid_request_error'],
  [401, 'authentication_error'],
  [403, 'permission_error'],
  [404, 'not_found_error'],
  [413, 'request_too_large'],
  [429, 'rate_limit_error'],
])

/** Exceptions in the middle of a stream, which have no status any more. */
const EXCEPTION_TYPES: ReadonlyMap<string, string> = new Map([
  ['throttlingException', 'rate_limit_error'],
  ['validationException', 'invalid_request_error'],
  ['modelTimeoutException', 'timeout_error'],
  ['serviceUnavailableException', 'overloaded_error'],
])

/**
 * Claude on Bedrock answers in Anthropic's words, but streams them in AWS's binary frames and has
 * AWS's errors: both are put into Anthropic's dialect. A whole answer passes as it is.
 */
export async function bedrockClaudeAnswer(answer: UpstreamResponse): Promise<UpstreamResponse> {
  if (!/^(identity)?$/i.test(headerValue(answer.headers, 'content-encoding'))) return answer
  if (answer.status >= 300) return translatedError(answer)
  const type = headerValue(answer.headers, 'content-type')
  if (!/^application\/vnd\.amazon\.eventstream\b/i.test(type)) return answer
  return withEvents(answer, translatedEvents(answer.body))
}

async function* translatedEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const event of readAwsEvents(body)) {
    if (event.headers.get(':message-type') !== 'event') {
      yield Buffer.from(exceptionText(event))
      return
    }
    if (event.headers.get(':event-type') !== 'chunk') continue
    const { type, text } = readChunk(event)
    yield Buffer.from(`event: ${type}\ndata: ${text}\n\n`)
    if (type === 'message_stop') return
  }
  throw new UpstreamError('broken', 'The event stream ended before the message did')
}

/** An event of Anthropic's, which Bedrock wraps in JSON and base64. */
function readChunk({ payload }: AwsEvent): { readonly type: string; readonly text: string } {
  const wrapped = textOf(parseAnswer(Buffer.from(payload).toString())?.bytes)
  // A line end would end the event's data; outside of strings it means nothing in JSON.
  const text = Buffer.from(wrapped, 'base64')
    .toString()
    .replace(/[\r\n]+/g, ' ')
  const type = textOf(parseAnswer(text)?.type)
  if (/^[a-z_]+$/.test(type)) return { type, text }
  throw new UpstreamError('broken', 'The event stream has an event of an unknown form')
}

function exceptionText({ headers, payload }: AwsEvent): string {
  const name = headers.get(':exception-type') ?? headers.get(':error-code') ?? ''
  const said = textOf(parseAnswer(Buffer.from(payload).toString())?.message)
  const message = said || headers.get(':error-message') || name
  const error = { type: EXCEPTION_TYPES.get(name) ?? 'api_error', message }
  return `event: error\ndata: ${JSON.stringify({ type: 'error', error })}\n\n`
}

async function translatedError(answer: UpstreamResponse): Promise<UpstreamResponse> {
  const body = parseAnswer(await beginningOf(answer.body))
  const message = messageOf(body) || `The provider's API answered ${answer.status}`
  const type = ERROR_TYPES.get(answer.status) ?? 'api_error'
  return withJson(answer, { type: 'error', error: { type, message } })
}

/** AWS spells it both ways. */
function messageOf(body: JsonObject | null): string {
  return textOf(body?.message) || textOf(body?.Message)
}

async function beginningOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > ERROR_BYTES_MAX) break
  }
  return Buffer.concat(chunks).toString()
}

/** The text when the value is one, else ''. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
