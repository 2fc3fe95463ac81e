import type { RefusalRule } from '../oauth/token-request.ts'

type Words = Pick<RefusalRule, 'error' | 'pattern' | 'code' | 'advice'>

function permanent(words: Words): RefusalRule {
  return { ...words, class: 'P', recoveryAction: 'fix_configuration' }
}

function permission(words: Words): RefusalRule {
  return { ...words, class: 'Q', recoveryAction: 'fix_configuration' }
}

function signIn(words: Words): RefusalRule {
  return { ...words, class: 'P', recoveryAction: 'reauthorize' }
}

/** What all of Google's token endpoints say alike. */
const COMMON: readonly RefusalRule[] = [
  ...['admin_policy_enforced', 'org_internal', 'access_denied'].map(error =>
    permission({
      error,
      pattern: null,
      code: `oauth_${error}`,
      advice: 'An organisation policy forbids this: ask the Google Cloud administrator',
    }),
  ),
  ...['internal_failure', 'server_error', 'temporarily_unavailable'].map(
    (error): RefusalRule => ({
      error,
      pattern: null,
      class: 'T',
      code: 'oauth_token_endpoint_retryable',
      advice: 'Nothing to do, the gateway tries again by itself',
      recoveryAction: 'retry',
    }),
  ),
]

/** What Google's refusals of a service account's signed assertion mean. */
export const ASSERTION_REFUSALS: readonly RefusalRule[] = [
  {
    error: 'invalid_grant',
    pattern: /reasonable timeframe|short-lived token/i,
    class: 'C',
    code: 'google_clock_skew',
    advice: "Set the gateway's clock: Google finds the times in the signed request unreasonable",
    recoveryAction: 'fix_configuration',
  },
  permanent({
    error: 'invalid_grant',
    pattern: /invalid jwt signature/i,
    code: 'google_invalid_signature',
    advice:
      'The key was deleted or replaced: create a new key for the service account and update the provider',
  }),
  permanent({
    error: 'invalid_grant',
    pattern: /account not found|not a valid email/i,
    code: 'google_account_not_found',
    advice: 'The service account does not exist (any more): create it, or use another one’s key',
  }),
  permanent({
    error: 'invalid_grant',
    pattern: /audience/i,
    code: 'google_audience_refused',
    advice:
      'The token_uri in the key file is not the one that Google expects: download the key anew',
  }),
  permanent({
    error: 'unauthorized_client',
    pattern: null,
    code: 'oauth_unauthorized_client',
    advice: 'Enable the service account and the Vertex AI API in its project',
  }),
  ...['deleted_client', 'disabled_client'].map(error =>
    permanent({
      error,
      pattern: null,
      code: `google_${error}`,
      advice: 'Enable the service account again, or use another one’s key',
    }),
  ),
  ...COMMON,
]

const SIGN_IN = "Run 'gcloud auth application-default login' again and update the provider"

/** What Google's refusals of a person's refresh token mean. */
export const REFRESH_TOKEN_REFUSALS: readonly RefusalRule[] = [
  signIn({
    error: 'invalid_grant',
    pattern: /rapt|reauth/i,
    code: 'google_reauth_required',
    advice: `The organisation asks people to sign in again from time to time. ${SIGN_IN}; a service account needs no such thing`,
  }),
  signIn({
    error: 'invalid_grant',
    pattern: null,
    code: 'google_refresh_token_dead',
    advice: `The sign-in was revoked or has expired. ${SIGN_IN}`,
  }),
  ...['invalid_client', 'deleted_client', 'disabled_client', 'unauthorized_client'].map(error =>
    signIn({
      error,
      pattern: null,
      code: `google_${error}`,
      advice: `Google does not know the file's client_id and client_secret (any more). ${SIGN_IN}`,
    }),
  ),
  permanent({
    error: 'invalid_scope',
    pattern: null,
    code: 'oauth_invalid_scope',
    advice: `The sign-in does not cover cloud-platform. ${SIGN_IN}`,
  }),
  ...COMMON,
]

/** What the refusals of Google's Security Token Service mean (workload identity federation). */
export const FEDERATION_REFUSALS: readonly RefusalRule[] = [
  {
    error: 'invalid_grant',
    pattern: /stale to sign-in|expired/i,
    class: 'S',
    code: 'google_subject_token_stale',
    advice:
      'Google takes fresh subject tokens only: see that whoever writes the token renews it, and that the clocks agree',
    recoveryAction: 'fix_configuration',
  },
  permanent({
    error: 'invalid_grant',
    pattern: /issuer/i,
    code: 'google_issuer_refused',
    advice:
      'The subject token’s issuer is not the one of the workload identity provider: compare "iss" with its issuer URI',
  }),
  permanent({
    error: 'invalid_grant',
    pattern: /audience/i,
    code: 'google_audience_refused',
    advice:
      'The subject token’s "aud" is not among the allowed audiences of the workload identity provider',
  }),
  permanent({
    error: 'invalid_grant',
    pattern: null,
    code: 'google_subject_token_refused',
    advice:
      'Check the subject token against the workload identity provider: issuer, audience, key set',
  }),
  permanent({
    error: 'invalid_target',
    pattern: null,
    code: 'google_pool_unknown',
    advice:
      'The workload identity pool or provider in "audience" is disabled, deleted or misspelt: enable it or make a new file',
  }),
  permanent({
    error: 'invalid_client',
    pattern: null,
    code: 'oauth_invalid_client',
    advice: 'Correct "client_id" and "client_secret" in the file',
  }),
  permission({
    error: 'unauthorized_client',
    pattern: null,
    code: 'google_attribute_condition',
    advice:
      'The attribute condition of the workload identity provider rejects this identity: let an administrator widen it',
  }),
  ...COMMON,
]
