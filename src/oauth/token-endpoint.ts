import { Secret } from '../core/secret.ts'
import { Cancellation } from '../system/cancellation.ts'
import type { FetchResponse } from '../system/fetch.ts'
import { signAssertion } from './assertion.ts'
import { outcomeUnknownFailure, unreachableFailure } from './refusal.ts'
import { scrub } from './scrub.ts'
import type {
  InputIo,
  InputValue,
  JsonValue,
  Refused,
  RequestValue,
  TokenAnswer,
  TokenRequest,
} from './token-request.ts'

/** Errors that come before the first byte of a request leaves. */
const UNSENT: ReadonlySet<string> = new Set([
  ...['ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH', 'ENETDOWN', 'EADDRNOTAVAIL'],
  ...['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL', 'UND_ERR_CONNECT_TIMEOUT'],
])

/** Token answers are a few kilobytes; what is larger is no token answer. */
const BODY_BYTES_MAX = 1_048_576

/**
 * Sends a token request: only I/O, no judgement. Answers a failure when an input could not be had or
 * no answer came, which leaves open whether what may be spent only once is spent; rejects only when
 * `signal` aborted.
 */
export async function sendTokenRequest(
  io: InputIo,
  request: TokenRequest,
  signal: AbortSignal,
): Promise<TokenAnswer | Refused> {
  const resolved = await resolveRequest(io, request, signal)
  if (resolved.kind === 'failed') return resolved
  const { sent, headers, body } = resolved
  const startedMs = io.clock.monotonicMs()
  const deadline = new AbortController()
  const stopTimer = new Cancellation()
  void io.clock.sleep(request.timeoutMs, stopTimer).then(() => {
    if (!stopTimer.aborted) deadline.abort()
  })
  try {
    const response = await io.fetch({
      method: request.method,
      url: request.url.href,
      headers,
      body,
      signal: AbortSignal.any([signal, deadline.signal]),
    })
    const answered = await readBody(response)
    return {
      kind: 'answer',
      status: response.status,
      headers: response.headers,
      body: answered,
      elapsedMs: io.clock.monotonicMs() - startedMs,
      sent,
    }
  } catch (error) {
    if (signal.aborted || !(error instanceof Error)) throw error
    const reason = deadline.signal.aborted
      ? `no complete answer within ${request.timeoutMs / 1_000} s`
      : scrub(networkReason(error), sent)
    const failure = unreachableFailure(request.url.host, reason)
    const isUnknown = request.singleUse !== null && !UNSENT.has(reason)
    return { kind: 'failed', failure: isUnknown ? outcomeUnknownFailure(failure) : failure }
  } finally {
    stopTimer.abort('answered')
  }
}

interface Resolved {
  readonly kind: 'resolved'
  readonly headers: ReadonlyMap<string, string>
  readonly body: Uint8Array | null
  readonly sent: readonly Secret[]
}

/** Makes and reads whatever is to be sent; the first input that cannot be had ends it. */
async function resolveRequest(
  io: InputIo,
  request: TokenRequest,
  signal: AbortSignal,
): Promise<Resolved | Refused> {
  const sent: Secret[] = []
  const text = async (value: RequestValue): Promise<string | Refused> => {
    if (typeof value === 'string') return value
    const read = await secretOf(io, value, signal)
    if (read.kind === 'failed') return read
    sent.push(read.value)
    return read.value.reveal()
  }
  const headers = new Map([['accept', 'application/json']])
  for (const [name, value] of request.headers) {
    const read = await text(value)
    if (typeof read !== 'string') return read
    headers.set(name, read)
  }
  const { body } = request
  if (body.kind === 'none') return { kind: 'resolved', headers, body: null, sent }
  const form = new URLSearchParams()
  const members: Record<string, JsonValue> = {}
  for (const [name, value] of body.kind === 'form' ? body.fields : body.members) {
    const read = isRequestValue(value) ? await text(value) : value
    if (isRefused(read)) return read
    if (body.kind === 'form') form.append(name, String(read))
    else members[name] = read
  }
  const isForm = body.kind === 'form'
  headers.set('content-type', isForm ? 'application/x-www-form-urlencoded' : 'application/json')
  const bytes = Buffer.from(isForm ? form.toString() : JSON.stringify(members))
  return { kind: 'resolved', headers, body: bytes, sent }
}

async function secretOf(
  io: InputIo,
  value: Exclude<RequestValue, string>,
  signal: AbortSignal,
): Promise<InputValue | Refused> {
  if (value instanceof Secret) return { kind: 'value', value }
  if (value.kind === 'input') return value.read(io, signal)
  return { kind: 'value', value: await signAssertion(value, io.random) }
}

function isRequestValue(value: RequestValue | JsonValue): value is RequestValue {
  if (typeof value === 'string' || value instanceof Secret) return true
  return typeof value === 'object' && 'kind' in value && isKind(value.kind)
}

function isKind(kind: unknown): boolean {
  return kind === 'assertion' || kind === 'input'
}

function isRefused(value: JsonValue | Refused): value is Refused {
  return typeof value === 'object' && 'kind' in value && value.kind === 'failed'
}

async function readBody(response: FetchResponse): Promise<Uint8Array | null> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body) {
    bytes += chunk.byteLength
    // Leaving the loop cancels the rest of the body.
    if (bytes > BODY_BYTES_MAX) return null
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** The bare reason of a network error: its code where it has one, never what a peer sent. */
function networkReason(error: Error): string {
  const inner = error.cause instanceof Error ? error.cause : error
  const code = 'code' in inner ? String(inner.code) : ''
  return code === '' ? inner.message : code
}
