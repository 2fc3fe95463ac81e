import type { Bundle, RouteFailure } from '../core/bundle.ts'
import type { ResolvedRoute } from '../core/route.ts'
import type { CancelSignal } from '../system/cancellation.ts'
import type { Clock } from '../system/clock.ts'
import { describeFailure, instant, RouterError } from './errors.ts'
import type { Limits } from './limits.ts'
import type { RouteTable } from './route-table.ts'

/** When an agent should come again if nobody knows when a new token will be there. */
const RETRY_AFTER_MS = 5_000

/** What waiting for a token needs. */
export interface FreshnessDeps {
  readonly table: RouteTable
  /** Tells the gateway's time, by which tokens end. */
  readonly clock: Clock
  readonly limits: Limits
}

/**
 * The route with a token that may be sent now: its own, or a newer one that is there already or
 * comes within the limit. The rest of the route stays as the request found it.
 *
 * From a token's mandatory point on its gateway mints a newer one with all urgency, every 2 s at
 * least. A request that comes within those first 2 s, or the zone's first half if that is shorter, waits
 * for it until they are over; whoever comes later goes out at once with the old token, which serves
 * until its end, so that a vendor's long outage delays no request. From the end on every request waits,
 * within the limit.
 *
 * @throws RouterError `credential_expired` when none comes.
 */
export async function freshRoute(
  deps: FreshnessDeps,
  route: ResolvedRoute,
  signal: CancelSignal,
): Promise<ResolvedRoute> {
  const urgentMs = urgentWaitMs(deps, route)
  if (urgentMs > 0) {
    const newer = await newerRoute(deps, route, { signal, waitMs: urgentMs })
    if (newer !== null) return newer
  }
  // Who left meanwhile gets none: nothing is sent for nobody.
  if (isFresh(deps, route) && !signal.aborted) return route
  const newer = await newerRoute(deps, route, { signal, waitMs: deps.limits.tokenWaitMs })
  if (newer !== null) return newer
  throw expired(deps, route)
}

/**
 * The route with its provider's next token that may be sent, or null when none comes within the limit
 * or when the signal aborts. A provider that moved to another address gives none: a token is sent only
 * where the bundle that carried it says.
 *
 * The table never goes back to an earlier token that a later one has replaced, so any other
 * generation is a newer token: a provider that was added anew counts from 1 again.
 */
export async function newerRoute(
  deps: FreshnessDeps,
  route: ResolvedRoute,
  { signal, waitMs }: { readonly signal: CancelSignal; readonly waitMs: number },
): Promise<ResolvedRoute | null> {
  using wait = waiting(deps.clock, { signal, waitMs })
  const { providerName, generation } = route
  const newerIn = (bundle: Bundle | null): ResolvedRoute | null =>
    bundle?.routes.find(
      one =>
        one.providerName === providerName && one.generation !== generation && isFresh(deps, one),
    ) ?? null
  await deps.table.waitUntil(
    bundle => newerIn(bundle) !== null || !isAwaited(bundle, providerName),
    wait.signal,
  )
  const newer = newerIn(deps.table.current())
  return newer === null || signal.aborted ? null : withTokenOf(newer, route)
}

/** Whether a route that cannot serve is about to: its next token is being minted at this moment. */
export function isReturning({ code }: RouteFailure): boolean {
  return code === 'credential_refreshing'
}

/** Whether a newer token of the provider may come: not when no route leads to it any more. */
function isAwaited(bundle: Bundle | null, providerName: string): boolean {
  if (bundle === null) return true
  const isRouted = bundle.routes.some(one => one.providerName === providerName)
  return (
    isRouted || bundle.failures.some(one => one.providerName === providerName && isReturning(one))
  )
}

/** A wait's end: its time is over, or the agent is gone. Disposing of it ends it at once. */
interface Wait extends Disposable {
  readonly signal: AbortSignal
}

/** Begins a wait of at most `waitMs`. */
export function waiting(
  clock: Clock,
  { signal, waitMs }: { readonly signal: CancelSignal; readonly waitMs: number },
): Wait {
  const over = new AbortController()
  const stop = (): void => over.abort()
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  void clock.sleep(waitMs, over.signal).then(stop)
  return {
    signal: over.signal,
    [Symbol.dispose]() {
      stop()
      signal.removeEventListener('abort', stop)
    },
  }
}

/** How long until an agent should come again, given when the next attempt is due; 0 if unknown. */
export function retryAfterMs(nextAttemptAtMs: number, nowMs: number): number {
  return nextAttemptAtMs > nowMs ? nextAttemptAtMs - nowMs : RETRY_AFTER_MS
}

/** Whether {@link freshRoute} would give the route itself, without a wait. */
export function isReady(deps: FreshnessDeps, route: ResolvedRoute): boolean {
  const { expiresAtMs, mandatoryAtMs } = route
  if (expiresAtMs === null) return true
  const nowMs = deps.clock.nowMs()
  const isAlive = nowMs + deps.limits.expiryMarginMs < expiresAtMs
  if (isAlive && (mandatoryAtMs === null || nowMs < mandatoryAtMs)) return true
  return isAlive && urgentWaitMs(deps, route) <= 0
}

function isFresh({ clock, limits }: FreshnessDeps, route: ResolvedRoute): boolean {
  return route.expiresAtMs === null || clock.nowMs() + limits.expiryMarginMs < route.expiresAtMs
}

/** How long a request waits although the route's own token may still be sent; 0 mostly. */
function urgentWaitMs({ clock, limits }: FreshnessDeps, route: ResolvedRoute): number {
  const { mandatoryAtMs, expiresAtMs } = route
  if (mandatoryAtMs === null || expiresAtMs === null) return 0
  const nowMs = clock.nowMs()
  if (nowMs < mandatoryAtMs) return 0
  // Over while the token may still be sent, however short its life is.
  const zoneMs = expiresAtMs - limits.expiryMarginMs - mandatoryAtMs
  return mandatoryAtMs + Math.min(limits.mandatoryWaitMs, zoneMs / 2) - nowMs
}

function withTokenOf(newer: ResolvedRoute, route: ResolvedRoute): ResolvedRoute | null {
  if (newer.baseUrl !== route.baseUrl) return null
  const { credential, expiresAtMs, mandatoryAtMs, generation, auth } = newer
  return { ...route, credential, expiresAtMs, mandatoryAtMs, generation, auth }
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
