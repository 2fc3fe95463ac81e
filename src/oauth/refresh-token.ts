import type { Secret } from '../core/secret.ts'
import { type OAuthClient, type StandardGrant, standardRequest } from './standard-request.ts'
import type { RefusalRule, TokenRequest } from './token-request.ts'

const REFUSALS: readonly RefusalRule[] = [
  {
    error: 'invalid_grant',
    pattern: null,
    class: 'P',
    code: 'oauth_invalid_grant',
    advice:
      'Sign in again and store the new refresh token: this one is expired, revoked, or was used by another program',
    recoveryAction: 'reauthorize',
  },
]

/**
 * The refresh token grant (RFC 6749 §6). The server may rotate: a refresh token in the answer takes
 * the place of the old one in the provider's material, under `rotates`, and an answer without one
 * keeps it. Since the old one may be spent by then, a try whose outcome is unknown is repeated at
 * most once (RFC 9700 §4.14).
 */
export function refreshTokenGrant(
  client: OAuthClient,
  token: { readonly refreshToken: Secret; readonly rotates: string },
  nowMs: number,
): TokenRequest {
  const grant: StandardGrant = {
    fields: [
      ['grant_type', 'refresh_token'],
      ['refresh_token', token.refreshToken],
    ],
    refusals: REFUSALS,
    rotates: token.rotates,
    isSingleUse: true,
    required: [],
  }
  return standardRequest(client, grant, nowMs)
}
