import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { RefreshEvent } from '../refresh/task.ts'
import type { Clock } from '../system/clock.ts'
import type { Reach } from './roster.ts'

/** Seconds that a mint may take, from a warm local answer to the time limit. */
const MINT_BUCKETS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20]

/** The gateway's numbers, as Prometheus reads them. */
export interface Metrics {
  refreshed(event: RefreshEvent): void
  forgotten(provider: string): void
  bundleServed(): void
  tokenRejected(provider: string): void
  /** The text that `/metrics` answers. */
  render(): Promise<string>
  readonly contentType: string
}

/** Builds the metrics. `reaches` is asked at each scrape. */
export function createMetrics(deps: {
  readonly clock: Clock
  readonly reaches: () => Promise<readonly Reach[]>
}): Metrics {
  const registry = new Registry()
  const registers = [registry]
  const ends = new Map<string, number>()
  const refreshes = new Counter({
    name: 'openshell_refreshes_total',
    help: 'Refresh attempts by provider, outcome and failure class',
    labelNames: ['provider', 'outcome', 'class'],
    registers,
  })
  const mintSeconds = new Histogram({
    name: 'openshell_mint_seconds',
    help: 'How long a refresh attempt took',
    buckets: MINT_BUCKETS,
    registers,
  })
  new Gauge({
    name: 'openshell_token_expiry_seconds',
    help: 'Seconds until the token ends; negative when it has ended',
    labelNames: ['provider'],
    registers,
    collect() {
      for (const [provider, atMs] of ends)
        this.set({ provider }, (atMs - deps.clock.nowMs()) / 1_000)
    },
  })
  new Gauge({
    name: 'openshell_routers',
    help: 'Connected routers; "current" serve the newest revision, "behind" do not yet',
    labelNames: ['state'],
    registers,
    async collect() {
      const reaches = await deps.reaches()
      const current = reaches.reduce((sum, one) => sum + one.routersCurrent, 0)
      const routers = reaches.reduce((sum, one) => sum + one.routers, 0)
      this.set({ state: 'current' }, current)
      this.set({ state: 'behind' }, routers - current)
    },
  })
  const bundles = new Counter({
    name: 'openshell_bundle_requests_total',
    help: 'Bundles that were polled',
    registers,
  })
  const rejections = new Counter({
    name: 'openshell_tokens_rejected_total',
    help: 'Reports of routers that a vendor refused a token',
    labelNames: ['provider'],
    registers,
  })
  return {
    refreshed({ provider, outcome, elapsedMs }) {
      const failureClass = outcome.kind === 'failed' ? outcome.failure.class : ''
      refreshes.inc({ provider: provider.name, outcome: outcome.kind, class: failureClass })
      mintSeconds.observe(elapsedMs / 1_000)
      if (outcome.kind === 'discarded' || outcome.credential.token === null) return
      ends.set(provider.name, outcome.credential.token.expiresAtMs)
    },
    forgotten(provider) {
      ends.delete(provider)
    },
    bundleServed: () => bundles.inc(),
    tokenRejected: provider => rejections.inc({ provider }),
    render: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
