import type { ResolvedRoute } from '../core/route.ts'
import type { Log } from '../system/log.ts'
import { RouterError } from './errors.ts'
import { type FreshnessDeps, newerRoute, retryAfterMs } from './freshness.ts'

/** What the gateway said to the report that an upstream refused a token. */
export interface RejectionReport {
  /**
   * `refreshing`: a newer token comes · `known`: it is out already · `refused`: there is none to be
   * had now, waiting is in vain.
   */
  readonly outcome: 'refreshing' | 'known' | 'refused'
  readonly message: string
  /** When the next attempt is due; 0 when unknown. */
  readonly nextAttemptAtMs: number
}

/** Reports to the gateway that an upstream refused a route's token. */
export type ReportRejected = (route: ResolvedRoute) => Promise<RejectionReport>

/** What the renewal of a refused token needs. */
export interface RenewalDeps extends FreshnessDeps {
  readonly reportRejected: ReportRejected
  readonly log: Log
}

const UNHEARD: RejectionReport = {
  outcome: 'refreshing',
  message: 'the gateway has not brought a new one in time',
  nextAttemptAtMs: 0,
}

/**
 * The route with a newer token in place of one that its upstream refused. The refusal is reported
 * once, unless a newer token is there already.
 *
 * @throws RouterError `credential_rejected` when none comes.
 */
export async function renewedRoute(
  deps: RenewalDeps,
  route: ResolvedRoute,
  signal: AbortSignal,
): Promise<ResolvedRoute> {
  const inVain = new AbortController()
  const report = hasNewer(deps, route)
    ? Promise.resolve(UNHEARD)
    : reported(deps, route).then(heard => {
        if (heard.outcome === 'refused') inVain.abort()
        return heard
      })
  const newer = await newerRoute(deps, route, AbortSignal.any([signal, inVain.signal]))
  if (newer !== null) return newer
  // The report may still be under way; then there is nothing to quote.
  throw rejected(deps, route, await Promise.race([report, Promise.resolve(UNHEARD)]))
}

/** The error for a token that the upstream refused and that cannot be helped now. */
export function rejected(
  deps: RenewalDeps,
  route: ResolvedRoute,
  report: Pick<RejectionReport, 'message' | 'nextAttemptAtMs'>,
): RouterError {
  return new RouterError(
    'credential_rejected',
    `The provider's API refused the token of provider "${route.providerName}": ${report.message}. See "openshell provider refresh status"`,
    { retryAfterMs: retryAfterMs(report.nextAttemptAtMs, deps.clock.nowMs()) },
  )
}

function hasNewer({ table }: RenewalDeps, route: ResolvedRoute): boolean {
  const routes = table.current()?.routes ?? []
  return routes.some(
    one => one.providerName === route.providerName && one.generation > route.generation,
  )
}

async function reported(deps: RenewalDeps, route: ResolvedRoute): Promise<RejectionReport> {
  try {
    return await deps.reportRejected(route)
  } catch (error) {
    deps.log.warn('report.failed', { provider: route.providerName, error })
    return { outcome: 'refused', message: 'the gateway cannot be reached', nextAttemptAtMs: 0 }
  }
}
