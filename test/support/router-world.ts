import type { ResolvedRoute } from '../../src/core/route.ts'
import { Secret } from '../../src/core/secret.ts'
import { type ForwardDeps, forward, type Outcome } from '../../src/router/forward.ts'
import { DEFAULT_LIMITS } from '../../src/router/limits.ts'
import { RefusedBetas } from '../../src/router/refused-betas.ts'
import type { RejectionReport } from '../../src/router/renewal.ts'
import { createRouteTable } from '../../src/router/route-table.ts'
import { silentLog } from '../../src/system/log.ts'
import { FakeClock } from './fake-clock.ts'
import {
  agentRequest,
  answerOf,
  bundleOf,
  fakeUpstream,
  HeardAnswer,
  routeOf,
  type Script,
} from './fake-exchange.ts'

/** The head of a JSON answer. */
export const JSON_HEAD = ['content-type', 'application/json']
/** The head of an event stream. */
export const SSE_HEAD = ['content-type', 'text/event-stream; charset=utf-8']
/** The upstream that greets. */
export const hello: Script = async () => answerOf(200, JSON_HEAD, ['hel', 'lo'])

/** A world around the router. Without routes it has no bundle. */
export function world(options: {
  readonly routes?: readonly ResolvedRoute[]
  readonly script?: Script
  readonly report?: () => Promise<RejectionReport>
  readonly limits?: Partial<ForwardDeps['limits']>
}) {
  const clock = new FakeClock()
  const table = createRouteTable()
  if (options.routes !== undefined) table.swap(bundleOf(options.routes))
  const { upstream, seen } = fakeUpstream(options.script ?? hello)
  const reports: number[] = []
  const reasons: string[] = []
  const lines: string[] = []
  const note = (event: string, fields: unknown): void => {
    lines.push(`${event} ${JSON.stringify(fields)}`)
  }
  const deps: ForwardDeps = {
    upstream,
    table,
    clock,
    limits: { ...DEFAULT_LIMITS, ...options.limits },
    refusedBetas: new RefusedBetas(clock),
    log: { ...silentLog, debug: note, info: note, warn: note, error: note },
    reportRejected: (route, { reason }) => {
      reports.push(route.generation)
      reasons.push(reason)
      return (
        options.report?.() ??
        Promise.resolve({ outcome: 'refreshing', message: '', nextAttemptAtMs: 0 })
      )
    },
  }
  const ask = (from: Parameters<typeof agentRequest>[0] = {}) => {
    const { request, leave } = agentRequest(from)
    const heard = new HeardAnswer()
    return { heard, leave, done: forward(deps, request, heard) }
  }
  return { clock, table, seen, reports, reasons, lines, deps, ask }
}

/** A route whose token dies in an hour and is refreshed on a 401. */
export function refreshedRoute(
  clock: FakeClock,
  generation = 1,
  rest: Partial<ResolvedRoute> = {},
): ResolvedRoute {
  return routeOf({
    generation,
    credential: new Secret(`token-${generation}`),
    expiresAtMs: clock.nowMs() + 3_600_000,
    deadToken: [{ status: 401, when: [], unless: ['PermissionDenied'] }],
    ...rest,
  })
}

/** An outcome in a few words. */
export function summary(outcome: Outcome): string {
  return [outcome.kind, outcome.status, outcome.code].join(' ').trimEnd()
}

/** The error object in an answer, which stands at the same place in both dialects. */
export function errorOf(heard: HeardAnswer): { readonly type: string; readonly message: string } {
  return JSON.parse(heard.text).error
}
