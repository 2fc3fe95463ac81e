import type { Bundle, RouteFailure } from '../core/bundle.ts'
import type { ResolvedRoute } from '../core/route.ts'
import type { CancelSignal } from '../system/cancellation.ts'
import { RouterError, routeUnavailable } from './errors.ts'
import { type FreshnessDeps, isReturning, waiting } from './freshness.ts'

const AGENTS_ROUTE = 'inference.local'

/**
 * The agents' route. One whose token is being minted is waited for, within the limit, as is the newer
 * token of one that serves.
 *
 * @throws RouterError when there is none, in words.
 */
export async function servingRoute(
  deps: FreshnessDeps,
  signal: CancelSignal,
): Promise<ResolvedRoute> {
  const bundle = deps.table.current()
  const route = agentsRoute(bundle)
  if (route !== null) return route
  const failure = failureIn(bundle)
  if (failure === null || !isReturning(failure)) throw unavailable(bundle, deps.clock.nowMs())
  using wait = waiting(deps.clock, { signal, waitMs: deps.limits.tokenWaitMs })
  await deps.table.waitUntil(now => {
    const standing = failureIn(now)
    return agentsRoute(now) !== null || standing === null || !isReturning(standing)
  }, wait.signal)
  const found = agentsRoute(deps.table.current())
  if (found !== null) return found
  throw unavailable(deps.table.current(), deps.clock.nowMs())
}

/** The agents' route if it is there. */
export function agentsRoute(bundle: Bundle | null): ResolvedRoute | null {
  return bundle?.routes.find(one => one.name === AGENTS_ROUTE) ?? null
}

function failureIn(bundle: Bundle | null): RouteFailure | null {
  return bundle?.failures.find(one => one.name === AGENTS_ROUTE) ?? null
}

function unavailable(bundle: Bundle | null, nowMs: number): RouterError {
  if (bundle === null) {
    return new RouterError(
      'gateway_unreachable',
      'The router has not heard from its gateway yet. Check that the gateway runs',
      { retryAfterMs: 2_000 },
    )
  }
  const failure = failureIn(bundle)
  if (failure !== null) return routeUnavailable(failure, nowMs)
  return new RouterError(
    'inference_not_configured',
    'No model is configured. Run "openshell inference set --provider NAME --model MODEL"',
  )
}
