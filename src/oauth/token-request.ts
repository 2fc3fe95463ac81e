import type { FailureClass, RecoveryAction } from '../core/failure.ts'
import type { Secret } from '../core/secret.ts'

/** A signed JWT to be made at sending time (RFC 7523), so that each attempt carries a fresh one. */
export interface Assertion {
  readonly kind: 'assertion'
  readonly algorithm: 'RS256'
  /** PKCS#8 PEM. */
  readonly privateKey: Secret
  /** Protected header members besides `alg` and `typ`. */
  readonly header: Readonly<Record<string, string>>
  readonly claims: Readonly<Record<string, string | number>>
}

/** One member of a token request's form. */
export type FormValue = string | Secret | Assertion

/**
 * One call to a token endpoint, as data: what a provider's grant fills in. The exchange sends it,
 * judges the answer and knows no vendor.
 */
export interface TokenRequest {
  /** Already held against the allowed hosts. */
  readonly url: URL
  readonly form: ReadonlyMap<string, FormValue>
  /** How long before its end such a token is renewed. */
  readonly leadMs: number
  /** The life of a token whose answer names none (RFC 6749 §5.1 only recommends `expires_in`). */
  readonly fallbackLifetimeMs: number
  /** What this vendor's refusals mean; the first that matches decides, before the general table. */
  readonly refusals: readonly RefusalRule[]
}

/** What one of a vendor's refusals means. */
export interface RefusalRule {
  /** The OAuth `error` code. */
  readonly error: string
  /** Matched against `error_description` and `error_subtype`; null matches always. */
  readonly pattern: RegExp | null
  readonly class: FailureClass
  /** Stable code shown to people and machines. */
  readonly code: string
  readonly advice: string
  readonly recoveryAction: RecoveryAction
}
