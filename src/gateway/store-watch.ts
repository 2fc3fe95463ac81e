import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { Store } from '../store/store.ts'

/** Who hears of what goes through the store. */
interface StoreWatcher {
  /** A call ended in `store_unavailable`; the error goes on to the caller. */
  onTrouble(): void
  /** A provider's credentials were read; one whose token cannot be has just been made due. */
  onCredentials(rows: readonly Credential[]): void
}

/** The same store, watched. */
export function watchStore(store: Store, watcher: StoreWatcher): Store {
  const watched = new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name)
      if (typeof member !== 'function') return member
      return async (...args: readonly unknown[]): Promise<unknown> => {
        try {
          return await Reflect.apply(member, target, args)
        } catch (error) {
          if (error instanceof AppError && error.code === 'store_unavailable') watcher.onTrouble()
          throw error
        }
      }
    },
  })
  // Each method is wrapped once, here, and not again at each call.
  return {
    ...watched,
    async listCredentials(providerId) {
      const rows = await watched.listCredentials(providerId)
      watcher.onCredentials(rows)
      return rows
    },
  }
}
