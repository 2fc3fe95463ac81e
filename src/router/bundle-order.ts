import type { Bundle } from '../core/bundle.ts'
import type { ResolvedRoute } from '../core/route.ts'

/**
 * Whether a bundle that has just come must not take the place of the one that is served: it holds an
 * earlier token of some provider than a served one that still lives, and was not generated later.
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
