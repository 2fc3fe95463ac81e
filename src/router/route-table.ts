import type { Bundle } from '../core/bundle.ts'

/**
 * What the router serves at this moment. Each bundle is an immutable snapshot and is swapped whole,
 * so a request in flight keeps the routes it began with.
 */
export interface RouteTable {
  /** null until the first bundle came. */
  current(): Bundle | null
  swap(bundle: Bundle): void
  /** Resolves as soon as a bundle, the standing one included, is as asked for, or the signal aborts. */
  waitUntil(isSo: (bundle: Bundle | null) => boolean, signal: AbortSignal): Promise<void>
}

/** An empty table. */
export function createRouteTable(): RouteTable {
  let bundle: Bundle | null = null
  const waiters = new Set<() => void>()
  return {
    current: () => bundle,
    swap(next) {
      bundle = next
      for (const check of [...waiters]) check()
    },
    waitUntil(isSo, signal) {
      return new Promise(resolve => {
        const settle = (): void => {
          waiters.delete(check)
          signal.removeEventListener('abort', settle)
          resolve()
        }
        const check = (): void => {
          if (isSo(bundle)) settle()
        }
        waiters.add(check)
        signal.addEventListener('abort', settle, { once: true })
        if (signal.aborted) settle()
        else check()
      })
    },
  }
}
