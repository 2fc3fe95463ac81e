import type { GrantStrategy } from '../core/configured-grant.ts'
import { AppError } from '../core/errors.ts'
import type { RefreshStrategy } from '../providers/provider-type.ts'
import { ProviderCredentialRefreshStrategy as Wire } from '../wire/gen/openshell/v1/refresh_pb.ts'

const STRATEGIES: readonly (readonly [GrantStrategy, Wire])[] = [
  ['oauth2_refresh_token', Wire.OAUTH2_REFRESH_TOKEN],
  ['oauth2_client_credentials', Wire.OAUTH2_CLIENT_CREDENTIALS],
  ['google_service_account_jwt', Wire.GOOGLE_SERVICE_ACCOUNT_JWT],
  ['aws_sts_assume_role', Wire.AWS_STS_ASSUME_ROLE],
]

/** A strategy as it is sent; that of a grant which OpenShell has no name for is unspecified. */
export function strategyToWire(strategy: RefreshStrategy): Wire {
  return STRATEGIES.find(([name]) => name === strategy)?.[1] ?? Wire.UNSPECIFIED
}

/**
 * A strategy that the gateway can mint by; the profile's own where the caller names none.
 *
 * @throws AppError `invalid_argument` for any other.
 */
export function strategyFromWire(wanted: Wire, described: Wire | undefined): GrantStrategy {
  const wire = wanted === Wire.UNSPECIFIED ? (described ?? wanted) : wanted
  const found = STRATEGIES.find(([, one]) => one === wire)
  if (found !== undefined) return found[0]
  const name = Object.entries(Wire).find(([, one]) => one === wire)?.[0] ?? 'unknown'
  const words = `The gateway cannot refresh by strategy "${name.toLowerCase()}"`
  throw new AppError('invalid_argument', words, {
    hint: `It mints by ${STRATEGIES.map(([one]) => one).join(', ')}`,
  })
}
