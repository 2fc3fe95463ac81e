import { RouterError } from '../errors.ts'
import type { UpstreamResponse } from '../exchange.ts'
import { headerValue } from '../rewrite.ts'
import { type EventTranslation, translateEvents } from './event-stream.ts'
import { type JsonObject, parseAnswer } from './json.ts'

/** A vendor's error, as far as it could be read. */
export interface VendorError {
  /** The vendor's own code; '' when it gave none. */
  readonly code: string
  readonly message: string
}

/** How a vendor's answers are put into OpenAI's dialect. */
export interface AnswerTranslation {
  readonly readError: (body: JsonObject) => VendorError | null
  /** A whole answer of status 200; null when it is not one that the vendor promises. */
  readonly whole: (body: JsonObject) => JsonObject | null
  /** A stream's events; null where nothing is streamed. */
  readonly events: (() => EventTranslation) | null
}

/** Answers are held whole in memory up to this size. */
const ANSWER_BYTES_MAX = 64 * 1024 * 1024

/** Headers that describe bytes which the agent will not get. */
const REPLACED = ['content-type', 'content-length', 'content-encoding', 'etag', 'content-md5']

/**
 * Puts an upstream's answer into OpenAI's dialect.
 *
 * @throws RouterError `upstream_broken` when a success is not what the vendor promises.
 */
export async function translateAnswer(
  answer: UpstreamResponse,
  translation: AnswerTranslation,
): Promise<UpstreamResponse> {
  const encoding = headerValue(answer.headers, 'content-encoding')
  if (!/^(identity)?$/i.test(encoding)) throw unreadable(`compressed as ${encoding}`)
  const isSuccess = answer.status >= 200 && answer.status < 300
  const type = headerValue(answer.headers, 'content-type')
  if (isSuccess && translation.events !== null && /^text\/event-stream\b/i.test(type)) {
    return withEvents(answer, translateEvents(answer.body, translation.events()))
  }
  const body = parseAnswer(await textOfBody(answer))
  if (!isSuccess) {
    const said = body === null ? null : translation.readError(body)
    const plain = { code: '', message: `The provider's API answered ${answer.status}` }
    return withJson(answer, errorBody(said ?? plain, answer.status))
  }
  if (translation.events !== null) throw unreadable('no event stream')
  const whole = body === null ? null : translation.whole(body)
  if (whole === null) throw unreadable('of an unknown form')
  return withJson(answer, whole)
}

/** An error as OpenAI's clients read it. */
export function errorBody({ code, message }: VendorError, status: number): JsonObject {
  return { error: { message, type: errorType(status), param: null, code: code || null } }
}

/** The error for an answer that is not what the vendor promises. */
function unreadable(what: string): RouterError {
  return new RouterError(
    'upstream_broken',
    `The provider's API gave an answer that cannot be translated: it is ${what}`,
  )
}

function errorType(status: number): string {
  if (status === 401) return 'authentication_error'
  if (status === 403) return 'permission_error'
  if (status === 429) return 'rate_limit_error'
  return status >= 500 ? 'server_error' : 'invalid_request_error'
}

/** The answer with another body: a stream of server-sent events. */
export function withEvents(
  answer: UpstreamResponse,
  body: AsyncIterable<Uint8Array>,
): UpstreamResponse {
  const headers = [...kept(answer.headers), 'content-type', 'text/event-stream; charset=utf-8']
  return { ...answer, headers, body }
}

/** The answer with another body: one JSON object. */
export function withJson(answer: UpstreamResponse, value: JsonObject): UpstreamResponse {
  const bytes = Buffer.from(JSON.stringify(value))
  async function* body(): AsyncGenerator<Uint8Array> {
    yield bytes
  }
  const framing = ['content-type', 'application/json', 'content-length', String(bytes.length)]
  return { ...answer, headers: [...kept(answer.headers), ...framing], body: body() }
}

async function textOfBody({ body }: UpstreamResponse): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > ANSWER_BYTES_MAX) throw unreadable('too large')
    chunks.push(chunk)
  }
  return new TextDecoder().decode(Buffer.concat(chunks))
}

function kept(headers: readonly string[]): readonly string[] {
  const names = headers.filter((_, at) => at % 2 === 0)
  return names.flatMap((name, at) =>
    REPLACED.includes(name.toLowerCase()) ? [] : [name, headers[at * 2 + 1] ?? ''],
  )
}
