import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import { type CredentialState, type Standing, standingOf, stateOf } from '../core/credential.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { RefreshEvent } from '../refresh/attempt.ts'
import type { Clock } from '../system/clock.ts'

/** Seconds that a mint may take, from a warm local answer to the time limit. */
const MINT_BUCKETS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20]

/**
 * Credentials with series of their own, so that a scrape holds the gateway up for some 50 ms at most;
 * of those beyond, only the counts by state tell.
 */
const SERIES_CREDENTIALS_MAX = 1_000

const STATES: readonly CredentialState[] = [
  'pending',
  'valid',
  'refreshing',
  'degraded',
  'expired',
  'failed',
  'disabled',
]

/** The numbers of the credentials' lives. What depends on time is worked out at each scrape. */
export interface CredentialMetrics {
  /** A provider's credentials as they stand in the store; none of one that is gone. */
  stand(provider: Named, credentials: readonly Standing[]): void
  /** A provider that was deleted. */
  gone(providerId: string): void
  /** The providers of a workspace, or of all, that have numbers. */
  known(workspace: string | null): readonly string[]
  /** An attempt; of a first one, `stand` was told before. */
  attempted(event: RefreshEvent): void
  /** A router reported that the vendor refused the provider's token. */
  rejected(provider: Named): void
}

/** What a provider is called; its content does not matter here. */
type Named = Pick<ProviderRecord, 'id' | 'workspace' | 'name'>

type Life = NonNullable<Standing['token']>

type Labels = Readonly<Record<string, string>>

/** What is known of one provider. Its counters go with it, so that no series outlives it. */
interface Ledger {
  readonly labels: Labels
  credential: Standing
  readonly attempts: Map<string, { readonly labels: Labels; count: number }>
  lives: number
  rejections: number
}

/** Builds the credentials' metrics into a registry. */
export function createCredentialMetrics(
  registers: Registry[],
  deps: {
    readonly clock: Clock
    readonly isRefreshing: (credential: Standing) => boolean
  },
): CredentialMetrics {
  const ledgers = new Map<string, Ledger>()
  const mintSeconds = new Histogram({
    name: 'openshell_mint_seconds',
    help: 'How long a refresh attempt took, by provider type',
    labelNames: ['type'],
    buckets: MINT_BUCKETS,
    registers,
  })
  gaugeStates(registers, ledgers, deps)
  gaugeTimes(registers, ledgers, deps.clock)
  countAttempts(registers, ledgers)

  const take = (provider: Named, credential: Standing): void => {
    const known = ledgers.get(provider.id)
    if (known === undefined) ledgers.set(provider.id, openLedger(provider, credential))
    // What was read before the last write may come after it.
    else if (credential.version >= known.credential.version) renew(known, credential)
  }
  return {
    stand(provider, credentials) {
      const [credential] = credentials
      if (credential === undefined) ledgers.delete(provider.id)
      else take(provider, credential)
    },
    gone: providerId => void ledgers.delete(providerId),
    known: workspace =>
      [...ledgers].flatMap(([id, { labels }]) =>
        workspace === null || labels.workspace === workspace ? [id] : [],
      ),
    attempted({ provider, cause: { reason }, outcome, elapsedMs }) {
      mintSeconds.observe({ type: provider.type }, elapsedMs / 1_000)
      const isStored = reason !== 'first' && outcome.kind !== 'discarded'
      if (isStored) take(provider, outcome.credential)
      const ledger = ledgers.get(provider.id)
      if (ledger === undefined) return
      const failureClass = outcome.kind === 'failed' ? outcome.failure.class : ''
      tally(ledger, { outcome: outcome.kind, class: failureClass, reason })
    },
    rejected(provider) {
      const ledger = ledgers.get(provider.id)
      if (ledger !== undefined) ledger.rejections += 1
    },
  }
}

function openLedger({ workspace, name }: Named, credential: Standing): Ledger {
  const labels = { workspace, provider: name }
  return {
    labels,
    credential: standingOf(credential),
    attempts: new Map(),
    lives: 0,
    rejections: 0,
  }
}

function renew(ledger: Ledger, credential: Standing): void {
  const { generation, token } = ledger.credential
  if (token !== null && credential.token !== null && credential.generation > generation) {
    ledger.lives += lifeShare(token, credential.token.issuedAtMs)
  }
  // Without the token itself, which is no business of a number.
  ledger.credential = standingOf(credential)
}

/** How much of its life a token had lived at an instant, at most 1. */
function lifeShare({ issuedAtMs, expiresAtMs }: Life, atMs: number): number {
  const lifeMs = Math.max(expiresAtMs - issuedAtMs, 1)
  return Math.min(Math.max((atMs - issuedAtMs) / lifeMs, 0), 1)
}

function tally(ledger: Ledger, labels: Labels): void {
  const place = Object.values(labels).join(' ')
  const known = ledger.attempts.get(place)
  if (known === undefined) ledger.attempts.set(place, { labels, count: 1 })
  else known.count += 1
}

