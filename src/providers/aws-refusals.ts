import type { FailureClass } from '../core/failure.ts'
import type { RefusalRule } from '../oauth/token-request.ts'

const FIX_KEY = 'Create a new access key for the IAM user and update the provider'
const FIX_CLOCK = "Set the gateway's clock: AWS finds the time of the signed request unreasonable"
const FIX_CALL = 'Check AWS_ROLE_ARN, AWS_ROLE_SESSION_NAME and the policies of the role'

/** What AWS's error codes mean, at STS, the container endpoint and the instance metadata service. */
export const AWS_REFUSALS: readonly RefusalRule[] = [
  ...['ExpiredTokenException', 'ExpiredToken'].map(error =>
    rule(error, 'S', 'aws_identity_token_expired', {
      advice: 'Check that whoever writes the web identity token file replaces it before it expires',
    }),
  ),
  rule('InvalidIdentityToken', 'S', 'aws_identity_token_invalid', {
    advice:
      "Create an OIDC identity provider in IAM for the token's issuer, with its audience, and check the token file",
  }),
  rule('IDPRejectedClaim', 'P', 'aws_identity_claim_rejected', {
    advice: 'The identity provider rejected the token: check its issuer, audience and subject',
  }),
  rule('IDPCommunicationError', 'T', 'aws_identity_provider_unreachable', {
    advice: 'Nothing to do, AWS could not reach the identity provider and is asked again',
  }),
  ...['AccessDenied', 'AccessDeniedException'].map(error =>
    rule(error, 'Q', 'aws_access_denied', {
      advice:
        'Allow this identity in the trust policy of the role (or sts:GetSessionToken for the user)',
    }),
  ),
  rule('RegionDisabledException', 'P', 'aws_region_disabled', {
    advice: 'Activate STS for this region in the account settings of IAM, or change AWS_REGION',
  }),
  rule('OptInRequired', 'Q', 'aws_opt_in_required', {
    advice: 'Enable the region for the account, or change AWS_REGION',
  }),
  ...['InvalidClientTokenId', 'UnrecognizedClientException', 'AuthFailure'].map(error =>
    rule(error, 'P', 'aws_access_key_unknown', { advice: FIX_KEY }),
  ),
  rule('SignatureDoesNotMatch', 'C', 'aws_clock_skew', {
    advice: FIX_CLOCK,
    pattern: /signature (expired|not yet current)/i,
  }),
  ...['RequestExpired', 'RequestTimeTooSkewed', 'RequestInTheFuture'].map(error =>
    rule(error, 'C', 'aws_clock_skew', { advice: FIX_CLOCK }),
  ),
  ...['SignatureDoesNotMatch', 'InvalidSignatureException', 'IncompleteSignature'].map(error =>
    rule(error, 'P', 'aws_secret_key_wrong', {
      advice: 'AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID: update the provider',
    }),
  ),
  ...['MalformedPolicyDocument', 'PackedPolicyTooLarge', 'ValidationError'].map(error =>
    rule(error, 'P', 'aws_request_refused', { advice: FIX_CALL }),
  ),
  ...['Throttling', 'ThrottlingException', 'RequestLimitExceeded', 'SlowDown'].map(error =>
    rule(error, 'H', 'aws_throttled', {
      advice: 'Nothing to do, the gateway waits and tries again',
    }),
  ),
  ...['InternalFailure', 'ServiceUnavailable', 'InternalServerException'].map(error =>
    rule(error, 'T', 'aws_unavailable', {
      advice: 'Nothing to do, the gateway tries again by itself',
    }),
  ),
  rule('AssumeRoleUnauthorizedAccess', 'Q', 'aws_instance_role_untrusted', {
    advice: 'Allow ec2.amazonaws.com in the trust policy of the instance role',
  }),
  rule('ResourceNotFoundException', 'P', 'aws_pod_association_missing', {
    advice: 'Create an EKS Pod Identity association for the service account of the gateway',
  }),
]

function rule(
  error: string,
  failureClass: FailureClass,
  code: string,
  options: { readonly advice: string; readonly pattern?: RegExp },
): RefusalRule {
  const isRetried = failureClass === 'T' || failureClass === 'H'
  return {
    error,
    pattern: options.pattern ?? null,
    class: failureClass,
    code,
    advice: options.advice,
    recoveryAction: isRetried ? 'retry' : 'fix_configuration',
  }
}
