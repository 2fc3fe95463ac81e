import type { Failure } from '../core/failure.ts'
import { unreachable } from '../core/unreachable.ts'

/** A token's end is never cut closer than this before requests start to wait for a new one. */
const MANDATORY_MS = 60_000

/** After an answer that was no plain trouble the vendor is left in peace for this long. */
const FLOOR_MS = 15_000

/** Forced refreshes (a refused token, a person's wish) are at least this far apart. */
const FORCED_FLOOR_MS = 30_000

/** When a throttling vendor names no time. */
const THROTTLED_MS = 60_000

/** How often a refusal that an administrator can mend is tried again. */
const PROBE_MS = 900_000

const BACKOFF_FLOOR_MS = 500
const BACKOFF_BASE_MS = 1_000
const BACKOFF_CAP_MS = 60_000

/** Near and after the end of the token, a transient failure is tried again at least this often. */
const URGENT_MS = 2_000

/** When a token is renewed. All instants are wall-clock milliseconds. */
export interface RefreshPlan {
  /** In the background, while the old token serves. */
  readonly dueAtMs: number
  /** From here on requests wait for the new token. */
  readonly mandatoryAtMs: number
  readonly expiresAtMs: number
}

/**
 * Plans the refresh of a fresh token. Everything is scaled by the token's life L, so that an
 * eight-second token lives as well as an hour's: mandatory = min(60 s, L/10) before the end, or what the
 * source says up to L/4; lead = min(source, L/2) but at least twice the usual and one and a half times the source's, jitter at most lead/5, floor = min(15 s, L/4) after the
 * mint. A hint of the vendor's may bring the refresh forward and never puts it off beyond the lead.
 * The jitter is drawn once, here; drawing it again at each check would make everyone refresh at the
 * early edge.
 *
 * Hence issued + floor ≤ due < mandatory < expires, for every life, lead, hint and draw.
 */
export function planRefresh(token: {
  /** From before the request left. */
  readonly issuedAtMs: number
  readonly lifetimeMs: number
  readonly leadMs: number
  /** How long before the end requests begin to wait, by the source; null for min(60 s, L/10). */
  readonly mandatoryMs: number | null
  /** The vendor's own hint, from `issuedAtMs`; null without one. */
  readonly refreshInMs: number | null
  /** Uniform in [0, 1). */
  readonly fraction: number
}): RefreshPlan {
  const { issuedAtMs, lifetimeMs } = token
  const usualMs = Math.min(MANDATORY_MS, lifetimeMs / 10)
  const mandatoryMs = Math.min(token.mandatoryMs ?? usualMs, lifetimeMs / 4)
  const leadMinMs = Math.max(2 * usualMs, 1.5 * mandatoryMs)
  const leadMs = Math.min(Math.max(token.leadMs, leadMinMs), lifetimeMs / 2)
  const hintMs = token.refreshInMs ?? 0
  const advisoryMs = Math.min(lifetimeMs - leadMs, hintMs > 0 ? hintMs : lifetimeMs)
  const afterMs = advisoryMs - (leadMs / 5) * token.fraction
  return {
    dueAtMs: Math.round(issuedAtMs + Math.max(afterMs, floorMs(lifetimeMs))),
    mandatoryAtMs: Math.round(issuedAtMs + lifetimeMs - mandatoryMs),
    expiresAtMs: Math.round(issuedAtMs + lifetimeMs),
  }
}

/**
 * Plans the next attempt when the vendor handed out the token that we had: normal for sources that
 * cache theirs, so it is asked again as the end comes nearer.
 */
export function planSameToken(nowMs: number, token: Life): number {
  const remainingMs = Math.max(0, token.expiresAtMs - nowMs)
  return Math.round(nowMs + Math.max(floorMs(lifeMs(token)), remainingMs / 6))
}

/**
 * Plans the attempt after a failure; null when none comes by itself.
 *
 * Transient failures back off with full jitter, but the next attempt is never later than a quarter
 * of the life that remains, and within the last tenth and after the end it is at most 2 s away. A
 * time that the vendor named in `Retry-After` is kept in any case. A vendor that throttles without
 * naming one, and whoever answers with something that is no token, is left in peace for the floor
 * that also follows a success, for asking more often makes neither better.
 */
