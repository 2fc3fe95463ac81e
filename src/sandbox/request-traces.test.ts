// Goal: a request's trace tells its tries and waits, and goes to a vendor only when it was said so.
// Method: the real data path over a pretend upstream, recorded.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { agentRequest, answerOf, bundleOf, HeardAnswer } from '../../test/support/fake-exchange.ts'
import { recordingTracer } from '../../test/support/recording-tracer.ts'
import { JSON_HEAD, refreshedRoute, world } from '../../test/support/router-world.ts'
import { UpstreamError } from '../router/exchange.ts'
import { headerValue } from '../router/rewrite.ts'
import { agentService } from './agent-service.ts'
import { createRouterMetrics } from './metrics.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const PARENT = 'b7ad6b7169203331'

function createWorld(
  options: Parameters<typeof world>[0],
  { isPassedUpstream = false }: { readonly isPassedUpstream?: boolean } = {},
) {
  const made = world(options)
  const { clock, table, deps } = made
  const tracer = recordingTracer()
  const metrics = createRouterMetrics({ table, clock, gatewayClock: clock, tracer })
  const tracing = { tracer, isPassedUpstream }
  const serve = agentService({ forwardDeps: deps, metrics, tracing })
  table.swap(bundleOf([refreshedRoute(clock)]))
  const ask = async (headers: readonly string[] = []): Promise<HeardAnswer> => {
    const heard = new HeardAnswer()
    await serve(agentRequest({ headers }).request, heard)
    return heard
  }
  return { ...made, tracer, ask }
}

test('an answered request is a trace of one try, without a word to the vendor', async () => {
  const { tracer, ask, seen } = createWorld({})
  await ask()
  const [attempt, root, ...rest] = tracer.ended
  assert.deepEqual(rest, [])
  assert.deepEqual([attempt?.name, attempt?.kind], ['upstream attempt', 'client'])
  assert.deepEqual([root?.name, root?.kind, root?.error], ['agent request', 'server', ''])
  assert.equal(attempt?.parentId, root?.spanId)
  assert.deepEqual(attempt?.attributes, {
    ...{ 'server.address': 'api.acme.test', 'http.response.status_code': 200 },
  })
  assert.deepEqual(root?.attributes, {
    ...{ 'http.request.method': 'POST', outcome: 'answered', provider: 'acme' },
    ...{ 'http.response.status_code': 200, protocol: 'anthropic_messages', is_replayed: false },
  })
  assert.equal(headerValue(seen[0]?.request.headers ?? [], 'traceparent'), '')
})

test('a replay shows both tries, and the wait between them', async () => {
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
  await made.ask()
  const names = made.tracer.ended.map(({ name }) => name)
  const tries = names.filter(name => name === 'upstream attempt')
  assert.equal(tries.length, 2)
  assert.ok(names.indexOf('token wait') > names.indexOf('upstream attempt'))
  assert.equal(made.tracer.ended.at(-1)?.attributes.is_replayed, true)
})

test('an agent’s trace is continued, recorded or not as it says, and passed on only if told to', async () => {
  for (const isPassedUpstream of [false, true]) {
    for (const flags of ['01', '00']) {
      const { tracer, ask, seen } = createWorld({}, { isPassedUpstream })
      await ask(['Traceparent', `00-${TRACE}-${PARENT}-${flags}`])
      const [attempt, root] = tracer.ended
      assert.deepEqual([root?.traceId, root?.parentId], [TRACE, PARENT])
      assert.equal(root?.isSampled, flags === '01')
      const passed = headerValue(seen[0]?.request.headers ?? [], 'traceparent')
      assert.equal(passed, isPassedUpstream ? `00-${TRACE}-${attempt?.spanId}-${flags}` : '')
    }
  }
})

test('what is no traceparent begins a trace anew', async () => {
  const { tracer, ask } = createWorld({})
  await ask(['traceparent', 'nonsense'])
  assert.equal(tracer.ended.at(-1)?.parentId, '')
})

test('a vendor that cannot be reached is an error of the try and of the request', async () => {
  const { tracer, ask } = createWorld({
    script: () => Promise.reject(new UpstreamError('connect', 'ECONNREFUSED')),
  })
  assert.equal((await ask()).status, 502)
  assert.deepEqual(
    tracer.ended.map(({ name, error }) => [name, error]),
    [
      ['upstream attempt', 'upstream_unreachable'],
      ['agent request', 'upstream_unreachable'],
    ],
  )
})
