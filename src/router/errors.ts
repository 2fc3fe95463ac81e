import type { RouteFailure } from '../core/bundle.ts'
import { unreachable } from '../core/unreachable.ts'
import { UpstreamError } from './exchange.ts'

/** Whose error format an agent reads. */
export type Dialect = 'anthropic' | 'openai' | 'openai_responses' | 'aws' | 'watsonx' | 'google'

interface ErrorKind {
  readonly status: number
  /** The `type` that each dialect's clients know for such an error. */
  readonly anthropic: string
  readonly openai: string
}

/**
 * Every error the router itself answers, by stable code. The code stands in `x-openshell-error`,
 * is part of the API and is never reused.
 */
const ERROR_KINDS = {
  not_found: { status: 404, anthropic: 'not_found_error', openai: 'invalid_request_error' },
  method_not_allowed: {
    status: 405,
    anthropic: 'invalid_request_error',
    openai: 'invalid_request_error',
  },
  origin_forbidden: { status: 403, anthropic: 'permission_error', openai: 'invalid_request_error' },
  bad_request: { status: 400, anthropic: 'invalid_request_error', openai: 'invalid_request_error' },
  body_too_large: { status: 413, anthropic: 'request_too_large', openai: 'invalid_request_error' },
  protocol_unsupported: {
    status: 400,
    anthropic: 'invalid_request_error',
    openai: 'invalid_request_error',
  },
  inference_not_configured: { status: 503, anthropic: 'api_error', openai: 'server_error' },
  gateway_unreachable: { status: 503, anthropic: 'api_error', openai: 'server_error' },
  route_unavailable: { status: 503, anthropic: 'api_error', openai: 'server_error' },
  credential_missing: { status: 503, anthropic: 'api_error', openai: 'server_error' },
  credential_expired: { status: 503, anthropic: 'api_error', openai: 'server_error' },
  credential_rejected: { status: 503, anthropic: 'api_error', openai: 'server_error' },
  upstream_unreachable: { status: 502, anthropic: 'api_error', openai: 'server_error' },
  upstream_broken: { status: 502, anthropic: 'api_error', openai: 'server_error' },
  upstream_timeout: { status: 504, anthropic: 'timeout_error', openai: 'server_error' },
  internal: { status: 500, anthropic: 'api_error', openai: 'server_error' },
} as const satisfies Readonly<Record<string, ErrorKind>>

/** The exception that AWS SDKs know for such a status; those for 5xx make them try again. */
const AWS_EXCEPTIONS: ReadonlyMap<number, string> = new Map([
  [403, 'AccessDeniedException'],
  [404, 'ResourceNotFoundException'],
  [500, 'InternalServerException'],
  [502, 'ServiceUnavailableException'],
  [503, 'ServiceUnavailableException'],
  [504, 'ModelTimeoutException'],
])

/** The names of google.rpc.Code for such a status, which Google's SDKs show. */
const GOOGLE_STATUSES: ReadonlyMap<number, string> = new Map([
  [400, 'INVALID_ARGUMENT'],
  [403, 'PERMISSION_DENIED'],
  [404, 'NOT_FOUND'],
  [405, 'UNIMPLEMENTED'],
  [413, 'INVALID_ARGUMENT'],
  [500, 'INTERNAL'],
  [502, 'UNAVAILABLE'],
  [503, 'UNAVAILABLE'],
  [504, 'DEADLINE_EXCEEDED'],
])

/** An attempt that is due now may be over in this time. */
const DUE_MS = 2_000

/** Nothing changes before a person acts, and agents should not knock all the time meanwhile. */
const PERSON_MS = 60_000

/** The router's own error codes. */
export type RouterErrorCode = keyof typeof ERROR_KINDS

/** Optional parts of a {@link RouterError}. */
export interface RouterErrorOptions {
  /** How long the agent should wait before it tries again; 0 when waiting does not help. */
  readonly retryAfterMs?: number
  /** The methods that the path does take, for 405. */
  readonly allow?: string
  /** Shown in `x-openshell-error` instead of the code, for a failure that has its own. */
  readonly failureCode?: string
  /** Logged, never sent. */
  readonly cause?: unknown
}

/** An error that the agent is told, in sentences that say what to do. Holds no secret. */
export class RouterError extends Error {
  readonly code: RouterErrorCode
  readonly status: number
  readonly retryAfterMs: number
  readonly allow: string
  /** What `x-openshell-error` says. */
  readonly shownCode: string

  constructor(code: RouterErrorCode, message: string, options: RouterErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'RouterError'
    this.code = code
    this.status = ERROR_KINDS[code].status
    this.retryAfterMs = options.retryAfterMs ?? 0
    this.allow = options.allow ?? ''
    const failureCode = options.failureCode ?? ''
    // The code comes from the gateway and becomes a header: only a plain token may.
    this.shownCode = /^[A-Za-z0-9_.-]{1,64}$/.test(failureCode) ? failureCode : code
  }
}

