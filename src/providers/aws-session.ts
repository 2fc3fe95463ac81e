import type { Failure } from '../core/failure.ts'
import { Secret } from '../core/secret.ts'
import type { SigningKeys } from '../core/sigv4.ts'
import { answeredAtMs } from '../oauth/instant.ts'
import {
  breachFailure,
  parseRetryAfterMs,
  serverTroubleFailure,
  throttledFailure,
} from '../oauth/refusal.ts'
import type { Minted, Refused, TokenAnswer } from '../oauth/token-request.ts'

/** The longest session that a role can have. */
const LIFETIME_MS_MAX = 43_200_000

/** A server clock that is further off is a lie. */
const OFFSET_MS_MAX = 86_400_000

const LEAD_MS = 900_000
const MANDATORY_MS = 600_000

/** Session keys as an AWS endpoint answers with them, whatever it calls them. */
export interface SessionAnswer {
  readonly accessKeyId: unknown
  readonly secretAccessKey: unknown
  readonly sessionToken: unknown
  readonly expiration: unknown
}

/** How long before its end a session is renewed: a quarter of an hour, as the AWS SDKs do. */
export function sessionLeadMs(lifetimeMs: number): number {
  return Math.min(LEAD_MS, lifetimeMs / 4)
}

/** From when on requests wait for the next session: ten minutes before the end, as botocore has it. */
export function sessionMandatoryMs(lifetimeMs: number): number {
  return Math.min(MANDATORY_MS, lifetimeMs / 6)
}

/** A minted token that is session keys, in the JSON that a router signs with. */
export function mintedSession(
  session: SessionAnswer,
  answer: TokenAnswer,
  nowMs: number,
): Minted | Refused {
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = session
  if (!isWord(accessKeyId) || !isWord(secretAccessKey) || !isWord(sessionToken)) {
    return breach('aws_incomplete_keys', 'AWS answered without a complete set of session keys')
  }
  const expiresAtMs = parseInstant(expiration)
  if (expiresAtMs === null) {
    return breach('aws_unusable_expiration', 'AWS answered with an unusable Expiration')
  }
  const lifetimeMs = expiresAtMs - serverNowMs(answer, nowMs)
  if (lifetimeMs <= 0) {
    return breach('aws_expired_keys', 'AWS answered with session keys that have expired already')
  }
  return {
    kind: 'minted',
    token: new Secret(JSON.stringify({ accessKeyId, secretAccessKey, sessionToken })),
    lifetimeMs: Math.min(lifetimeMs, LIFETIME_MS_MAX),
    refreshInMs: null,
    rotated: new Map(),
  }
}

/** The keys in a token that {@link mintedSession} made. */
export function sessionKeys(token: Secret): SigningKeys {
  const { accessKeyId, secretAccessKey, sessionToken } = JSON.parse(token.reveal())
  return {
    accessKeyId,
    secretAccessKey: new Secret(secretAccessKey),
    sessionToken: new Secret(sessionToken),
  }
}

/** What the status alone says of an answer: a redirect, throttling or trouble; null otherwise. */
export function statusFailure(answer: TokenAnswer, nowMs: number): Failure | null {
  const { status, headers } = answer
  if (status >= 300 && status < 400) {
    return breachFailure('oauth_redirected', `AWS answered ${status}, a redirect`)
  }
  const retryAfter = headers.get('retry-after')
  if (status === 429 || (status >= 400 && retryAfter !== undefined)) {
    return throttledFailure(status, parseRetryAfterMs(retryAfter, answeredAtMs(answer, nowMs)))
  }
  return status === 408 || status >= 500 ? serverTroubleFailure(status) : null
}

/** An answer that should have been keys and is not. */
export function breach(code: string, message: string): Refused {
  return { kind: 'failed', failure: breachFailure(code, message) }
}

/** What a header can carry: `new Headers` would quote anything else in its error. */
export function isWord(value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]{1,16384}$/.test(value)
}

/** RFC 3339 with a zone: without one JavaScript would take the gateway's own. */
function parseInstant(value: unknown): number | null {
  const pattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/
  if (typeof value !== 'string' || !pattern.test(value)) return null
  const atMs = Date.parse(value)
  return Number.isNaN(atMs) ? null : atMs
}

/**
 * The server's clock when it answered, by its `Date` where that is to be believed. A `Date` has whole
 * seconds; our own time decides within that second.
 */
function serverNowMs({ headers }: TokenAnswer, nowMs: number): number {
  const dateMs = Date.parse(headers.get('date') ?? '')
  const isSane = Math.abs(dateMs - nowMs) <= OFFSET_MS_MAX && !headers.has('age')
  return isSane ? Math.min(Math.max(nowMs, dateMs), dateMs + 999) : nowMs
}
