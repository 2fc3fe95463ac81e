// Goal: every number stays true while nothing happens, and no series outlives its provider.
// Method: the metrics over a clock of their own, read as Prometheus reads them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { samplesOf, seriesOf } from '../../test/support/prometheus.ts'
import type { Credential } from '../core/credential.ts'
import type { Failure } from '../core/failure.ts'
import type { ProviderRecord } from '../core/provider.ts'
import { Secret } from '../core/secret.ts'
import type { RefreshEvent } from '../refresh/attempt.ts'
import type { RefreshReason } from '../refresh/cause.ts'
import { newCredential } from '../refresh/transition.ts'
import { createMetrics } from './metrics.ts'
import type { Reach } from './roster.ts'

const MINUTE_MS = 60_000
const LABELS = 'workspace="default",provider="p"'

const FAILURE: Failure = {
  class: 'T',
  code: 'token_endpoint_unreachable',
  message: 'The vendor said: a very secret thing',
  advice: 'Wait',
  recoveryAction: 'retry',
  retryAfterMs: 0,
}

function createWorld() {
  const clock = new FakeClock()
  const refreshing = new Set<string>()
  const hostsDown: string[] = []
  const reaches: Reach[] = []
  const metrics = createMetrics({
    ...{ clock, version: '1.2.3', hostsDown: () => hostsDown, reaches: () => reaches },
    tracer: {
      start: () => assert.fail('nothing is traced'),
      counts: () => ({ exported: 7, dropped: 2 }),
    },
    vitals: { residentBytes: () => 5e7, cpuSeconds: () => 1.5, loopDelayP99Seconds: () => 0.002 },
    isRefreshing: ({ providerId }) => refreshing.has(providerId),
  })
  const value = async (series: string) => seriesOf(await metrics.render(), series)
  return { clock, refreshing, hostsDown, reaches, metrics, value }
}

function provider(name = 'p', id = name): ProviderRecord {
  const times = { createdAtMs: 0, updatedAtMs: 0, version: 1 }
  const content = { material: new Map(), config: new Map(), candidate: null }
  const notes = {
    profileWorkspace: '',
    labels: new Map(),
    annotations: new Map(),
    expiries: new Map(),
  }
  return { ...content, ...notes, ...times, id, workspace: 'default', name, type: 'oauth2' }
}

/** A credential whose token was minted now and lives an hour, with a refresh due after 50 minutes. */
function minted(nowMs: number, changes: Partial<Credential> = {}): Credential {
  return {
    ...newCredential('p', 'TOKEN', nowMs),
    token: { value: new Secret('t'), issuedAtMs: nowMs, expiresAtMs: nowMs + 60 * MINUTE_MS },
    generation: 1,
    lastRefreshAtMs: nowMs,
    dueAtMs: nowMs + 50 * MINUTE_MS,
    ...changes,
  }
}

function event(
  reason: RefreshReason,
  outcome: RefreshEvent['outcome'],
  of = provider(),
): RefreshEvent {
  const cause = { reason, who: 'gateway' }
  return { provider: of, cause, outcome, candidate: null, elapsedMs: 300 }
}

async function stateNow({ value }: ReturnType<typeof createWorld>): Promise<string> {
  const states = ['pending', 'valid', 'refreshing', 'degraded', 'expired', 'failed', 'disabled']
  const held: string[] = []
  for (const state of states) {
    const one = await value(`openshell_credential_state{${LABELS},state="${state}"}`)
    if (one === 1) held.push(state)
    assert.equal(await value(`openshell_credentials{state="${state}"}`), one ?? 0)
  }
  assert.equal(held.length, 1, `in ${held.join(' and ')}`)
  return held[0] ?? ''
}

