/**
 * Every operating error this product raises, by stable code. Codes are API: they are documented,
 * tested, shown to people and never reused. A programmer's error is not in this list; it crashes.
 */
export type ErrorCode =
  | 'invalid_usage'
  | 'invalid_argument'
  | 'invalid_credential'
  | 'invalid_config'
  | 'endpoint_forbidden'
  | 'unknown_provider_type'
  | 'already_exists'
  | 'not_found'
  | 'version_conflict'
  | 'mint_refused'
  | 'no_valid_token'
  | 'failed_precondition'
  | 'unauthenticated'
  | 'permission_denied'
  | 'gateway_unreachable'
  | 'store_unavailable'
  | 'wrong_master_key'
  | 'port_taken'
  | 'state_dir_unusable'
  | 'too_large'
  | 'unimplemented'
  | 'internal'

/** Optional parts of an {@link AppError}. */
export interface AppErrorOptions {
  /** What a person can do next; shown by the command line below the message. */
  readonly hint?: string
  /** What went wrong below; logged, never sent to a peer. */
  readonly cause?: unknown
}

/**
 * The one root of operating errors (network, peer, input). Messages are one sentence without a
 * period, quote the values they name, and hold no secret.
 */
export class AppError extends Error {
  readonly code: ErrorCode
  readonly hint: string

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'AppError'
    this.code = code
    this.hint = options.hint ?? ''
  }
}