/** Those that have series, the longest known first, so that a newcomer takes none from another. */
function* listed(ledgers: ReadonlyMap<string, Ledger>): Iterable<Ledger> {
  let count = 0
  for (const ledger of ledgers.values()) {
    count += 1
    if (count > SERIES_CREDENTIALS_MAX) return
    yield ledger
  }
}

function gaugeStates(
  registers: Registry[],
  ledgers: ReadonlyMap<string, Ledger>,
  deps: { readonly clock: Clock; readonly isRefreshing: (credential: Standing) => boolean },
): void {
  const stateNow = (credential: Standing): CredentialState =>
    stateOf(credential, deps.clock.nowMs(), { isRefreshing: deps.isRefreshing(credential) })
  new Gauge({
    name: 'openshell_credential_state',
    help: '1 for the state that a credential is in; the others are absent',
    labelNames: ['workspace', 'provider', 'state'],
    registers,
    collect() {
      this.reset()
      for (const { labels, credential } of listed(ledgers)) {
        this.set({ ...labels, state: stateNow(credential) }, 1)
      }
    },
  })
  new Gauge({
    name: 'openshell_credentials',
    help: 'How many credentials are in each state',
    labelNames: ['state'],
    registers,
    collect() {
      for (const state of STATES) this.set({ state }, 0)
      for (const { credential } of ledgers.values()) this.inc({ state: stateNow(credential) })
    },
  })
}

function gaugeTimes(
  registers: Registry[],
  ledgers: ReadonlyMap<string, Ledger>,
  clock: Clock,
): void {
  const gauge = (
    name: string,
    options: {
      readonly help: string
      /** Null where there is nothing to say. */
      readonly valueOf: (credential: Standing, nowMs: number) => number | null
    },
  ): void => {
    new Gauge({
      ...{ name, help: options.help, labelNames: ['workspace', 'provider'], registers },
      collect() {
        this.reset()
        for (const { labels, credential } of listed(ledgers)) {
          const value = options.valueOf(credential, clock.nowMs())
          if (value !== null) this.set(labels, value)
        }
      },
    })
  }
  gauge('openshell_token_expiry_seconds', {
    help: 'Seconds until the token ends; negative when it has ended',
    valueOf: ({ token }, nowMs) => (token === null ? null : (token.expiresAtMs - nowMs) / 1_000),
  })
  gauge('openshell_token_life_seconds', {
    help: 'How long the token lives in all',
    valueOf: ({ token }) =>
      token === null ? null : (token.expiresAtMs - token.issuedAtMs) / 1_000,
  })
  gauge('openshell_last_mint_age_seconds', {
    help: 'Seconds since a mint succeeded; absent before the first',
    valueOf: ({ lastRefreshAtMs }, nowMs) =>
      lastRefreshAtMs === 0 ? null : (nowMs - lastRefreshAtMs) / 1_000,
  })
  gauge('openshell_next_attempt_seconds', {
    help: 'Seconds until the next attempt; negative when it is late, absent when none comes by itself',
    valueOf: ({ dueAtMs }, nowMs) => (dueAtMs === null ? null : (dueAtMs - nowMs) / 1_000),
  })
  gauge('openshell_consecutive_failures', {
    help: 'Attempts that failed since the last success',
    valueOf: ({ consecutiveFailures }) => consecutiveFailures,
  })
  gauge('openshell_failing_seconds', {
    help: 'For how long attempts have failed; 0 after a success',
    valueOf: ({ failure, failingSinceMs }, nowMs) =>
      failure === null ? 0 : Math.max(nowMs - failingSinceMs, 0) / 1_000,
  })
}

function countAttempts(registers: Registry[], ledgers: ReadonlyMap<string, Ledger>): void {
  new Counter({
    name: 'openshell_refreshes_total',
    help: 'Refresh attempts by outcome, failure class and reason',
    labelNames: ['workspace', 'provider', 'outcome', 'class', 'reason'],
    registers,
    collect() {
      this.reset()
      for (const { labels, attempts } of listed(ledgers)) {
        for (const one of attempts.values()) this.inc({ ...labels, ...one.labels }, one.count)
      }
    },
  })
  new Counter({
    name: 'openshell_token_lives_total',
    help: 'Lives that tokens had lived when a new one took their place; mints divided by it is mints per life',
    labelNames: ['workspace', 'provider'],
    registers,
    collect() {
      this.reset()
      for (const { labels, lives } of listed(ledgers)) this.inc(labels, lives)
    },
  })
  new Counter({
    name: 'openshell_tokens_rejected_total',
    help: 'Reports of routers that the vendor refused a token',
    labelNames: ['workspace', 'provider'],
    registers,
    collect() {
      this.reset()
      for (const { labels, rejections } of listed(ledgers)) this.inc(labels, rejections)
    },
  })
}
