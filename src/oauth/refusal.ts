import type { Failure, FailureClass, RecoveryAction } from '../core/failure.ts'
import type { Secret } from '../core/secret.ts'
import { scrub } from './scrub.ts'
import type { RefusalRule } from './token-request.ts'

/** When a throttling server names no time, or an absurd one. */
const RETRY_AFTER_MS_MAX = 3_600_000

/** The parts of an OAuth error answer (RFC 6749 §5.2) that decide what it means. */
export interface OAuthError {
  readonly error: string
  readonly description: string
  readonly subtype: string
}

interface Meaning {
  readonly class: FailureClass
  readonly code: string
  readonly advice: string
  readonly recoveryAction: RecoveryAction
}

const RETRY: Meaning = {
  class: 'T',
  code: 'oauth_token_endpoint_retryable',
  advice: 'Nothing to do, the gateway tries again by itself',
  recoveryAction: 'retry',
}

const FIX: Omit<Meaning, 'code'> = {
  class: 'P',
  advice: "Check the credential and its configuration, then run 'openshell provider update'",
  recoveryAction: 'fix_configuration',
}

const ASK: Omit<Meaning, 'code'> = {
  class: 'Q',
  advice: 'Ask the administrator of the account to allow this credential',
  recoveryAction: 'fix_configuration',
}

/** RFC 6749 §5.2 and the codes that vendors commonly add to it. */
const MEANINGS: ReadonlyMap<string, Meaning> = new Map([
  ['invalid_grant', { ...FIX, code: 'oauth_invalid_grant' }],
  ['invalid_client', { ...FIX, code: 'oauth_invalid_client' }],
  ['unauthorized_client', { ...FIX, code: 'oauth_unauthorized_client' }],
  ['invalid_scope', { ...FIX, code: 'oauth_invalid_scope' }],
  ['invalid_request', { ...FIX, code: 'oauth_invalid_request' }],
  ['unsupported_grant_type', { ...FIX, code: 'oauth_unsupported_grant_type' }],
  ['access_denied', { ...ASK, code: 'oauth_access_denied' }],
  ['server_error', RETRY],
  ['temporarily_unavailable', RETRY],
  ['internal_failure', RETRY],
])

const UNKNOWN: Meaning = {
  class: 'Q',
  code: 'oauth_unrecognized_error',
  advice: 'Look at the vendor’s message; the gateway probes again from time to time',
  recoveryAction: 'investigate',
}

/** What an OAuth error means: the vendor's own rules first, then the general table. */
export function refusalFailure(
  refusal: OAuthError,
  options: {
    readonly status: number
    readonly rules: readonly RefusalRule[]
    readonly sent: readonly Secret[]
  },
): Failure {
  const words = `${refusal.description} ${refusal.subtype}`
  const rule = options.rules.find(
    one =>
      (one.error === null || one.error === refusal.error) &&
      (one.pattern === null || one.pattern.test(words)),
  )
  // Google puts the code of passing trouble into the description, too.
  const isPassing = MEANINGS.get(refusal.description) === RETRY
  const meaning = rule ?? (isPassing ? RETRY : MEANINGS.get(refusal.error)) ?? UNKNOWN
  const said =
    refusal.description === '' ? refusal.error : `${refusal.error}: ${refusal.description}`
  return {
    class: meaning.class,
    code: meaning.code,
    message: `Token endpoint answered ${options.status}, ${scrub(said, options.sent)}`,
    advice: meaning.advice,
    recoveryAction: meaning.recoveryAction,
    retryAfterMs: 0,
  }
}

/** The server could not be reached or did not finish its answer. */
export function unreachableFailure(host: string, reason: string): Failure {
  return {
    ...RETRY,
    code: UNAVAILABLE,
    message: `Cannot reach token endpoint "${host}": ${reason}`,
    retryAfterMs: 0,
  }
}

/** Whether a token endpoint could not be reached, or is in trouble itself. */
export function isEndpointTrouble({ code }: Failure): boolean {
  return code === RETRY.code || code === UNAVAILABLE || code === OUTCOME_UNKNOWN
}

const UNAVAILABLE = 'oauth_token_endpoint_unavailable'

/** The code of a failure after which nobody knows whether a single-use input was taken. */
const OUTCOME_UNKNOWN = 'oauth_outcome_unknown'

/** The same failure, when what was sent may be spent only once. */
export function outcomeUnknownFailure(failure: Failure): Failure {
  return { ...failure, code: OUTCOME_UNKNOWN }
}

/** Whether nobody knows if what may be spent only once was taken. */
export function isOutcomeUnknown(failure: Failure): boolean {
  return failure.code === OUTCOME_UNKNOWN
}

/** The end of something that may be spent only once and was sent too often without an answer. */
export function spentFailure(failure: Pick<Failure, 'message'>): Failure {
  return {
    class: 'P',
    code: OUTCOME_UNKNOWN,
    message: failure.message,
    advice: 'Sign in again and store the new refresh token: the old one may be spent',
    recoveryAction: 'reauthorize',
    retryAfterMs: 0,
  }
}

/** The server is there but in trouble (408, 5xx). */
export function serverTroubleFailure(status: number): Failure {
  return { ...RETRY, message: `Token endpoint answered ${status}`, retryAfterMs: 0 }
}

/** The server asks for patience. `retryAfterMs` 0 means that it named no time. */
export function throttledFailure(status: number, retryAfterMs: number): Failure {
  return {
    class: 'H',
    code: 'oauth_token_endpoint_throttled',
    message: `Token endpoint answered ${status} and asks to wait`,
    advice: 'Nothing to do, the gateway waits as long as the vendor asks',
    recoveryAction: 'retry',
    retryAfterMs,
  }
}

/** An answer that is not a token, though it should be one. It is never stored. */
export function breachFailure(code: string, message: string): Failure {
  return {
    class: 'X',
    code,
    message,
    advice: 'Check that no proxy or captive portal stands between the gateway and the vendor',
    recoveryAction: 'investigate',
    retryAfterMs: 0,
  }
}

/**
 * Reads `Retry-After` (RFC 9110 §10.2.3): seconds or an HTTP date, held to one hour. 0 when it is
 * absent, past or unreadable. `nowMs` is the server's time when it answered, by its own `Date` if that
 * is sane, for a date of its clock means nothing on ours.
 */
export function parseRetryAfterMs(value: string | undefined, nowMs: number): number {
  if (value === undefined) return 0
  const text = value.trim()
  // Date.parse alone takes almost anything for a date: "2099", even "-5".
  const atMs = / GMT$/.test(text) ? Date.parse(text) : Number.NaN
  const waitMs = /^\d+$/.test(text) ? Number(text) * 1_000 : atMs - nowMs
  return Number.isFinite(waitMs) && waitMs > 0 ? Math.min(waitMs, RETRY_AFTER_MS_MAX) : 0
}
