import type { ServiceAccounts } from './accounts.ts'
import { isSignedBy, readJwt } from './jwt.ts'

const CLAIMS = ['iss', 'sub', 'aud', 'scope', 'iat', 'exp']
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
const LIFETIME_SECONDS = 3_600
const SKEW_SECONDS = 60

/** Whether a bearer is a JWT that one of the service accounts signed for an API (AIP-4111). */
export function isSelfSigned(
  bearer: string,
  options: {
    readonly accounts: ServiceAccounts
    readonly audience: string
    readonly nowMs: number
  },
): boolean {
  const { accounts, audience, nowMs } = options
  const jwt = readJwt(bearer)
  if (jwt === null || jwt.header.typ !== 'JWT') return false
  const { iss, sub, aud, scope, iat, exp } = jwt.claims
  const account = typeof iss === 'string' ? accounts.find(iss) : null
  if (account === null || account.isDisabled || jwt.header.kid !== account.keyId) return false
  if (!isSignedBy(jwt, accounts.publicKey, 'RS256') || sub !== iss) return false
  if (Object.keys(jwt.claims).some(name => !CLAIMS.includes(name))) return false
  const isForUs = scope === undefined ? aud === audience : aud === undefined && scope === SCOPE
  const nowSeconds = nowMs / 1_000
  const isTimely = Number(iat) <= nowSeconds + SKEW_SECONDS && Number(exp) > nowSeconds
  return isForUs && isTimely && Number(exp) - Number(iat) === LIFETIME_SECONDS
}