export function planRetry(attempt: {
  readonly failure: Failure
  readonly nowMs: number
  /** The current token's life; null without a token. */
  readonly token: Life | null
  /** Failures in a row, this one included. */
  readonly consecutiveFailures: number
  /** Uniform in [0, 1). */
  readonly fraction: number
}): number | null {
  const { failure, nowMs, fraction } = attempt
  switch (failure.class) {
    case 'P':
    case 'S':
    case 'C':
      return null
    case 'Q':
      return Math.round(nowMs + PROBE_MS * (0.9 + 0.2 * fraction))
    case 'H':
      return Math.round(nowMs + throttledWaitMs(attempt))
    case 'X':
      return Math.round(nowMs + peacefulWaitMs(attempt, backoffMs(attempt, FLOOR_MS)))
    case 'T':
      return Math.round(
        nowMs + Math.min(backoffMs(attempt, BACKOFF_BASE_MS), patienceMs(attempt, URGENT_MS)),
      )
    default:
      return unreachable(failure.class)
  }
}

/** Whether there is no token, or only the last tenth of its life is left. */
export function isUrgent(token: Life | null, nowMs: number): boolean {
  return token === null || token.expiresAtMs - nowMs <= lifeMs(token) / 10
}

/**
 * Whether a token is so near its end that it must be renewed now with whatever material works, be
 * newer material waiting to be tried or not.
 */
export function isRenewalPressing(
  credential: { readonly token: Life | null; readonly mandatoryAtMs: number },
  nowMs: number,
): boolean {
  return nowMs >= pressingAtMs(credential)
}

/** From when on {@link isRenewalPressing} holds; the beginning of time without a token. */
export function pressingAtMs(credential: {
  readonly token: Life | null
  readonly mandatoryAtMs: number
}): number {
  const { token, mandatoryAtMs } = credential
  if (token === null) return 0
  return mandatoryAtMs - (token.expiresAtMs - mandatoryAtMs) / 2
}

/**
 * The earliest instant of the next forced refresh of a credential: min(30 s, L/4) after the last, and
 * never before the time that a throttling vendor named.
 */
export function nextForcedAtMs(credential: {
  readonly lastForcedAtMs: number
  readonly token: Life | null
  readonly failure: Failure | null
  readonly dueAtMs: number | null
}): number {
  const { lastForcedAtMs, token, failure, dueAtMs } = credential
  const floorAtMs =
    lastForcedAtMs + Math.min(FORCED_FLOOR_MS, token === null ? Infinity : lifeMs(token) / 4)
  const isThrottled = failure !== null && failure.class === 'H' && failure.retryAfterMs > 0
  return Math.round(isThrottled ? Math.max(floorAtMs, dueAtMs ?? 0) : floorAtMs)
}

/** A token's two ends. */
interface Life {
  readonly issuedAtMs: number
  readonly expiresAtMs: number
}

type Attempt = Parameters<typeof planRetry>[0]

function lifeMs(token: Life): number {
  return token.expiresAtMs - token.issuedAtMs
}

function floorMs(lifetimeMs: number): number {
  return Math.min(FLOOR_MS, lifetimeMs / 4)
}

function throttledWaitMs(attempt: Attempt): number {
  const namedMs = attempt.failure.retryAfterMs
  if (namedMs > 0) return Math.max(BACKOFF_FLOOR_MS, namedMs + BACKOFF_BASE_MS * attempt.fraction)
  return peacefulWaitMs(attempt, THROTTLED_MS * (1 - attempt.fraction / 5))
}

/** The wait that was asked for, but within the life that remains and never below the floor. */
function peacefulWaitMs(attempt: Attempt, waitMs: number): number {
  const { token, nowMs } = attempt
  const isLiving = token !== null && token.expiresAtMs > nowMs
  const peaceMs = isLiving ? Math.max(floorMs(lifeMs(token)), BACKOFF_FLOOR_MS) : FLOOR_MS
  return Math.max(peaceMs, Math.min(waitMs, patienceMs(attempt, peaceMs)))
}

function backoffMs(attempt: Attempt, baseMs: number): number {
  const doublings = Math.min(attempt.consecutiveFailures - 1, 16)
  const spanMs = Math.min(BACKOFF_CAP_MS, baseMs * 2 ** doublings)
  return Math.max(BACKOFF_FLOOR_MS, spanMs * attempt.fraction)
}

/** How long an attempt may be put off, given the life that remains. */
function patienceMs(attempt: Attempt, urgentMs: number): number {
  const { token, nowMs } = attempt
  if (token === null || isUrgent(token, nowMs)) return urgentMs
  return Math.max((token.expiresAtMs - nowMs) / 4, BACKOFF_FLOOR_MS)
}
