// Goal: each refresh is one trace that tells where its time went. Method: a whole gateway, recorded.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startTestGateway, until, VERTEX, vertexProvider } from '../../test/support/gateway.ts'
import { type Recorded, recordingTracer } from '../../test/support/recording-tracer.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'

const { method } = OpenShell

/** The spans of the nth trace that is a refresh, the root last. */
function refreshes(ended: readonly Recorded[]): readonly (readonly Recorded[])[] {
  return ended
    .filter(({ name }) => name === 'refresh')
    .map(root => ended.filter(({ traceId }) => traceId === root.traceId))
}

test('a refresh is a trace of its claim, its token request and its write', async () => {
  const tracer = recordingTracer()
  await using world = await startTestGateway({ tracer })
  const { lab } = world
  await world.call(method.createProvider, { provider: vertexProvider(lab, 'vx') })
  const [first, ...rest] = tracer.ended
  assert.deepEqual(rest, [])
  assert.equal(first?.name, 'token request')
  assert.equal(first?.parentId, '')
  assert.equal(first?.attributes['server.address'], new URL(lab.origin).host)
  await world.call(method.rotateProviderCredential, { provider: 'vx' })
  await until(() => refreshes(tracer.ended).length === 1, 'the refresh')
  const [trace = []] = refreshes(tracer.ended)
  assert.deepEqual(
    trace.map(({ name, kind, error }) => [name, kind, error]),
    [
      ['claim', 'internal', ''],
      ['token request', 'client', ''],
      ['store', 'client', ''],
      ['refresh', 'internal', ''],
    ],
  )
  const root = trace.at(-1)
  for (const child of trace.slice(0, -1)) assert.equal(child.parentId, root?.spanId)
  assert.equal(root?.parentId, '')
  assert.deepEqual(root?.attributes, {
    ...{ workspace: 'default', provider: 'vx', type: VERTEX },
    ...{ reason: 'person', outcome: 'minted', generation: 2 },
  })
})

test('a refresh that fails tells its class and code, and no word of the vendor', async () => {
  const tracer = recordingTracer()
  await using world = await startTestGateway({ tracer })
  await world.call(method.createProvider, { provider: vertexProvider(world.lab, 'vx') })
  world.lab.faults.set([
    ...['google.token', 'status=400', 'error=invalid_grant'],
    ...['description=very secret words', 'count=5'],
  ])
  await assert.rejects(world.call(method.rotateProviderCredential, { provider: 'vx' }))
  await until(() => refreshes(tracer.ended).length === 1, 'the refresh')
  const [trace = []] = refreshes(tracer.ended)
  const root = trace.at(-1)
  assert.equal(root?.attributes.outcome, 'failed')
  assert.equal(root?.attributes.class, 'P')
  assert.ok(root !== undefined && root.error.length > 3)
  assert.equal(trace.find(({ name }) => name === 'token request')?.error, root.error)
  assert.ok(!JSON.stringify(tracer.ended).includes('secret words'))
})
