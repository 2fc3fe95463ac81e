import { type OAuthClient, type StandardGrant, standardRequest } from './standard-request.ts'
import type { Input, RefusalRule, TokenRequest } from './token-request.ts'

const REFUSALS: readonly RefusalRule[] = [
  ...['invalid_grant', 'invalid_request'].map(error => ({
    error,
    pattern: /expired|stale|too old|not active/i,
    class: 'S' as const,
    code: 'oauth_subject_token_stale',
    advice: 'Check that whatever writes the subject token file still renews it',
    recoveryAction: 'fix_configuration' as const,
  })),
  {
    error: 'invalid_grant',
    pattern: null,
    class: 'P',
    code: 'oauth_invalid_grant',
    advice: 'Check that the server trusts the issuer, audience and subject of the subject token',
    recoveryAction: 'fix_configuration',
  },
]

/**
 * Token exchange (RFC 8693): a subject token, read anew for each attempt, against an access token. An
 * answer must name the type of what it issued; one that is no access token is refused.
 */
export function tokenExchangeGrant(
  client: OAuthClient,
  subject: { readonly token: Input; readonly type: string },
  nowMs: number,
): TokenRequest {
  const grant: StandardGrant = {
    fields: [
      ['grant_type', 'urn:ietf:params:oauth:grant-type:token-exchange'],
      ['requested_token_type', 'urn:ietf:params:oauth:token-type:access_token'],
      ['subject_token', subject.token],
      ['subject_token_type', subject.type],
    ],
    refusals: REFUSALS,
    rotates: null,
    isSingleUse: false,
    required: ['issued_token_type'],
  }
  return standardRequest(client, grant, nowMs)
}
