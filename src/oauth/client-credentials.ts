import { type OAuthClient, standardRequest } from './standard-request.ts'
import type { TokenRequest } from './token-request.ts'

/** The client credentials grant (RFC 6749 §4.4). Whatever refresh token comes with it is not kept. */
export function clientCredentialsGrant(client: OAuthClient, nowMs: number): TokenRequest {
  const grant = {
    fields: [['grant_type', 'client_credentials']],
    refusals: [],
    rotates: null,
    isSingleUse: false,
    required: [],
  } as const
  return standardRequest(client, grant, nowMs)
}
