import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Credential } from '../core/credential.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { RefreshEvent } from '../refresh/task.ts'
import type { Clock } from '../system/clock.ts'
import type { Reach } from './roster.ts'

/** Seconds that a mint may take, from a warm local answer to the time limit. */
const MINT_BUCKETS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20]

/** Seconds from a bundle's making to a router's word that it serves it. */
const DELIVERY_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30]

/** The gateway's numbers, as Prometheus reads them. */
export interface Metrics {
  refreshed(event: RefreshEvent): void
  /** A credential as it stands, for example at the start. */
  known(provider: ProviderRecord, credential: Credential): void
  forgotten(provider: ProviderRecord): void
  bundleServed(): void
  bundleDelivered(elapsedMs: number): void
  tokenRejected(provider: ProviderRecord): void
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
  const ends = new Map<string, { readonly labels: Labels; readonly atMs: number }>()
  const refreshes = new Counter({
    name: 'openshell_refreshes_total',
    help: 'Refresh attempts by provider, outcome and failure class',
    labelNames: ['workspace', 'provider', 'outcome', 'class'],
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
    labelNames: ['workspace', 'provider'],
    registers,
    collect() {
      this.reset()
      for (const { labels, atMs } of ends.values())
        this.set(labels, (atMs - deps.clock.nowMs()) / 1_000)
    },
  })
  countRouters(registers, deps.reaches)
  const bundles = new Counter({
    name: 'openshell_bundle_requests_total',
    help: 'Bundles that were polled',
    registers,
  })
  const rejections = new Counter({
    name: 'openshell_tokens_rejected_total',
    help: 'Reports of routers that a vendor refused a token',
    labelNames: ['workspace', 'provider'],
    registers,
  })
  const deliverySeconds = new Histogram({
    name: 'openshell_delivery_seconds',
    help: 'How long a pushed bundle took until a router served it',
    buckets: DELIVERY_BUCKETS,
    registers,
  })
  const known = (provider: ProviderRecord, { token }: Credential): void => {
    if (token === null) ends.delete(provider.id)
    else ends.set(provider.id, { labels: labelsOf(provider), atMs: token.expiresAtMs })
  }
  return {
    known,
    refreshed({ provider, outcome, elapsedMs }) {
      const failureClass = outcome.kind === 'failed' ? outcome.failure.class : ''
      refreshes.inc({ ...labelsOf(provider), outcome: outcome.kind, class: failureClass })
      mintSeconds.observe(elapsedMs / 1_000)
      if (outcome.kind !== 'discarded') known(provider, outcome.credential)
    },
    forgotten(provider) {
      ends.delete(provider.id)
    },
    bundleServed: () => bundles.inc(),
    bundleDelivered: elapsedMs => deliverySeconds.observe(elapsedMs / 1_000),
    tokenRejected: provider => rejections.inc(labelsOf(provider)),
    render: () => registry.metrics(),
    contentType: registry.contentType,
  }
}

interface Labels {
  readonly workspace: string
  readonly provider: string
}

/** The same name may stand in two workspaces. */
function labelsOf({ workspace, name }: ProviderRecord): Labels {
  return { workspace, provider: name }
}

function countRouters(registers: Registry[], reachesNow: () => Promise<readonly Reach[]>): void {
  new Gauge({
    name: 'openshell_routers',
    help: 'Connected routers; "current" serve the newest revision, "behind" do not yet',
    labelNames: ['state'],
    registers,
    async collect() {
      const reaches = await reachesNow()
      const current = reaches.reduce((sum, one) => sum + one.routersCurrent, 0)
      const routers = reaches.reduce((sum, one) => sum + one.routers, 0)
      this.set({ state: 'current' }, current)
      this.set({ state: 'behind' }, routers - current)
    },
  })
}
