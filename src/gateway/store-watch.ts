import { AppError } from '../core/errors.ts'
import type { Store } from '../store/store.ts'

/**
 * The same store, watched: `onTrouble` hears of each call that ended in `store_unavailable`. The error
 * goes on to the caller.
 */
export function watchStore(store: Store, onTrouble: () => void): Store {
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name)
      if (typeof member !== 'function') return member
      return async (...args: readonly unknown[]): Promise<unknown> => {
        try {
          return await Reflect.apply(member, target, args)
        } catch (error) {
          if (error instanceof AppError && error.code === 'store_unavailable') onTrouble()
          throw error
        }
      }
    },
  })
}
