import type { Bundle } from '../core/bundle.ts'
import type { ResolvedRoute } from '../core/route.ts'

/**
 * What the router serves at this moment. Each bundle is an immutable snapshot and is swapped whole,
 * so a request in flight keeps the routes it began with.
 */
export interface RouteTable {
  /** null until the first bundle came. */
  current(): Bundle | null
  swap(bundle: Bundle): void
  /**
   * Resolves with a route of the provider as soon as its token is newer than `generation`; with null
   * when the signal aborts, or when the provider has no route any more and none is to be awaited.
   */
  waitForNewer(
    providerName: string,
    generation: number,
    signal: AbortSignal,
  ): Promise<ResolvedRoute | null>
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
    waitForNewer(providerName, generation, signal) {
      return new Promise(resolve => {
        const settle = (route: ResolvedRoute | null): void => {
          waiters.delete(check)
          signal.removeEventListener('abort', giveUp)
          resolve(route)
        }
        const giveUp = (): void => settle(null)
        const check = (): void => {
          const routes = bundle?.routes.filter(route => route.providerName === providerName) ?? []
          const newer = routes.find(route => route.generation > generation)
          if (newer !== undefined || routes.length === 0) settle(newer ?? null)
        }
        waiters.add(check)
        signal.addEventListener('abort', giveUp, { once: true })
        if (signal.aborted) giveUp()
        else check()
      })
    },
  }
}
