import { type Answer, jsonAnswer } from './call.ts'
import type { JsonObject } from './json.ts'

/** google.rpc.Code names by HTTP status. */
const RPC_STATUS: ReadonlyMap<number, string> = new Map([
  [400, 'INVALID_ARGUMENT'],
  [401, 'UNAUTHENTICATED'],
  [403, 'PERMISSION_DENIED'],
  [404, 'NOT_FOUND'],
  [413, 'INVALID_ARGUMENT'],
  [429, 'RESOURCE_EXHAUSTED'],
  [499, 'CANCELLED'],
  [500, 'INTERNAL'],
  [503, 'UNAVAILABLE'],
  [504, 'DEADLINE_EXCEEDED'],
])

const INVALID_CREDENTIALS =
  'Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.'

/** An error as Google's APIs word it. */
export function rpcError(
  status: number,
  message: string,
  details: readonly JsonObject[] = [],
): Answer {
  const error = { code: status, message, status: RPC_STATUS.get(status) ?? 'UNKNOWN' }
  return jsonAnswer(status, { error: details.length === 0 ? error : { ...error, details } })
}

/** A 401 of a Google API, with its reason. */
export function unauthenticated(service: string, method: string, reason: string): Answer {
  const type = 'type.googleapis.com/google.rpc.ErrorInfo'
  const metadata = { service, method }
  return rpcError(401, INVALID_CREDENTIALS, [
    { '@type': type, reason, domain: 'googleapis.com', metadata },
  ])
}
