import type { ResolvedRoute } from '../core/route.ts'
import type { Clock } from '../system/clock.ts'
import { describeFailure, instant, RouterError } from './errors.ts'
import type { Limits } from './limits.ts'
import type { RouteTable } from './route-table.ts'

/** When an agent should come again if nobody knows when a new token will be there. */
const RETRY_AFTER_MS = 5_000

/** What waiting for a token needs. */
export interface FreshnessDeps {
  readonly table: RouteTable
  readonly clock: Clock
  readonly limits: Limits
}

/**
 * The route with a token that may be sent now: its own, or a newer one that is there already or
 * comes within the limit. The rest of the route stays as the request found it.
 *
 * @throws RouterError `credential_expired` when none comes.
 */
export async function freshRoute(
  deps: FreshnessDeps,
  route: ResolvedRoute,
  signal: AbortSignal,
): Promise<ResolvedRoute> {
  if (isFresh(deps, route)) return route
  const newer = await newerRoute(deps, route, signal)
  if (newer !== null && isFresh(deps, newer)) return newer
  throw expired(deps, route)
}

/**
 * The route with its provider's next token, or null when none comes within the limit or when the
 * signal aborts. A provider that moved to another address gives none: a token is sent only where the
 * bundle that carried it says.
 */
export async function newerRoute(
  deps: FreshnessDeps,
  route: ResolvedRoute,
  signal: AbortSignal,
): Promise<ResolvedRoute | null> {
  const waiting = new AbortController()
  const stop = (): void => waiting.abort()
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  void deps.clock.sleep(deps.limits.tokenWaitMs, waiting.signal).then(stop)
  try {
    const { providerName, generation } = route
    const newer = await deps.table.waitForNewer(providerName, generation, waiting.signal)
    return newer === null ? null : withTokenOf(newer, route)
  } finally {
    stop()
    signal.removeEventListener('abort', stop)
  }
}

/** How long until an agent should come again, given when the next attempt is due; 0 if unknown. */
export function retryAfterMs(nextAttemptAtMs: number, nowMs: number): number {
  return nextAttemptAtMs > nowMs ? nextAttemptAtMs - nowMs : RETRY_AFTER_MS
}

function isFresh({ clock, limits }: FreshnessDeps, route: ResolvedRoute): boolean {
  return route.expiresAtMs === null || clock.nowMs() + limits.expiryMarginMs < route.expiresAtMs
}

function withTokenOf(newer: ResolvedRoute, route: ResolvedRoute): ResolvedRoute | null {
  if (newer.baseUrl !== route.baseUrl) return null
  const { credential, expiresAtMs, generation, auth } = newer
  return { ...route, credential, expiresAtMs, generation, auth }
}

function expired({ table, clock }: FreshnessDeps, route: ResolvedRoute): RouterError {
  const nowMs = clock.nowMs()
  const failure = table.current()?.failures.find(one => one.providerName === route.providerName)
  const since = `The token of provider "${route.providerName}" expired at ${instant(route.expiresAtMs ?? nowMs)}`
  const why =
    failure === undefined
      ? 'no newer one has reached this router; see "openshell provider refresh status"'
      : describeFailure(failure, nowMs)
  return new RouterError('credential_expired', `${since}. ${why}`, {
    retryAfterMs: retryAfterMs(failure?.nextAttemptAtMs ?? 0, nowMs),
  })
}
