import type { ResolvedRoute } from '../core/route.ts'
import { abortSignalOf, type CancelSignal } from '../system/cancellation.ts'
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

/** How an upstream refused a token as dead. */
interface Refusal {
  readonly status: number
  /** What it said: one line, without the token. */
  readonly reason: string
}

/** A route whose token was refused. */
export interface RefusedRoute {
  readonly route: ResolvedRoute
  readonly refusal: Refusal
}

/** Reports to the gateway that an upstream refused a route's token. */
export type ReportRejected = (route: ResolvedRoute, refusal: Refusal) => Promise<RejectionReport>

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
  refused: RefusedRoute,
  signal: CancelSignal,
): Promise<ResolvedRoute> {
  const { route } = refused
  const inVain = new AbortController()
  const report = hasNewer(deps, route)
    ? Promise.resolve(UNHEARD)
    : reported(deps, refused).then(heard => {
        if (heard.outcome === 'refused') inVain.abort()
        return heard
      })
  const newer = await newerRoute(deps, route, {
    signal: AbortSignal.any([abortSignalOf(signal), inVain.signal]),
    waitMs: deps.limits.tokenWaitMs,
  })
  if (newer !== null) return newer
  // The report may still be under way; then there is nothing to quote.
  throw rejected(deps, route, await Promise.race([report, Promise.resolve(UNHEARD)]))
}

/**
 * Lets requests that were refused with the same token share one report while it is under way, so that
 * a token which dies under hundreds of requests does not flood the gateway.
 */
export function sharedReports(report: ReportRejected): ReportRejected {
  const underWay = new Map<string, Promise<RejectionReport>>()
  return (route, refusal) => {
    const { generation, providerName } = route
    const token = `${generation} ${providerName}`
    const running = underWay.get(token)
    if (running !== undefined) return running
    const begun = report(route, refusal).finally(() => underWay.delete(token))
    underWay.set(token, begun)
    return begun
  }
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

/**
 * The error for a newer token that was refused as well. That is reported too, so that people see it
 * and the agent hears when the gateway may try again; nothing is waited for.
 */
export async function rejectedAgain(
  deps: RenewalDeps,
  refused: RefusedRoute,
): Promise<RouterError> {
  const { nextAttemptAtMs } = await reported(deps, refused)
  const message = 'it refused a newly minted one as well'
  return rejected(deps, refused.route, { message, nextAttemptAtMs })
}

function hasNewer({ table }: RenewalDeps, route: ResolvedRoute): boolean {
  const routes = table.current()?.routes ?? []
  return routes.some(
    one => one.providerName === route.providerName && one.generation !== route.generation,
  )
}

async function reported(
  deps: RenewalDeps,
  { route, refusal }: RefusedRoute,
): Promise<RejectionReport> {
  try {
    return await deps.reportRejected(route, refusal)
  } catch (error) {
    deps.log.warn('report.failed', { provider: route.providerName, error })
    return { outcome: 'refused', message: 'the gateway cannot be reached', nextAttemptAtMs: 0 }
  }
}
