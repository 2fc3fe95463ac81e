import type { JournalEntry } from '../../src/lab/journal.ts'
import { formOf, type Ledger } from './ledger.ts'

/** A refresh token, and each time that the vendor was shown it. */
export interface Spending {
  readonly clientId: string
  /** Oldest first. */
  readonly calls: readonly JournalEntry[]
}

/** Every refresh token that the vendor was ever shown, in the order of their first time. */
export function spendings(ledger: Ledger): readonly Spending[] {
  const found = new Map<string, Spending>()
  for (const call of ledger.tokenCalls()) {
    const form = formOf(call)
    const token = form.get('refresh_token')
    if (token === null) continue
    const clientId = form.get('client_id') ?? ''
    found.set(token, { clientId, calls: [...(found.get(token)?.calls ?? []), call] })
  }
  return [...found.values()]
}

/** How often the vendor was shown the refresh token that it was shown most often. */
export function mostSpent(ledger: Ledger): number {
  return Math.max(0, ...spendings(ledger).map(({ calls }) => calls.length))
}

/** Clients whose family the vendor revoked, because it was shown a token twice. */
export function revokedClients(ledger: Ledger): readonly string[] {
  const revoked = spendings(ledger).filter(({ calls }) =>
    calls.some(({ status }) => status === 400),
  )
  return [...new Set(revoked.map(({ clientId }) => clientId))]
}
