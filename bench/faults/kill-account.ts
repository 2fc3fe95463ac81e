import { type Spending, spendings } from './family.ts'
import type { Ledger } from './ledger.ts'

/** Between the vendor's answer and the end of the store's write, on a machine that is busy. */
const WRITE_MS = 400
/** A call may still have been in the kernel when its sender was killed. */
const KERNEL_MS = 20

/** What a hundred kills did to refresh tokens that may be spent only once. */
export interface KillAccount {
  /** Exchanges in which a kill fell before the vendor had answered. */
  readonly beforeAnswer: number
  /** Refresh tokens spent again although the vendor had answered: the kill fell before the write. */
  readonly beforeWrite: number
  /** Refresh tokens that were spent twice. */
  readonly repeated: number
  /** Those of them in whose first exchange no kill fell. */
  readonly unexplained: number
  /** Repetitions that the vendor refused, and with them the family. */
  readonly refused: number
  /** Refused by vendors that would have taken them in time. */
  readonly lenientLost: number
  /** Refresh tokens that were shown again after the vendor had refused one of the family. */
  readonly afterRefusal: number
}

/** Draws the account from what the vendor saw and when the kills were. */
export function accountFor(
  ledger: Ledger,
  options: {
    readonly killsAtMs: readonly number[]
    /** How long the vendor takes to answer. */
    readonly exchangeMs: number
    /** Client ids for which one repetition is forgiven. */
    readonly lenient: readonly string[]
  },
): KillAccount {
  const { killsAtMs, exchangeMs, lenient } = options
  const all = spendings(ledger)
  const isHit = ({ calls: [first] }: Spending) => {
    const fromMs = first?.atMs ?? Number.POSITIVE_INFINITY
    return killsAtMs.some(
      atMs => atMs >= fromMs - KERNEL_MS && atMs <= fromMs + exchangeMs + WRITE_MS,
    )
  }
  const isAnswered = ({ calls: [first] }: Spending) => first?.outcome === 'ended'
  const repeated = all.filter(({ calls }) => calls.length > 1)
  const refused = repeated.filter(({ calls }) => calls[1]?.status === 400)
  return {
    beforeAnswer: all.filter(one => isHit(one) && !isAnswered(one)).length,
    beforeWrite: repeated.filter(isAnswered).length,
    repeated: repeated.length,
    unexplained: repeated.filter(one => !isHit(one)).length,
    refused: refused.length,
    lenientLost: refused.filter(({ clientId }) => lenient.includes(clientId)).length,
    afterRefusal: all.filter(({ calls }) => isShownAfterRefusal(calls)).length,
  }
}

/** The account in a few words. */
export function describeAccount(account: KillAccount): string {
  const { beforeAnswer, beforeWrite, repeated, refused } = account
  return `${beforeAnswer} of them before an answer and ${beforeWrite} between answer and write, ${repeated} repetitions, ${refused} families lost to a strict vendor`
}

function isShownAfterRefusal(calls: Spending['calls']): boolean {
  const refusedAt = calls.findIndex(({ status }) => status === 400)
  // The first refusal may come with the repetition alone; a token that is new to the vendor is none.
  return refusedAt === 0 || (refusedAt > 0 && calls.length > refusedAt + 1)
}
