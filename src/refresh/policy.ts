import type { Failure } from '../core/failure.ts'
import { unreachable } from '../core/unreachable.ts'

/** A token's end is never cut closer than this before requests start to wait for a new one. */
const MANDATORY_MS = 60_000

/** After a success the vendor is left in peace for this long. */
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

/** An answer that is no token comes from something broken or hostile; it is asked less often. */
const BREACH_BASE_MS = 5_000

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
 * eight-second token lives as well as an hour's: lead = min(source, L/2), jitter at most lead/5,
 * mandatory = min(60 s, L/10) before the end, floor = min(15 s, L/4) after the mint. The jitter is
 * drawn once, here; drawing it again at each check would make everyone refresh at the early edge.
 */
export function planRefresh(token: {
  /** From before the request left. */
  readonly issuedAtMs: number
  readonly lifetimeMs: number
  readonly leadMs: number
  /** The vendor's own hint, from `issuedAtMs`; null without one. */
  readonly refreshInMs: number | null
  /** Uniform in [0, 1). */
  readonly fraction: number
}): RefreshPlan {
  const { issuedAtMs, lifetimeMs } = token
  const leadMs = Math.min(token.leadMs, lifetimeMs / 2)
  const jitterMs = (leadMs / 5) * token.fraction
  const hint = token.refreshInMs
  const isHintUsable = hint !== null && hint > 0 && hint < lifetimeMs
  const afterMs = (isHintUsable ? hint : lifetimeMs - leadMs) - jitterMs
  return {
    dueAtMs: Math.round(issuedAtMs + Math.max(afterMs, Math.min(FLOOR_MS, lifetimeMs / 4))),
    mandatoryAtMs: Math.round(issuedAtMs + lifetimeMs - Math.min(MANDATORY_MS, lifetimeMs / 10)),
    expiresAtMs: Math.round(issuedAtMs + lifetimeMs),
  }
}

/**
 * Plans the next attempt when the vendor handed out the token that we had: normal for sources that
 * cache theirs, so it is asked again as the end comes nearer.
 */
export function planSameToken(nowMs: number, expiresAtMs: number, lifetimeMs: number): number {
  const remainingMs = Math.max(0, expiresAtMs - nowMs)
  return Math.round(nowMs + Math.max(Math.min(FLOOR_MS, lifetimeMs / 4), remainingMs / 6))
}

/**
 * Plans the attempt after a failure; null when none comes by itself.
 *
 * Transient failures back off with full jitter, but the next attempt is never later than a quarter
 * of the life that remains, and within the last tenth and after the end it is at most 2 s away. A
 * time that the vendor named in `Retry-After` is kept in any case.
 */
export function planRetry(attempt: {
  readonly failure: Failure
  readonly nowMs: number
  /** The current token's life; null without a token. */
  readonly token: { readonly issuedAtMs: number; readonly expiresAtMs: number } | null
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
      return Math.round(
        nowMs + Math.min(backoffMs(attempt, BREACH_BASE_MS), patienceMs(attempt, BREACH_BASE_MS)),
      )
    case 'T':
      return Math.round(
        nowMs + Math.min(backoffMs(attempt, BACKOFF_BASE_MS), patienceMs(attempt, URGENT_MS)),
      )
    default:
      return unreachable(failure.class)
  }
}

/** The earliest instant of the next forced refresh of a credential. */
export function forcedFloorAtMs(credential: {
  readonly lastForcedAtMs: number
  readonly lifetimeMs: number
}): number {
  return credential.lastForcedAtMs + Math.min(FORCED_FLOOR_MS, credential.lifetimeMs / 4)
}

type Attempt = Parameters<typeof planRetry>[0]

function throttledWaitMs(attempt: Attempt): number {
  const named = attempt.failure.retryAfterMs
  if (named > 0) return named + BACKOFF_BASE_MS * attempt.fraction
  return Math.min(THROTTLED_MS, Math.max(patienceMs(attempt, URGENT_MS), URGENT_MS))
}

function backoffMs(attempt: Attempt, baseMs: number): number {
  const doublings = Math.min(attempt.consecutiveFailures - 1, 16)
  const spanMs = Math.min(BACKOFF_CAP_MS, baseMs * 2 ** doublings)
  return Math.max(BACKOFF_FLOOR_MS, spanMs * attempt.fraction)
}

/** How long an attempt may be put off, given the life that remains. */
function patienceMs(attempt: Attempt, urgentMs: number): number {
  const { token, nowMs } = attempt
  if (token === null) return urgentMs
  const remainingMs = token.expiresAtMs - nowMs
  const isUrgent = remainingMs <= (token.expiresAtMs - token.issuedAtMs) / 10
  return isUrgent ? urgentMs : Math.max(remainingMs / 4, BACKOFF_FLOOR_MS)
}