test('time alone moves a credential from state to state and its numbers on', async () => {
  const world = createWorld()
  const { clock, metrics, value } = world
  metrics.credentials.stand(provider(), [minted(clock.nowMs())])
  assert.equal(await stateNow(world), 'valid')
  assert.equal(await value(`openshell_token_expiry_seconds{${LABELS}}`), 3_600)
  assert.equal(await value(`openshell_token_life_seconds{${LABELS}}`), 3_600)
  assert.equal(await value(`openshell_next_attempt_seconds{${LABELS}}`), 3_000)
  assert.equal(await value(`openshell_failing_seconds{${LABELS}}`), 0)
  await clock.advance(61 * MINUTE_MS)
  assert.equal(await stateNow(world), 'expired')
  assert.equal(await value(`openshell_token_expiry_seconds{${LABELS}}`), -60)
  assert.equal(await value(`openshell_next_attempt_seconds{${LABELS}}`), -660)
  assert.equal(await value(`openshell_last_mint_age_seconds{${LABELS}}`), 3_660)
})

test('each of the seven states is told, and how long it has been failing', async () => {
  const world = createWorld()
  const { clock, metrics, refreshing } = world
  const nowMs = clock.nowMs()
  const failing = { failure: FAILURE, failingSinceMs: nowMs, consecutiveFailures: 1 }
  const permanent = { ...failing, failure: { ...FAILURE, class: 'P' }, dueAtMs: null } as const
  const rows: readonly (readonly [state: string, credential: Credential])[] = [
    ['pending', newCredential('p', 'TOKEN', nowMs)],
    ['valid', minted(nowMs)],
    ['degraded', minted(nowMs, failing)],
    ['expired', { ...newCredential('p', 'TOKEN', nowMs), ...failing }],
    ['failed', minted(nowMs, permanent)],
    ['disabled', minted(nowMs, { isDisabled: true, dueAtMs: null })],
  ]
  for (const [index, [state, credential]] of rows.entries()) {
    metrics.credentials.stand(provider(), [{ ...credential, version: index + 1 }])
    assert.equal(await stateNow(world), state)
  }
  metrics.credentials.stand(provider(), [minted(nowMs, { version: 10 })])
  refreshing.add('p')
  assert.equal(await stateNow(world), 'refreshing')
  metrics.credentials.stand(provider(), [minted(nowMs, { ...failing, version: 11 })])
  await clock.advance(90_000)
  assert.equal(await world.value(`openshell_failing_seconds{${LABELS}}`), 90)
  assert.equal(await world.value(`openshell_consecutive_failures{${LABELS}}`), 1)
  metrics.credentials.stand(provider(), [minted(nowMs, { ...permanent, version: 12 })])
  assert.equal(await world.value(`openshell_next_attempt_seconds{${LABELS}}`), null)
})

test('attempts are counted by outcome, class and reason, and the vendor’s words stand nowhere', async () => {
  const { clock, metrics, value } = createWorld()
  const nowMs = clock.nowMs()
  const { credentials } = metrics
  const failed = minted(nowMs, { failure: FAILURE, version: 3 })
  credentials.stand(provider(), [newCredential('p', 'TOKEN', nowMs)])
  const done = { kind: 'minted', credential: minted(nowMs, { version: 2 }) } as const
  credentials.attempted(event('first', done))
  credentials.attempted(event('rejected', done))
  credentials.attempted(event('due', { kind: 'failed', credential: failed, failure: FAILURE }))
  credentials.attempted(event('due', { kind: 'failed', credential: failed, failure: FAILURE }))
  credentials.attempted(event('person', { kind: 'discarded' }))
  const rows: readonly (readonly [labels: string, count: number])[] = [
    ['outcome="minted",class="",reason="first"', 1],
    ['outcome="minted",class="",reason="rejected"', 1],
    ['outcome="failed",class="T",reason="due"', 2],
    ['outcome="discarded",class="",reason="person"', 1],
  ]
  for (const [labels, count] of rows)
    assert.equal(await value(`openshell_refreshes_total{${LABELS},${labels}}`), count, labels)
  assert.equal(await value('openshell_mint_seconds_count{type="oauth2"}'), 5)
  assert.equal(await value('openshell_mint_seconds_sum{type="oauth2"}'), 1.5)
  assert.ok(!(await metrics.render()).includes('secret'))
})

