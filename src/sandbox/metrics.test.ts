// Goal: the router's numbers are true, bounded and harmless. Method: the real data path over a pretend
// upstream, with the metrics beside it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { agentRequest, answerOf, bundleOf, HeardAnswer } from '../../test/support/fake-exchange.ts'
import { startTestGateway } from '../../test/support/gateway.ts'
import { startRouter } from '../../test/support/in-process-router.ts'
import { metricTypes, seriesOf } from '../../test/support/prometheus.ts'
import { JSON_HEAD, refreshedRoute, world } from '../../test/support/router-world.ts'
import { forward, type Outcome } from '../router/forward.ts'
import { asksForMetrics, createRouterMetrics } from './metrics.ts'

function createWorld(options: Parameters<typeof world>[0]) {
  const made = world(options)
  const { clock, table } = made
  const aheadMs = 2_000
  const gatewayClock = {
    nowMs: () => clock.nowMs() - aheadMs,
    monotonicMs: () => clock.monotonicMs(),
    sleep: clock.sleep.bind(clock),
  }
  const metrics = createRouterMetrics({ table, clock, gatewayClock, tracer: null })
  const ask = async (from: Parameters<typeof agentRequest>[0]): Promise<void> => {
    const { request } = agentRequest(from)
    const deps = { ...made.deps, table: metrics.table }
    metrics.served(await forward(deps, request, new HeardAnswer()))
  }
  const value = (series: string) => seriesOf(Buffer.from(metrics.answer().body).toString(), series)
  return { ...made, metrics, ask, value }
}

test('requests are counted by protocol and outcome, errors by code', async () => {
  const { clock, table, ask, value } = createWorld({})
  await ask({})
  table.swap(bundleOf([refreshedRoute(clock)]))
  await ask({})
  await ask({})
  await ask({ target: '/elsewhere' })
  const rows: readonly (readonly [series: string, count: number])[] = [
    ['openshell_router_requests_total{protocol="anthropic_messages",outcome="refused"}', 1],
    ['openshell_router_requests_total{protocol="anthropic_messages",outcome="answered"}', 2],
    ['openshell_router_requests_total{protocol="none",outcome="refused"}', 1],
    ['openshell_router_errors_total{code="gateway_unreachable"}', 1],
    ['openshell_router_errors_total{code="not_found"}', 1],
    ['openshell_router_replays_total', 0],
    ['openshell_router_token_wait_seconds_count', 0],
  ]
  for (const [series, count] of rows) assert.equal(value(series), count, series)
})

test('a refused token shows as a wait and a replay', async () => {
  const made = createWorld({
    script: async ({ headers }) =>
      headers.includes('Bearer token-1')
        ? answerOf(401, JSON_HEAD, ['{}'])
        : answerOf(200, JSON_HEAD, ['{}']),
    report: async () => {
      setImmediate(() => made.table.swap(bundleOf([refreshedRoute(made.clock, 2)])))
      return { outcome: 'refreshing', message: '', nextAttemptAtMs: 0 }
    },
  })
  made.table.swap(bundleOf([refreshedRoute(made.clock)]))
  await made.ask({})
  assert.equal(made.value('openshell_router_replays_total'), 1)
  assert.equal(made.value('openshell_router_token_wait_seconds_count'), 1)
})

test('the bundle’s age and the tokens’ end are told by the gateway’s clock, and how far ours is off', async () => {
  const { clock, table, value } = createWorld({})
  assert.equal(value('openshell_router_bundle_age_seconds'), null)
  assert.equal(value('openshell_router_token_expiry_seconds'), null)
  assert.equal(value('openshell_router_routes{state="serving"}'), 0)
  const bundle = bundleOf([refreshedRoute(clock)])
  table.swap({ ...bundle, generatedAtMs: clock.nowMs() - 2_000 })
  await clock.advance(10_000)
  assert.equal(value('openshell_router_bundle_age_seconds'), 10)
  assert.equal(value('openshell_router_token_expiry_seconds'), 3_592)
  assert.equal(value('openshell_router_routes{state="serving"}'), 1)
  assert.equal(value('openshell_router_clock_ahead_seconds'), 2)
})

test('however many codes a gateway makes up, the series are bounded', () => {
  const { metrics, value } = createWorld({})
  for (let index = 0; index < 1_000; index += 1) {
    const outcome: Outcome = {
      ...{ kind: 'refused', status: 503, code: `code_${index}`, protocol: null },
      ...{ providerName: 'p', isReplayed: false },
    }
    metrics.served(outcome)
  }
  assert.equal(value('openshell_router_errors_total{code="other"}'), 900)
  assert.equal(value('openshell_router_requests_total{protocol="none",outcome="refused"}'), 1_000)
})

test('every number has its type, and the answer its length', () => {
  const { metrics } = createWorld({})
  const { status, headers, body } = metrics.answer()
  assert.equal(status, 200)
  assert.equal(headers[headers.indexOf('content-length') + 1], String(body.length))
  const types = metricTypes(Buffer.from(body).toString())
  assert.ok(types.size >= 8)
  for (const name of types.keys()) assert.match(name, /^openshell_router_/)
})

test('only a request to read that very path asks for the metrics', () => {
  const rows: readonly (readonly [method: string, target: string, isTrue: boolean])[] = [
    ['GET', '/openshell/metrics', true],
    ['HEAD', '/openshell/metrics?x=1', true],
    ['POST', '/openshell/metrics', false],
    ['GET', '/openshell/metrics/', false],
    ['GET', '/v1/models', false],
  ]
  for (const [method, target, isTrue] of rows)
    assert.equal(asksForMetrics(agentRequest({ method, target }).request), isTrue, target)
})

test('a router answers with its numbers on the agents’ port', async () => {
  await using gateway = await startTestGateway()
  await using router = await startRouter(gateway, { name: 's', workspace: 'default' })
  const refused = await fetch(`${router.baseUrl}/v1/messages`, { method: 'POST', body: '{}' })
  assert.equal(refused.status, 503)
  await refused.text()
  const answer = await fetch(`${router.baseUrl}/openshell/metrics`)
  assert.match(answer.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/)
  const text = await answer.text()
  const series = 'openshell_router_errors_total{code="inference_not_configured"}'
  assert.equal(seriesOf(text, series), 1)
  assert.ok(Math.abs(seriesOf(text, 'openshell_router_clock_ahead_seconds') ?? NaN) < 1)
})
