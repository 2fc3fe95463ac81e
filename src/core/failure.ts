/**
 * What kind of trouble a token endpoint had, because the kind decides what happens next.
 *
 * - `T` transient: network, time-out, 408, 5xx. Retry with backoff while the old token serves.
 * - `H` throttled: 429 or any `Retry-After`. As `T`, never before the time that was named.
 * - `S` stale input: our assertion or subject token was too old. Read it anew, retry once.
 * - `C` clock: the server finds our times unreasonable. Learn the offset, retry once.
 * - `P` permanent: a bad, deleted or revoked key. Stop; only new material or a person helps.
 * - `Q` permission: an administrator can mend it. As `P`, but probe slowly.
 * - `X` protocol breach: an answer that is not a token. Never store it; retry slowly, loudly.
 */
export type FailureClass = 'T' | 'H' | 'S' | 'C' | 'P' | 'Q' | 'X'

/** What a person should do, in the words of OpenShell's refresh status. */
export type RecoveryAction = 'retry' | 'reauthorize' | 'fix_configuration' | 'investigate'

/** Why a refresh did not bring a token. Holds no secret. */
export interface Failure {
  readonly class: FailureClass
  /** Stable and machine-readable, for example `oauth_invalid_grant` or the vendor's own code. */
  readonly code: string
  /** One sentence: what the vendor said, scrubbed. */
  readonly message: string
  /** One sentence: what a person can do. */
  readonly advice: string
  readonly recoveryAction: RecoveryAction
  /** From `Retry-After`, counted from the answer; 0 when the server named no time. */
  readonly retryAfterMs: number
}
