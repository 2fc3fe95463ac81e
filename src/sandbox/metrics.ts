import type { Protocol } from '../core/route.ts'
import type { WholeAnswer } from '../router/errors.ts'
import type { AgentRequest } from '../router/exchange.ts'
import type { Outcome } from '../router/forward.ts'
import type { RouteTable } from '../router/route-table.ts'
import type { Clock } from '../system/clock.ts'
import type { Tracer } from '../system/trace.ts'

/** Where agents' port answers with the router's numbers. No model API has a path like it. */
const METRICS_PATH = '/openshell/metrics'

/** Codes come from a closed list and from the gateway; more than these would be a mistake. */
const CODES_MAX = 100

/**
 * The router's own numbers. Agents may read them, so they tell what an agent can count by itself, and
 * neither names nor addresses. Written without a library, which would delay each start of a sandbox.
 */
export interface RouterMetrics {
  /** The table that requests are to use: their waits for a newer token are counted. */
  readonly table: RouteTable
  served(outcome: Outcome): void
  /** The answer to a request for the metrics, as Prometheus reads it. */
  answer(): WholeAnswer
}

/** What the numbers are taken from. */
export interface RouterMetricsDeps {
  readonly table: RouteTable
  /** The machine's. */
  readonly clock: Clock
  /** The gateway's, as the router knows it. */
  readonly gatewayClock: Clock
  /** Null when nothing is traced. */
  readonly tracer: Tracer | null
}

interface Family {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'summary'
  readonly help: string
  /** By suffix and labels. */
  readonly samples: Iterable<readonly [place: string, value: number]>
}

/** Whether a request is for the router's metrics, not for a model. */
export function asksForMetrics({ method, target }: AgentRequest): boolean {
  return (method === 'GET' || method === 'HEAD') && target.split('?', 1)[0] === METRICS_PATH
}

/** Builds the metrics of one router. */
export function createRouterMetrics(deps: RouterMetricsDeps): RouterMetrics {
  const { table, clock } = deps
  const requests = new Map<Protocol | null, Map<Outcome['kind'], number>>()
  const errors = new Map<string, number>()
  const waits = { count: 0, seconds: 0 }
  let replays = 0
  const countFamilies = (): readonly Family[] => [
    {
      ...{ name: 'openshell_router_requests_total', type: 'counter' },
      help: 'Requests of agents by protocol and outcome',
      samples: requestSamples(requests),
    },
    {
      ...{ name: 'openshell_router_errors_total', type: 'counter' },
      help: 'Errors that the router answered by itself, by code',
      samples: errors,
    },
    {
      ...{ name: 'openshell_router_replays_total', type: 'counter' },
      help: 'Requests that were sent again with a newer token',
      samples: [['', replays]],
    },
    {
      ...{ name: 'openshell_router_token_wait_seconds', type: 'summary' },
      help: 'How long requests waited for a newer token',
      samples: [
        ['_sum', waits.seconds],
        ['_count', waits.count],
      ],
    },
  ]
  return {
    table: {
      ...table,
      async waitUntil(isSo, signal) {
        const startedMs = clock.monotonicMs()
        try {
          return await table.waitUntil(isSo, signal)
        } finally {
          waits.count += 1
          waits.seconds += (clock.monotonicMs() - startedMs) / 1_000
        }
      },
    },
    served({ kind, protocol, code, isReplayed }) {
      const kinds = requests.get(protocol) ?? new Map()
      if (kinds.size === 0) requests.set(protocol, kinds)
      add(kinds, kind)
      if (isReplayed) replays += 1
      if (code === '') return
      const place = `{code="${code}"}`
      const isListed = errors.has(place) || errors.size < CODES_MAX
      add(errors, isListed ? place : '{code="other"}')
    },
    answer() {
      const families = [...countFamilies(), spanFamily(deps.tracer), ...bundleFamilies(deps)]
      return textAnswer(families.map(textOf).join(''))
    },
  }
}

function bundleFamilies({ table, clock, gatewayClock }: RouterMetricsDeps): readonly Family[] {
  const bundle = table.current()
  const nowMs = gatewayClock.nowMs()
  const ends = bundle?.routes.flatMap(route => route.expiresAtMs ?? []) ?? []
  return [
    {
      ...{ name: 'openshell_router_bundle_age_seconds', type: 'gauge' },
      help: 'Age of the bundle that serves; absent before the first',
      samples: bundle === null ? [] : [['', (nowMs - bundle.generatedAtMs) / 1_000]],
    },
    {
      ...{ name: 'openshell_router_routes', type: 'gauge' },
      help: 'Routes that can serve, and routes that the gateway says cannot',
      samples: [
        ['{state="serving"}', bundle?.routes.length ?? 0],
        ['{state="failed"}', bundle?.failures.length ?? 0],
      ],
    },
    {
      ...{ name: 'openshell_router_token_expiry_seconds', type: 'gauge' },
      help: 'Seconds until the first token of the bundle ends; absent without one that does',
      samples: ends.length === 0 ? [] : [['', (Math.min(...ends) - nowMs) / 1_000]],
    },
    {
      ...{ name: 'openshell_router_clock_ahead_seconds', type: 'gauge' },
      help: "By how much this machine's clock is ahead of the gateway's",
      samples: [['', (clock.nowMs() - nowMs) / 1_000]],
    },
  ]
}

function spanFamily(tracer: Tracer | null): Family {
  const counts = Object.entries(tracer?.counts() ?? {})
  return {
    ...{ name: 'openshell_router_trace_spans_total', type: 'counter' },
    help: 'Spans by what became of them: exported, or dropped because the collector was away',
    samples: counts.map(([outcome, count]) => [`{outcome="${outcome}"}`, count]),
  }
}

function* requestSamples(
  requests: ReadonlyMap<Protocol | null, ReadonlyMap<Outcome['kind'], number>>,
): Generator<readonly [string, number]> {
  for (const [protocol, kinds] of requests) {
    for (const [kind, count] of kinds) {
      yield [`{protocol="${protocol ?? 'none'}",outcome="${kind}"}`, count]
    }
  }
}

function add<Place>(counts: Map<Place, number>, place: Place): void {
  counts.set(place, (counts.get(place) ?? 0) + 1)
}

function textOf({ name, type, help, samples }: Family): string {
  const lines = [...samples].map(([place, value]) => `${name}${place} ${value}\n`)
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`
}

function textAnswer(text: string): WholeAnswer {
  const body = Buffer.from(text)
  const length = String(body.length)
  const type = 'text/plain; version=0.0.4; charset=utf-8'
  return {
    status: 200,
    headers: ['content-type', type, 'content-length', length, 'cache-control', 'no-store'],
    body,
  }
}
