import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { AppError, type ErrorCode } from '../core/errors.ts'

const CODE_HEADER = 'x-openshell-error'
const HINT_HEADER = 'x-openshell-hint-bin'

/** Status and hint travel in trailers, which peers take up to 8 KiB or so. */
const TEXT_CHARS_MAX = 1_000

/** The one table from error codes to gRPC statuses. */
const STATUS_OF: Readonly<Record<ErrorCode, status>> = {
  invalid_usage: status.INVALID_ARGUMENT,
  invalid_argument: status.INVALID_ARGUMENT,
  invalid_credential: status.INVALID_ARGUMENT,
  invalid_config: status.INVALID_ARGUMENT,
  endpoint_forbidden: status.INVALID_ARGUMENT,
  unknown_provider_type: status.INVALID_ARGUMENT,
  already_exists: status.ALREADY_EXISTS,
  not_found: status.NOT_FOUND,
  version_conflict: status.ABORTED,
  mint_refused: status.FAILED_PRECONDITION,
  no_valid_token: status.FAILED_PRECONDITION,
  failed_precondition: status.FAILED_PRECONDITION,
  unauthenticated: status.UNAUTHENTICATED,
  permission_denied: status.PERMISSION_DENIED,
  gateway_unreachable: status.UNAVAILABLE,
  store_unavailable: status.UNAVAILABLE,
  wrong_master_key: status.FAILED_PRECONDITION,
  port_taken: status.INTERNAL,
  state_dir_unusable: status.INTERNAL,
  too_large: status.RESOURCE_EXHAUSTED,
  unimplemented: status.UNIMPLEMENTED,
  internal: status.INTERNAL,
}

const CODE_OF: ReadonlyMap<status, ErrorCode> = new Map([
  [status.INVALID_ARGUMENT, 'invalid_argument'],
  [status.ALREADY_EXISTS, 'already_exists'],
  [status.NOT_FOUND, 'not_found'],
  [status.ABORTED, 'version_conflict'],
  [status.FAILED_PRECONDITION, 'failed_precondition'],
  [status.UNAUTHENTICATED, 'unauthenticated'],
  [status.PERMISSION_DENIED, 'permission_denied'],
  [status.UNAVAILABLE, 'gateway_unreachable'],
  [status.DEADLINE_EXCEEDED, 'gateway_unreachable'],
  [status.CANCELLED, 'gateway_unreachable'],
  [status.RESOURCE_EXHAUSTED, 'too_large'],
  [status.UNIMPLEMENTED, 'unimplemented'],
])

/** What grpc-js sends for a thrown error. The cause stays here. */
export interface StatusAnswer {
  readonly code: status
  readonly details: string
  readonly metadata: Metadata
}

/** Turns any thrown value into a gRPC status; what is no `AppError` becomes a bare INTERNAL. */
export function toStatus(error: unknown): StatusAnswer {
  const known =
    error instanceof AppError
      ? error
      : new AppError('internal', 'The gateway met an internal error')
  const metadata = new Metadata()
  metadata.set(CODE_HEADER, known.code)
  if (known.hint !== '') metadata.set(HINT_HEADER, Buffer.from(fit(known.hint)))
  return { code: STATUS_OF[known.code], details: fit(known.message), metadata }
}

/** A message may quote what a caller sent: any length, and cut through a surrogate pair. */
function fit(text: string): string {
  return (text.length > TEXT_CHARS_MAX ? `${text.slice(0, TEXT_CHARS_MAX)}…` : text).toWellFormed()
}

/** Turns a failed call into an `AppError` with the gateway's own code and hint. */
export function fromServiceError(error: ServiceError): AppError {
  const named = error.metadata?.get(CODE_HEADER)[0]
  const hint = error.metadata?.get(HINT_HEADER)[0]
  const code = isErrorCode(named) ? named : (CODE_OF.get(error.code) ?? 'internal')
  return new AppError(code, error.details, { cause: error, hint: hint?.toString() ?? '' })
}

function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(STATUS_OF, value)
}
