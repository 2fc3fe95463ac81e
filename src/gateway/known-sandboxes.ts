import { AppError } from '../core/errors.ts'
import type { SandboxRecord } from '../core/provider.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import { createNewest } from './newest.ts'

/** A sandbox is asked for again after this, should the word of its deletion have been lost. */
const BELIEVED_MS = 10_000

/** How long the store may take before what is remembered is answered. */
const PATIENCE_MS = 1_000

/** The sandboxes that have called, so that a poll does not cost the store a question. */
export interface KnownSandboxes {
  /**
   * The sandbox; null when there is none. While the store is away, or hangs, whoever was there when it
   * was asked last is believed to be there still: nobody can delete it, and nothing new is handed out.
   */
  find(id: string): Promise<SandboxRecord | null>
  /** It was deleted, or any may have been when it is null. */
  forget(id: string | null): void
}

interface Known {
  readonly sandbox: SandboxRecord
  /** On the monotonic clock. */
  readonly untilMs: number
}

/** Remembers up to `countMax` sandboxes of a store. */
export function rememberSandboxes(
  { store, clock }: { readonly store: Pick<Store, 'getSandboxById'>; readonly clock: Clock },
  countMax: number,
): KnownSandboxes {
  const known = createNewest<Known>(countMax)
  let deletions = 0

  const read = async (id: string): Promise<SandboxRecord | null> => {
    const nowMs = clock.monotonicMs()
    const before = deletions
    const sandbox = await store.getSandboxById(id)
    if (sandbox === null) known.delete(id)
    // One that is deleted during the reading must not be remembered after it.
    else if (before === deletions) known.set(id, { sandbox, untilMs: nowMs + BELIEVED_MS })
    return sandbox
  }

  /** What is remembered, and nobody asks again for a moment. */
  const believe = (id: string, { sandbox }: Known): SandboxRecord => {
    if (known.get(id) !== undefined) {
      known.set(id, { sandbox, untilMs: clock.monotonicMs() + PATIENCE_MS })
    }
    return sandbox
  }

  return {
    async find(id) {
      const remembered = known.get(id)
      if (remembered === undefined) return read(id)
      if (clock.monotonicMs() < remembered.untilMs) return remembered.sandbox
      const over = new AbortController()
      const reading = read(id).catch((error: unknown) => {
        if (!(error instanceof AppError && error.code === 'store_unavailable')) throw error
        return believe(id, remembered)
      })
      const patience = clock.sleep(PATIENCE_MS, over.signal)
      return Promise.race([
        reading,
        patience.then(() => (over.signal.aborted ? reading : believe(id, remembered))),
      ]).finally(() => over.abort())
    },
    forget(id) {
      deletions += 1
      if (id === null) known.clear()
      else known.delete(id)
    },
  }
}
