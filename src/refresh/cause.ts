/**
 * Why a token was asked for.
 *
 * `due`: its time had come · `rejected`: a router reported that the vendor refused the token ·
 * `person`: somebody wanted it now · `first`: new or changed material was tried.
 */
export type RefreshReason = 'due' | 'rejected' | 'person' | 'first'

/** Why, and who brought it about: `gateway`, `admin`, or `sandbox NAME`. */
export interface RefreshCause {
  readonly reason: RefreshReason
  readonly who: string
}