/** An answer that is complete in itself. Header list as in an exchange. */
export interface WholeAnswer {
  readonly status: number
  readonly headers: readonly string[]
  readonly body: Uint8Array
}

/** The answer that tells an agent about an error. */
export function errorAnswer(dialect: Dialect, error: RouterError): WholeAnswer {
  const body = Buffer.from(errorJson(dialect, error))
  const headers = [
    'content-type',
    'application/json',
    'content-length',
    String(body.length),
    'cache-control',
    'no-store',
    'x-openshell-error',
    error.shownCode,
  ]
  if (dialect === 'aws') headers.push('x-amzn-errortype', awsException(error))
  if (error.retryAfterMs > 0) {
    headers.push('retry-after', String(Math.ceil(error.retryAfterMs / 1_000)))
  }
  if (error.allow !== '') headers.push('allow', error.allow)
  return { status: error.status, headers, body }
}

/**
 * The event that tells the reader of an SSE stream that it broke. It begins with a blank line, so
 * that it stands alone also when the stream broke in the middle of an event.
 */
export function errorEvent(dialect: Dialect, error: RouterError): Uint8Array {
  const isNamed = dialect === 'anthropic' || dialect === 'openai_responses'
  const name = isNamed ? 'event: error\n' : ''
  // The readers of Responses go by each event's `type`.
  const json =
    dialect === 'openai_responses'
      ? JSON.stringify({ type: 'error', ...openaiError(error) })
      : errorJson(dialect, error)
  return Buffer.from(`\n\n${name}data: ${json}\n\n`)
}

/** The error for a route that the gateway could not resolve. */
export function routeUnavailable(failure: RouteFailure, nowMs: number): RouterError {
  return new RouterError('route_unavailable', describeFailure(failure, nowMs), {
    failureCode: failure.code,
    retryAfterMs: comeBackMs(failure, nowMs),
  })
}

/** When an agent should come again: with the next attempt, or when a person may have seen to it. */
function comeBackMs({ nextAttemptAtMs }: RouteFailure, nowMs: number): number {
  if (nextAttemptAtMs === 0) return PERSON_MS
  return Math.max(nextAttemptAtMs - nowMs, DUE_MS)
}

/** The error for an upstream that gave no answer, or broke one off. */
export function upstreamFailure(error: unknown): RouterError {
  if (error instanceof RouterError) return error
  if (error instanceof UpstreamError && error.kind === 'connect') {
    return new RouterError(
      'upstream_unreachable',
      "Cannot connect to the provider's API. Check its address and the network, then try again",
      { cause: error },
    )
  }
  return new RouterError(
    'upstream_broken',
    "The provider's API broke the connection off before its answer was complete. Try again",
    { cause: error },
  )
}

/** A failure for people: which provider, why, since when, and when the next attempt is due. */
export function describeFailure(failure: RouteFailure, nowMs: number): string {
  const since = failure.sinceMs > 0 ? ` since ${instant(failure.sinceMs)}` : ''
  const next =
    failure.nextAttemptAtMs === 0
      ? 'it needs a person: run "openshell provider refresh status"'
      : `the next attempt is due ${failure.nextAttemptAtMs > nowMs ? `at ${instant(failure.nextAttemptAtMs)}` : 'now'}`
  // A vendor's words often end with a period; the sentence goes on.
  const message = failure.message.replace(/\.$/, '')
  return `Provider "${failure.providerName}" cannot serve${since}: ${message}; ${next}`
}

/** An instant for people, RFC 3339. */
export function instant(atMs: number): string {
  return new Date(atMs).toISOString()
}

function errorJson(dialect: Dialect, error: RouterError): string {
  const kind = ERROR_KINDS[error.code]
  const { message } = error
  switch (dialect) {
    case 'anthropic':
      return JSON.stringify({ type: 'error', error: { type: kind.anthropic, message } })
    case 'openai':
    case 'openai_responses':
      return JSON.stringify(openaiError(error))
    case 'aws':
      return JSON.stringify({ message })
    case 'watsonx':
      return JSON.stringify({
        errors: [{ code: error.shownCode, message }],
        trace: '',
        status_code: error.status,
      })
    case 'google':
      return JSON.stringify({
        error: {
          code: error.status,
          message,
          status: GOOGLE_STATUSES.get(error.status) ?? 'UNKNOWN',
        },
      })
    default:
      return unreachable(dialect)
  }
}

function openaiError({ code, shownCode, message }: RouterError): object {
  return { error: { message, type: ERROR_KINDS[code].openai, code: shownCode, param: null } }
}

function awsException(error: RouterError): string {
  return AWS_EXCEPTIONS.get(error.status) ?? 'ValidationException'
}
