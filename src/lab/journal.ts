import { createHash } from 'node:crypto'
import type { Outcome } from './deliver.ts'
import type { Header } from './header.ts'

const CALLS_MAX = 5_000
const BODY_BYTES_MAX = 4_194_304
const BODIES_BYTES_MAX = 268_435_456

/** One call to the lab, as it was seen. */
export interface JournalEntry {
  /** Counts from 1. */
  readonly id: number
  readonly atMs: number
  /** '' when no vendor owns the path. */
  readonly vendor: string
  readonly method: string
  readonly path: string
  /** With its `?`; '' when there is none. */
  readonly query: string
  /** As received, names in lower case, values raw. */
  readonly headers: readonly Header[]
  readonly bodyBytes: number
  /** In hex. */
  readonly bodySha256: string
  /** null when longer than 4 MiB, or dropped to make room for newer ones (256 MiB in all). */
  readonly body: Uint8Array | null
  /** Which of the lab's tokens the call brought; '' for none. */
  readonly tokenId: string
  /** 0 while, or because, no answer was sent. */
  readonly status: number
  /** `open` until the answer is through. */
  readonly outcome: Outcome | 'open'
}

/** What is known of a call when it arrives. */
export type JournalOpening = Omit<
  JournalEntry,
  'id' | 'bodyBytes' | 'bodySha256' | 'status' | 'outcome' | 'body'
> & { readonly body: Uint8Array }

/** Sums over all calls, also those that the journal no longer holds. */
export interface JournalTotals {
  readonly calls: ReadonlyMap<string, ReadonlyMap<number, number>>
  /** Answers with status 401, at all vendors. */
  readonly unauthorized: number
  /** Answers that a fault cut off. */
  readonly broken: number
  /** Answers that the caller did not wait for, or did not read to the end. */
  readonly abandoned: number
}

/** The last 5,000 calls, oldest first. */
export interface Journal {
  /** Notes an arrival; returns the call's number. */
  open(opening: JournalOpening): number
  /** Notes the status that is about to be sent. */
  answer(id: number, status: number): void
  close(id: number, outcome: Outcome): void
  entries(): readonly JournalEntry[]
  entry(id: number): JournalEntry | null
  totals(): JournalTotals
}

/** Makes an empty journal. */
export function createJournal(): Journal {
  const entries = new Map<number, JournalEntry>()
  const calls = new Map<string, Map<number, number>>()
  const outcomes = { ended: 0, broken: 0, abandoned: 0 }
  let unauthorized = 0
  let openedCount = 0
  let bodiesBytes = 0

  const change = (id: number, part: Partial<JournalEntry>): void => {
    const entry = entries.get(id)
    if (entry !== undefined) entries.set(id, { ...entry, ...part })
  }
  const makeRoom = (): void => {
    for (const entry of entries.values()) {
      const isCrowded = entries.size > CALLS_MAX
      if (!isCrowded && bodiesBytes <= BODIES_BYTES_MAX) return
      bodiesBytes -= entry.body?.byteLength ?? 0
      if (isCrowded) entries.delete(entry.id)
      else entries.set(entry.id, { ...entry, body: null })
    }
  }

  return {
    open(opening) {
      openedCount += 1
      const { body } = opening
      const isKept = body.byteLength <= BODY_BYTES_MAX
      if (isKept) bodiesBytes += body.byteLength
      entries.set(openedCount, {
        ...opening,
        id: openedCount,
        bodyBytes: body.byteLength,
        bodySha256: createHash('sha256').update(body).digest('hex'),
        body: isKept ? body : null,
        status: 0,
        outcome: 'open',
      })
      makeRoom()
      return openedCount
    },
    answer(id, status) {
      change(id, { status })
      const vendor = entries.get(id)?.vendor ?? ''
      const byStatus = calls.get(vendor) ?? new Map<number, number>()
      calls.set(vendor, byStatus.set(status, (byStatus.get(status) ?? 0) + 1))
      if (status === 401) unauthorized += 1
    },
    close(id, outcome) {
      change(id, { outcome })
      outcomes[outcome] += 1
    },
    entries: () => [...entries.values()],
    entry: id => entries.get(id) ?? null,
    totals: () => ({
      calls: new Map([...calls].map(([vendor, byStatus]) => [vendor, new Map(byStatus)])),
      unauthorized,
      broken: outcomes.broken,
      abandoned: outcomes.abandoned,
    }),
  }
}
