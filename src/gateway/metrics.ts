import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Standing } from '../core/credential.ts'
import type { Clock } from '../system/clock.ts'
import type { Tracer } from '../system/trace.ts'
import type { Vitals } from '../system/vitals.ts'
import { type CredentialMetrics, createCredentialMetrics } from './credential-metrics.ts'
import type { Reach } from './roster.ts'

/** Seconds from a bundle's making to a router's word that it serves it. */
const DELIVERY_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30]

/** The gateway's numbers, as Prometheus reads them. */
export interface Metrics {
  readonly credentials: CredentialMetrics
  bundleServed(): void
  bundleDelivered(elapsedMs: number): void
  storeTrouble(): void
  /** The text that `/metrics` answers. It asks neither the store nor the network. */
  render(): Promise<string>
  readonly contentType: string
}

/** What is asked at each scrape. */
export interface MetricsDeps {
  readonly clock: Clock
  readonly vitals: Vitals
  readonly version: string
  readonly isRefreshing: (credential: Standing) => boolean
  readonly reaches: () => readonly Reach[]
  /** Token hosts whose circuit is open. */
  readonly hostsDown: () => readonly string[]
  readonly tracer: Tracer | null
}

/** Builds the metrics. */
export function createMetrics(deps: MetricsDeps): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const credentials = createCredentialMetrics(registers, deps)
  gaugeHosts(registers, deps.hostsDown)
  gaugeRouters(registers, deps.reaches)
  const bundles = new Counter({
    name: 'openshell_bundle_requests_total',
    help: 'Bundles that were polled',
    registers,
  })
  const deliverySeconds = new Histogram({
    name: 'openshell_delivery_seconds',
    help: 'How long a pushed bundle took from its making until a router served it',
    buckets: DELIVERY_BUCKETS,
    registers,
  })
  const troubles = new Counter({
    name: 'openshell_store_troubles_total',
    help: 'Calls to the store that failed because the database did',
    registers,
  })
  countSpans(registers, deps.tracer)
  gaugeProcess(registers, deps)
  return {
    credentials,
    bundleServed: () => bundles.inc(),
    bundleDelivered: elapsedMs => deliverySeconds.observe(elapsedMs / 1_000),
    storeTrouble: () => troubles.inc(),
    render: () => registry.metrics(),
    contentType: registry.contentType,
  }
}

function gaugeHosts(registers: Registry[], hostsDown: MetricsDeps['hostsDown']): void {
  new Gauge({
    name: 'openshell_token_host_down',
    help: '1 for each token host whose circuit is open: one attempt at a time goes out',
    labelNames: ['host'],
    registers,
    collect() {
      this.reset()
      for (const host of hostsDown()) this.set({ host }, 1)
    },
  })
}

function gaugeRouters(registers: Registry[], reachesNow: MetricsDeps['reaches']): void {
  new Gauge({
    name: 'openshell_routers',
    help: 'Connected routers; "current" serve the newest revision, "behind" do not yet',
    labelNames: ['workspace', 'state'],
    registers,
    collect() {
      this.reset()
      for (const { workspace, routers, routersCurrent } of reachesNow()) {
        this.set({ workspace, state: 'current' }, routersCurrent)
        this.set({ workspace, state: 'behind' }, routers - routersCurrent)
      }
    },
  })
  new Gauge({
    name: 'openshell_watch_streams',
    help: 'Streams on which routers wait for bundles',
    labelNames: ['workspace'],
    registers,
    collect() {
      this.reset()
      for (const { workspace, routersWatching } of reachesNow()) {
        this.set({ workspace }, routersWatching)
      }
    },
  })
  new Gauge({
    name: 'openshell_oldest_push_seconds',
    help: 'Age of the oldest push that no router has acknowledged yet; 0 when there is none',
    labelNames: ['workspace'],
    registers,
    collect() {
      this.reset()
      for (const { workspace, oldestPushMs } of reachesNow()) {
        this.set({ workspace }, oldestPushMs / 1_000)
      }
    },
  })
}

function countSpans(registers: Registry[], tracer: Tracer | null): void {
  new Counter({
    name: 'openshell_trace_spans_total',
    help: 'Spans by what became of them: exported, or dropped because the collector was away',
    labelNames: ['outcome'],
    registers,
    collect() {
      this.reset()
      if (tracer === null) return
      const { exported, dropped } = tracer.counts()
      this.inc({ outcome: 'exported' }, exported)
      this.inc({ outcome: 'dropped' }, dropped)
    },
  })
}

/** Under the names that Prometheus clients of every language use. */
function gaugeProcess(
  registers: Registry[],
  { vitals, version }: Pick<MetricsDeps, 'vitals' | 'version'>,
): void {
  new Gauge({
    name: 'openshell_build_info',
    help: '1, with the version of this gateway',
    labelNames: ['version'],
    registers,
  }).set({ version }, 1)
  new Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Memory of this process that is resident',
    registers,
    collect() {
      this.set(vitals.residentBytes())
    },
  })
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'User and system time of this process',
    registers,
    collect() {
      this.reset()
      this.inc(vitals.cpuSeconds())
    },
  })
  new Gauge({
    name: 'nodejs_eventloop_lag_p99_seconds',
    help: 'The 99th percentile of the event loop’s delay since the last scrape',
    registers,
    collect() {
      this.set(vitals.loopDelayP99Seconds())
    },
  })
}
