import { AppError } from '../core/errors.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'

/** How often a gateway says that it is at work, and reads its master keys. */
export const PRESENCE_MS = 10_000

/**
 * Says in the database that this gateway is at work, as long as it is, and takes up master keys that were
 * added to its key file. What goes wrong is logged and tried again; it never ends the gateway.
 */
export async function keepPresence(
  deps: { readonly store: Store; readonly clock: Clock; readonly log: Log },
  gateway: string,
  stopping: AbortSignal,
): Promise<void> {
  const { store, clock, log } = deps
  const orLogged = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      log.warn('gateway.presence_unsaid', { error })
    }
  }
  while (!stopping.aborted) {
    await orLogged(() => store.announce(gateway))
    await clock.sleep(PRESENCE_MS, stopping)
  }
  await orLogged(() => store.withdraw(gateway))
}
