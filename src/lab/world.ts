import type { Secret } from '../core/secret.ts'
import type { Clock } from '../system/clock.ts'
import type { ServiceAccounts } from './accounts.ts'
import type { AwsAccounts } from './aws-accounts.ts'
import type { AzureDirectory } from './azure-directory.ts'
import type { GoogleIdentities } from './google-identities.ts'
import type { IbmAccount } from './ibm-accounts.ts'
import type { IdentityIssuer } from './identity-issuer.ts'
import type { OauthClients } from './oauth-clients.ts'
import type { TokenRegister } from './tokens.ts'

/** What the pretend vendors of one lab share. */
export interface World {
  /** Scheme, host and port, for example `http://127.0.0.1:17680`. */
  readonly origin: string
  readonly clock: Clock
  /** A fresh random id of 24 characters. */
  readonly newId: () => string
  readonly tokens: TokenRegister
  readonly tokenLifetimeMs: number
  readonly accounts: ServiceAccounts
  readonly googleIdentities: GoogleIdentities
  readonly azure: AzureDirectory
  readonly aws: AwsAccounts
  readonly oauthClients: OauthClients
  readonly ibm: IbmAccount
  readonly identities: IdentityIssuer
  readonly openaiKey: Secret
  readonly anthropicKey: Secret
}
