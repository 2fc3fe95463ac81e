import type { JournalEntry } from '../../src/lab/journal.ts'
import type { Lab } from '../../src/lab/running-lab.ts'

/** The lab's journal holds 5,000 calls; it is copied far more often than so many can come. */
const COPY_MS = 250

/** This process is the lab, too: what arrives while it is held up is noted late. */
const TICK_MS = 10
const STALL_MS_MIN = 40

/** Everything that a lab saw, however long it ran: the one witness of all verdicts. */
export interface Ledger {
  /** Calls to the lab's token endpoints, oldest first. */
  tokenCalls(): readonly JournalEntry[]
  /** Calls to the lab's APIs, oldest first. */
  apiCalls(): readonly JournalEntry[]
  /** Tokens issued since then. */
  mintsSince(atMs: number): number
  /**
   * API calls that brought an expired token, or none that the lab ever issued. A token that lived
   * when the lab was last able to look is given the benefit of the doubt.
   */
  deadTokens(): readonly JournalEntry[]
  /** How long the lab was held up at the longest, in milliseconds. */
  longestStallMs(): number
  close(): void
}

/** Keeps the record of a lab from now on. */
export function keepLedger(lab: Lab): Ledger {
  const calls = new Map<number, JournalEntry>()
  const copy = () => {
    for (const entry of lab.journal.entries()) calls.set(entry.id, entry)
  }
  const timer = setInterval(copy, COPY_MS)
  const stalls: { readonly fromMs: number; readonly toMs: number }[] = []
  let lastMs = Date.now()
  const watch = setInterval(() => {
    const nowMs = Date.now()
    if (nowMs - lastMs >= STALL_MS_MIN) stalls.push({ fromMs: lastMs, toMs: nowMs })
    lastMs = nowMs
  }, TICK_MS)
  /** When a call that was noted then may have arrived at the earliest. */
  const earliestMs = (atMs: number) =>
    stalls.find(({ fromMs, toMs }) => fromMs <= atMs && atMs <= toMs + STALL_MS_MIN)?.fromMs ?? atMs
  const all = () => {
    copy()
    return [...calls.values()]
  }
  const isTokenCall = ({ vendor }: JournalEntry) => vendor.endsWith('.token')
  const apiCalls = () => all().filter(entry => entry.vendor !== '' && !isTokenCall(entry))

  return {
    tokenCalls: () => all().filter(isTokenCall),
    apiCalls,
    mintsSince: atMs => lab.tokens().filter(token => token.issuedAtMs >= atMs).length,
    deadTokens() {
      const ends = new Map(lab.tokens().map(token => [token.id, token.expiresAtMs]))
      return apiCalls().filter(({ tokenId, atMs }) => (ends.get(tokenId) ?? 0) <= earliestMs(atMs))
    },
    longestStallMs: () => Math.max(0, ...stalls.map(({ fromMs, toMs }) => toMs - fromMs)),
    close() {
      clearInterval(timer)
      clearInterval(watch)
    },
  }
}

/** The form that was sent to a token endpoint. */
export function formOf({ body }: JournalEntry): URLSearchParams {
  return new URLSearchParams(Buffer.from(body ?? []).toString())
}
