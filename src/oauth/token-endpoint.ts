import type { Failure } from '../core/failure.ts'
import { Secret } from '../core/secret.ts'
import type { Clock } from '../system/clock.ts'
import type { Fetch, FetchResponse } from '../system/fetch.ts'
import { signAssertion } from './assertion.ts'
import { unreachableFailure } from './refusal.ts'
import { scrub } from './scrub.ts'
import type { FormValue, TokenRequest } from './token-request.ts'

/** One deadline over connecting, headers and the whole body. */
const TIMEOUT_MS = 10_000

/** Token answers are a few kilobytes; what is larger is no token answer. */
const BODY_BYTES_MAX = 1_048_576

/** What a token endpoint answered, read whole and not yet judged. */
export interface TokenAnswer {
  readonly kind: 'answer'
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  /** Null when the body was larger than 1 MiB. */
  readonly body: Uint8Array | null
  /** Monotonic time from before the request to after the body. */
  readonly elapsedMs: number
  /** What was sent, so that it can be scrubbed from whatever came back. */
  readonly sent: readonly Secret[]
}

/** No answer came. */
export interface NoAnswer {
  readonly kind: 'failed'
  readonly failure: Failure
}

/** Sends a token request: only I/O, no judgement. Rejects only when `signal` aborted. */
export async function sendTokenRequest(
  deps: { readonly fetch: Fetch; readonly clock: Clock },
  request: TokenRequest,
  signal: AbortSignal,
): Promise<TokenAnswer | NoAnswer> {
  const sent: Secret[] = []
  const form = new URLSearchParams()
  for (const [name, value] of request.form) form.append(name, await formText(value, sent))
  const startedMs = deps.clock.monotonicMs()
  const deadline = new AbortController()
  const stopTimer = new AbortController()
  void deps.clock.sleep(TIMEOUT_MS, stopTimer.signal).then(() => deadline.abort())
  try {
    const response = await deps.fetch({
      method: 'POST',
      url: request.url.href,
      headers: new Map([
        ['content-type', 'application/x-www-form-urlencoded'],
        ['accept', 'application/json'],
      ]),
      body: Buffer.from(form.toString()),
      signal: AbortSignal.any([signal, deadline.signal]),
    })
    const body = await readBody(response)
    const elapsedMs = deps.clock.monotonicMs() - startedMs
    return {
      kind: 'answer',
      status: response.status,
      headers: response.headers,
      body,
      elapsedMs,
      sent,
    }
  } catch (error) {
    if (signal.aborted || !(error instanceof Error)) throw error
    const reason = deadline.signal.aborted
      ? `no complete answer within ${TIMEOUT_MS / 1_000} s`
      : scrub(networkReason(error), sent)
    return { kind: 'failed', failure: unreachableFailure(request.url.host, reason) }
  } finally {
    stopTimer.abort()
  }
}

async function formText(value: FormValue, sent: Secret[]): Promise<string> {
  if (typeof value === 'string') return value
  const secret = value instanceof Secret ? value : await signAssertion(value)
  sent.push(secret)
  return secret.reveal()
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
