import type { Failure } from './failure.ts'
import type { Secret } from './secret.ts'

/** An access token as it was minted. Instants are wall-clock milliseconds since the epoch. */
export interface AccessToken {
  readonly value: Secret
  /** Taken before the request left, so that the life is never overestimated. */
  readonly issuedAtMs: number
  readonly expiresAtMs: number
}

/**
 * One refreshable credential of a provider: the row that the refresh task works on.
 * `dueAtMs` is null while nothing is to be done by itself (a permanent failure, a disabled row).
 */
export interface Credential {
  readonly providerId: string
  /** The name of the token, for example `GOOGLE_VERTEX_AI_TOKEN`. */
  readonly key: string
  /** Counts writes; a writer that read an older version loses. */
  readonly version: number
  /** Counts minted tokens; 0 before the first. */
  readonly generation: number
  readonly token: AccessToken | null
  readonly dueAtMs: number | null
  /** From here on requests wait for a refresh instead of starting on the old token. */
  readonly mandatoryAtMs: number
  readonly lastRefreshAtMs: number
  readonly lastAttemptAtMs: number
  readonly lastForcedAtMs: number
  readonly consecutiveFailures: number
  /** The last attempt's failure; null after a success. */
  readonly failure: Failure | null
  readonly failingSinceMs: number
  readonly isDisabled: boolean
  /** Which gateway mints now, and until when its claim holds; '' and 0 when none does. */
  readonly claimedBy: string
  readonly claimedUntilMs: number
}

/** What a person sees of a credential's life. */
export type CredentialState =
  | 'pending'
  | 'valid'
  | 'refreshing'
  | 'degraded'
  | 'expired'
  | 'failed'
  | 'disabled'

/**
 * The state of a credential at an instant.
 *
 * `pending` no token yet, first mint to come · `valid` a good token, last attempt succeeded ·
 * `refreshing` a good token and an attempt under way · `degraded` last attempt failed, token still
 * good · `expired` no good token, retrying · `failed` permanent, needs a person · `disabled` off.
 */
export function stateOf(
  credential: Credential,
  nowMs: number,
  options: { readonly isRefreshing: boolean },
): CredentialState {
  if (credential.isDisabled) return 'disabled'
  const failure = credential.failure
  if (failure !== null && credential.dueAtMs === null) return 'failed'
  if (failure !== null && failure.class === 'Q') return 'failed'
  if (credential.token === null) return failure === null ? 'pending' : 'expired'
  if (credential.token.expiresAtMs <= nowMs) return 'expired'
  if (failure !== null) return 'degraded'
  return options.isRefreshing ? 'refreshing' : 'valid'
}

/** The token when it may still be sent at `nowMs`, else null. An expired token is never returned. */
export function usableToken(credential: Credential, nowMs: number): AccessToken | null {
  const token = credential.token
  if (credential.isDisabled || token === null || token.expiresAtMs <= nowMs) return null
  return token
}
