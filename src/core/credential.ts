import type { ConfiguredGrant } from './configured-grant.ts'
import type { Failure, FailureClass } from './failure.ts'
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
  /**
   * How it is minted when a person configured that for this key; null when the provider's type says it
   * of the provider's material. A provider has at most one of those.
   */
  readonly grant: ConfiguredGrant | null
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
  /**
   * How often the standing material, if it may be spent only once, was sent without a known outcome.
   * Written before it is sent, so that a gateway that was killed in between leaves word of it.
   */
  readonly spends: number
  /** The same of the candidate material. */
  readonly candidateSpends: number
  /** When the candidate material is tried again; 0 for with the next attempt. */
  readonly candidateDueAtMs: number
  /** Why the candidate material brought no token; null when there is none or it was not tried. */
  readonly candidateFailure: Failure | null
  /** The last changes of state, the oldest first; at most {@link HISTORY_MAX}. */
  readonly history: readonly Transition[]
  /** Which gateway mints now, and until when its claim holds; '' and 0 when none does. */
  readonly claimedBy: string
  readonly claimedUntilMs: number
  /** Whose claim ran out without a word before this one was taken; '' when none did. */
  readonly claimedFrom: string
}

/** How a credential stands: what can be told of it, and nothing that opens anything. */
export type Standing = Pick<
  Credential,
  | 'providerId'
  | 'key'
  | 'version'
  | 'generation'
  | 'dueAtMs'
  | 'lastRefreshAtMs'
  | 'consecutiveFailures'
  | 'failure'
  | 'failingSinceMs'
  | 'isDisabled'
> & { readonly token: Pick<AccessToken, 'issuedAtMs' | 'expiresAtMs'> | null }

/** How a credential stands, apart from the credential. */
export function standingOf(credential: Standing): Standing {
  const { token } = credential
  return {
    providerId: credential.providerId,
    key: credential.key,
    version: credential.version,
    generation: credential.generation,
    token: token === null ? null : { issuedAtMs: token.issuedAtMs, expiresAtMs: token.expiresAtMs },
    dueAtMs: credential.dueAtMs,
    lastRefreshAtMs: credential.lastRefreshAtMs,
    consecutiveFailures: credential.consecutiveFailures,
    failure: credential.failure,
    failingSinceMs: credential.failingSinceMs,
    isDisabled: credential.isDisabled,
  }
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

/** How many changes of state are kept of a credential. */
export const HISTORY_MAX = 16

/** A change of a credential's state. */
export interface Transition {
  readonly atMs: number
  /** What it became. `refreshing` comes and goes with each refresh and is not kept. */
  readonly state: Exclude<CredentialState, 'refreshing'>
  /** What brought it; both '' without a failure. */
  readonly class: FailureClass | ''
  readonly code: string
}

/**
 * The state of a credential at an instant.
 *
 * `pending` no token yet, first mint to come · `valid` a good token, last attempt succeeded ·
 * `refreshing` a good token and an attempt under way · `degraded` last attempt failed, token still
 * good · `expired` no good token, retrying · `failed` permanent, needs a person · `disabled` off.
 */
export function stateOf(
  credential: Standing,
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
