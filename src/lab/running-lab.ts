import type { Secret } from '../core/secret.ts'
import type { AwsAccounts } from './aws-accounts.ts'
import type { AzureDirectory } from './azure-directory.ts'
import type { FaultList } from './fault-list.ts'
import type { IbmAccount } from './ibm-accounts.ts'
import type { IdentityOptions } from './identity-issuer.ts'
import type { Journal, JournalTotals } from './journal.ts'
import type { OauthClientOptions, OauthRegistration } from './oauth-clients.ts'
import type { IssuedToken, TokenFilter } from './tokens.ts'

/** Sums since the start. */
interface LabCounts extends JournalTotals {
  /** Tokens issued, at all token endpoints. */
  readonly mints: number
}

/** A running lab: pretend vendors on one port, and what a test or a person does to them. */
export interface Lab {
  /** `http://127.0.0.1:PORT`. */
  readonly origin: string
  readonly journal: Pick<Journal, 'entries' | 'entry'>
  readonly faults: Pick<FaultList, 'set' | 'list' | 'clear'>
  /** Every token issued, oldest first, revoked ones included. */
  tokens(): readonly IssuedToken[]
  /** Revokes the tokens that match, all by default; returns how many. */
  revokeTokens(filter?: TokenFilter): number
  /** The key file of a pretend service account, as JSON text. It is good at this lab alone. */
  serviceAccountKey(options?: { readonly email?: string }): string
  /**
   * A credential file of Google's as JSON text, by its type; for `external_account` also by its
   * source: `external_account_url`. Null when the lab knows no such kind.
   */
  googleCredentials(kind: string, parameters?: Readonly<Record<string, string>>): string | null
  /** From now on the account gets no token; false when the lab has no such account. */
  disableServiceAccount(email: string): boolean
  /** Registers a new client at the authorization server `/oauth2/token`. */
  registerOauthClient(options?: OauthClientOptions): OauthRegistration
  /** From now on the client gets no token; false when the lab has no such client. */
  disableOauthClient(clientId: string): boolean
  /** A workload's identity, for whoever exchanges it; the authorization server is `/oauth2`. */
  identityToken(options: IdentityOptions): Secret
  /** The pretend tenant of Entra ID and all that belongs to it. */
  readonly azure: AzureDirectory
  /** The pretend AWS account. */
  readonly aws: AwsAccounts
  /** What a person has at the pretend IBM. */
  readonly ibm: IbmAccount
  openaiKey(): Secret
  anthropicKey(): Secret
  counts(): LabCounts
  /** Ends every connection at once, and listens no more. */
  close(): Promise<void>
}
