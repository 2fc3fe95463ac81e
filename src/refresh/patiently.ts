import { AppError } from '../core/errors.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'

/** How long to wait before a store that did not answer is asked again. */
const STORE_RETRY_MS = 1_000

/** An attempt waits this often for the store: a minted token is worth some patience. */
const STORE_RETRIES_MAX = 5

/** Does work on the store, again and again while it is unavailable for a moment. */
export async function patiently<T>(
  deps: { readonly clock: Clock; readonly log: Log },
  work: () => Promise<T>,
  isEndless: () => boolean = () => false,
): Promise<T> {
  for (let retries = 0; ; retries++) {
    try {
      return await work()
    } catch (error) {
      const isMomentary = error instanceof AppError && error.code === 'store_unavailable'
      if (!isMomentary || (retries >= STORE_RETRIES_MAX && !isEndless())) throw error
      deps.log.warn('refresh.store_unavailable', { error, retries })
      await deps.clock.sleep(STORE_RETRY_MS, new AbortController().signal)
    }
  }
}
