import type { Failure, FailureClass, RecoveryAction } from '../core/failure.ts'
import type { Secret } from '../core/secret.ts'
import type { Clock } from '../system/clock.ts'
import type { Execute } from '../system/execute.ts'
import type { Fetch } from '../system/fetch.ts'
import type { Random } from '../system/random.ts'

/** How a provider gets its token: by asking an endpoint, or by making it on the spot. */
export type Grant = TokenRequest | LocalGrant

/**
 * One call to a token endpoint, as data: what a provider's grant fills in. The exchange sends it and
 * lets its judge read the answer; it knows no vendor.
 */
export interface TokenRequest {
  readonly kind: 'request'
  readonly method: 'GET' | 'POST' | 'PUT'
  /** Already held against the allowed hosts. */
  readonly url: URL
  /** Besides `content-type` and `accept`, which follow from the body. Lower-case names. */
  readonly headers: ReadonlyMap<string, RequestValue>
  readonly body: RequestBody
  readonly judge: Judge
  /** How long before its end a token of this life is renewed, when the vendor gives no hint. */
  readonly leadMs: (lifetimeMs: number) => number
  /** How long before its end requests wait for the next token; by default min(60 s, L/10). */
  readonly mandatoryMs?: (lifetimeMs: number) => number
  /** One deadline over connecting, headers and the whole body. */
  readonly timeoutMs: number
  /**
   * The key of the material that may be spent only once (a rotating refresh token), or null: when the
   * outcome of a try is unknown, it is tried at most once more.
   */
  readonly singleUse: string | null
  /** Used while the endpoint cannot be reached; null without one. */
  readonly fallback: Grant | null
}

/** A token that needs no endpoint: a self-signed JWT, a presigned URL. */
export interface LocalGrant {
  readonly kind: 'local'
  readonly mint: (io: InputIo, signal: AbortSignal) => Promise<Minted | Refused>
  readonly leadMs: (lifetimeMs: number) => number
  /** As in a {@link TokenRequest}. */
  readonly mandatoryMs?: (lifetimeMs: number) => number
}

/** What is sent in a request's body. */
type RequestBody =
  | { readonly kind: 'none' }
  | { readonly kind: 'form'; readonly fields: ReadonlyMap<string, RequestValue> }
  | { readonly kind: 'json'; readonly members: ReadonlyMap<string, RequestValue | JsonValue> }

/** JSON that holds no secret, for a JSON body's other members. */
export type JsonValue =
  | string
  | number
  | boolean
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue }

/** One value of a request: known, or made or read when it is sent. */
export type RequestValue = string | Secret | Assertion | Input

/** A signed JWT to be made at sending time (RFC 7523), so that each attempt carries a fresh one. */
export interface Assertion {
  readonly kind: 'assertion'
  readonly algorithm: 'RS256' | 'PS256' | 'ES256'
  /** PKCS#8 PEM. */
  readonly privateKey: Secret
  /** Protected header members besides `alg` and `typ`. */
  readonly header: Readonly<Record<string, string>>
  readonly claims: Readonly<Record<string, string | number>>
  /** Adds a random `jti`, for servers that take each assertion once. */
  readonly hasJti: boolean
}

/** A value that is read or fetched each time: a token file, another endpoint's token. */
export interface Input {
  readonly kind: 'input'
  readonly read: (io: InputIo, signal: AbortSignal) => Promise<InputValue | Refused>
}

/** What an input brought. */
export interface InputValue {
  readonly kind: 'value'
  readonly value: Secret
}

/** The outside world of inputs and local grants. */
export interface InputIo {
  readonly fetch: Fetch
  readonly clock: Clock
  readonly random: Random
  readonly execute: Execute
  /** The vendor's time, as far as it was learnt. */
  readonly vendorNowMs: number
  /**
   * Reads a text file, without its trailing white space. Only below one of `folders`, links
   * followed first; at most 64 KiB.
   */
  readonly readFile: (path: string, folders: readonly string[]) => Promise<InputValue | Refused>
  /** Asks another endpoint. */
  readonly mint: (grant: Grant) => Promise<Minted | Refused>
}

/** What a token endpoint answered, read whole and not yet judged. */
export interface TokenAnswer {
  readonly kind: 'answer'
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  /** Null when the body was larger than 1 MiB. */
  readonly body: Uint8Array | null
  /** Monotonic time from before the request to after the body. */
  readonly elapsedMs: number
  /** What was sent, so that it can be scrubbed from whatever came back. */
  readonly sent: readonly Secret[]
}

/** Reads a token endpoint's answer. Pure; never throws, whatever was answered. */
export type Judge = (answer: TokenAnswer, nowMs: number) => Minted | Refused

/** A token, judged and usable. */
export interface Minted {
  readonly kind: 'minted'
  readonly token: Secret
  /** Counted from before the request left. */
  readonly lifetimeMs: number
  /** The vendor's own hint when to refresh, from before the request; null without one. */
  readonly refreshInMs: number | null
  /** Material that the vendor rotated, by credential key; stored before the token is used. */
  readonly rotated: ReadonlyMap<string, Secret>
}

/** No token, and why. */
export interface Refused {
  readonly kind: 'failed'
  readonly failure: Failure
}

/** What one of a vendor's refusals means. */
export interface RefusalRule {
  /** The OAuth `error` code, or the vendor's own; null matches all. */
  readonly error: string | null
  /** Matched against `error_description` and `error_subtype`; null matches always. */
  readonly pattern: RegExp | null
  readonly class: FailureClass
  /** Stable code shown to people and machines. */
  readonly code: string
  readonly advice: string
  readonly recoveryAction: RecoveryAction
}
