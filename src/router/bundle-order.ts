import type { Bundle } from '../core/bundle.ts'
import type { ResolvedRoute } from '../core/route.ts'

/**
 * Whether a bundle that has just come must not take the place of the one that is served: it was not
 * generated later, and knows fewer of the database's changes. Where these do not tell, it is one that
 * holds an earlier token of some provider than a served one that still lives.
 *
 * So it is when a late answer meets a push, or when a router comes to another gateway that is behind.
 * A provider that was deleted and added anew is another one. A bundle that was generated later is put
 * to use even if a generation is lower, because then the gateway's database was restored; and once the
 * served token is dead, any bundle is better, so a gateway whose clock was set back is not shut out. Static keys have no generations.
 */
export function isOutdated(
  arrived: Bundle,
  { served, nowMs }: { readonly served: Bundle; readonly nowMs: number },
): boolean {
  if (arrived.generatedAtMs > served.generatedAtMs) return false
  if (arrived.changes > 0 && served.changes > 0 && arrived.changes !== served.changes) {
    const isDead = served.routes.length > 0 && !served.routes.some(one => isAlive(one, nowMs))
    return arrived.changes < served.changes && !isDead
  }
  return served.routes.some(
    route => isAlive(route, nowMs) && arrived.routes.some(one => isEarlier(one, route)),
  )
}

function isAlive({ expiresAtMs }: ResolvedRoute, nowMs: number): boolean {
  return expiresAtMs === null || expiresAtMs > nowMs
}

function isEarlier(one: ResolvedRoute, other: ResolvedRoute): boolean {
  const isSameProvider =
    one.providerName === other.providerName && one.providerId === other.providerId
  return isSameProvider && one.generation > 0 && one.generation < other.generation
}