test('lives lived tell how many mints there are in a token’s life', async () => {
  const { clock, metrics, value } = createWorld()
  const { credentials } = metrics
  const lives = () => value(`openshell_token_lives_total{${LABELS}}`)
  const mint = (generation: number) => {
    const credential = minted(clock.nowMs(), { generation, version: generation + 1 })
    credentials.attempted(event('due', { kind: 'minted', credential }))
  }
  mint(1)
  assert.equal(await lives(), 0)
  await clock.advance(54 * MINUTE_MS)
  mint(2)
  assert.equal(await lives(), 0.9)
  // The same token once more is a mint and no life.
  await clock.advance(6 * MINUTE_MS)
  mint(2)
  assert.equal(await lives(), 0.9)
  // An outage that outlasts the token makes no life longer than one.
  await clock.advance(200 * MINUTE_MS)
  mint(3)
  assert.equal(await lives(), 1.9)
})

test('what is read late does not undo what was written since', async () => {
  const { clock, metrics, value } = createWorld()
  const nowMs = clock.nowMs()
  metrics.credentials.stand(provider(), [minted(nowMs, { version: 5, consecutiveFailures: 2 })])
  metrics.credentials.stand(provider(), [minted(nowMs, { version: 4, consecutiveFailures: 1 })])
  assert.equal(await value(`openshell_consecutive_failures{${LABELS}}`), 2)
})

test('a provider that is gone, or was never stored, has no series', async () => {
  const { clock, metrics } = createWorld()
  const { credentials } = metrics
  const done = { kind: 'minted', credential: minted(clock.nowMs()) } as const
  credentials.attempted(event('first', done, provider('refused')))
  credentials.rejected(provider('unknown'))
  credentials.attempted(event('due', done))
  credentials.rejected(provider())
  assert.ok((await metrics.render()).includes(LABELS))
  credentials.stand(provider(), [])
  const labelled = samplesOf(await metrics.render()).filter(({ labels }) => 'provider' in labels)
  assert.deepEqual(labelled, [])
})

test('series are bounded, the counts by state are not', async () => {
  const { clock, metrics, value } = createWorld()
  for (let index = 0; index <= 1_000; index += 1) {
    metrics.credentials.stand(provider(`p${index}`), [minted(clock.nowMs())])
  }
  assert.equal(await value('openshell_credentials{state="valid"}'), 1_001)
  const last = (index: number) =>
    value(`openshell_token_expiry_seconds{workspace="default",provider="p${index}"}`)
  assert.equal(await last(999), 3_600)
  assert.equal(await last(1_000), null)
})

test('routers are told by workspace, with the age of the push that nobody confirmed', async () => {
  const { metrics, reaches, hostsDown, value } = createWorld()
  reaches.push({
    ...{ workspace: 'w', revision: 'r', routers: 5, routersCurrent: 3 },
    ...{ routersWatching: 4, oldestPushMs: 1_500 },
  })
  hostsDown.push('login.example')
  metrics.bundleServed()
  metrics.bundleDelivered(20)
  metrics.storeTrouble()
  const rows: readonly (readonly [series: string, value: number])[] = [
    ['openshell_routers{workspace="w",state="current"}', 3],
    ['openshell_routers{workspace="w",state="behind"}', 2],
    ['openshell_watch_streams{workspace="w"}', 4],
    ['openshell_oldest_push_seconds{workspace="w"}', 1.5],
    ['openshell_token_host_down{host="login.example"}', 1],
    ['openshell_bundle_requests_total', 1],
    ['openshell_delivery_seconds_bucket{le="0.01"}', 0],
    ['openshell_delivery_seconds_bucket{le="0.025"}', 1],
    ['openshell_store_troubles_total', 1],
    ['openshell_trace_spans_total{outcome="exported"}', 7],
    ['openshell_trace_spans_total{outcome="dropped"}', 2],
    ['openshell_build_info{version="1.2.3"}', 1],
    ['process_resident_memory_bytes', 5e7],
    ['process_cpu_seconds_total', 1.5],
    ['nodejs_eventloop_lag_p99_seconds', 0.002],
  ]
  for (const [series, expected] of rows) assert.equal(await value(series), expected, series)
  reaches.pop()
  hostsDown.pop()
  for (const [series] of rows.slice(0, 5)) assert.equal(await value(series), null, series)
})
