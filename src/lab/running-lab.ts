import type { Secret } from '../core/secret.ts'
import type { FaultList } from './fault-list.ts'
import type { Journal, JournalTotals } from './journal.ts'
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
  /** From now on the account gets no token; false when the lab has no such account. */
  disableServiceAccount(email: string): boolean
  openaiKey(): Secret
  anthropicKey(): Secret
  counts(): LabCounts
  /** Ends every connection at once, and listens no more. */
  close(): Promise<void>
}
