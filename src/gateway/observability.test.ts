// Goal: what is seen from outside tells enough and no secret. Method: one gateway lives through a
// whole story; then its logs, metrics, answers and database are searched for everything secret.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import {
  openaiProvider,
  startTestGateway,
  type TestGateway,
  until,
  vertexProvider,
  watchBundles,
} from '../../test/support/gateway.ts'
import { seriesOf } from '../../test/support/prometheus.ts'
import { callUnary } from '../wire/client.ts'
import { Delivery } from '../wire/gen/openshell/delivery/v1/delivery_pb.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'

const { method } = OpenShell

/** Every way in which a secret could be written. */
function spellings(secret: string): readonly string[] {
  const bytes = Buffer.from(secret)
  const inside = JSON.stringify(secret).slice(1, -1)
  return [
    secret,
    inside,
    encodeURIComponent(secret),
    bytes.toString('base64'),
    bytes.toString('base64url'),
  ]
}

async function live(world: TestGateway): Promise<readonly string[]> {
  const { lab } = world
  const key = lab.serviceAccountKey()
  await world.call(method.createProvider, { provider: vertexProvider(lab, 'vx') })
  await world.call(method.createProvider, { provider: openaiProvider(lab, 'oa') })
  await world.call(method.createProvider, { provider: vertexProvider(lab, 'vx'), workspace: 'two' })
  await world.call(method.updateProvider, {
    provider: { metadata: { name: 'oa' }, config: { A: 'b' } },
  })
  const { token, channel } = await world.sandbox('s')
  const watcher = watchBundles(channel, { acknowledges: true })
  await watcher.push(1)
  await world.call(Inference.method.setInferenceRoute, {
    providerName: 'vx',
    modelId: 'claude-3-7-sonnet',
  })
  await watcher.push(2)
  await callUnary(channel, Inference.method.getInferenceBundle, {}, { timeoutMs: 5_000 })
  const report = { providerName: 'vx', generation: 1n, status: 401 }
  await callUnary(channel, Delivery.method.reportRejectedToken, report, { timeoutMs: 5_000 })
  await watcher.push(3)
  // A vendor that says all it knows: everything that was sent to it comes back.
  lab.faults.set([
    'google.token',
    'status=400',
    'error=invalid_grant',
    `description=${key}`,
    'count=1',
  ])
  const echo = { ...vertexProvider(lab, 'echo'), metadata: { name: 'echo' } }
  await assert.rejects(world.call(method.createProvider, { provider: echo }))
  const wrong = { ...echo, credentials: { GOOGLE_SERVICE_ACCOUNT_JSON: key.slice(0, -20) } }
  await assert.rejects(world.call(method.createProvider, { provider: wrong }))
  await assert.rejects(
    world.call(method.createProvider, {
      provider: { ...echo, config: { VERTEX_BASE_URL: 'https://evil.test' } },
    }),
  )
  await assert.rejects(
    callUnary(world.channel(token), method.listProviders, {}, { timeoutMs: 5_000 }),
  )
  await world.call(Inference.method.deleteInferenceRoute, {})
  await world.call(method.deleteProvider, { name: 'oa' })
  watcher.cancel()
  const signingKey = await world.store.getGatewaySecret('sandbox-token-key')
  return [
    key,
    JSON.parse(key).private_key,
    ...lab.tokens().map(one => one.value.reveal()),
    lab.openaiKey().reveal(),
    world.adminToken.reveal(),
    token.reveal(),
    signingKey?.reveal() ?? '',
  ]
}

test('a whole story leaves no secret in logs, metrics or the database', async () => {
  await using world = await startTestGateway()
  const secrets = await live(world)
  assert.ok(secrets.every(secret => secret.length > 20))
  const files = readdirSync(world.folder).map(file =>
    readFileSync(path.join(world.folder, file), 'latin1'),
  )
  const places = [
    ['logs', world.lines.join('')],
    ['metrics', await (await fetch(`${world.origin}/metrics`)).text()],
    ['database', files.join('')],
  ] as const
  for (const [place, text] of places) {
    assert.ok(text.length > 1_000, place)
    for (const secret of secrets) {
      for (const spelling of spellings(secret))
        assert.ok(!text.includes(spelling), `a secret in ${place}`)
    }
  }
})

test('what happens leaves its line, and lines are JSON', async () => {
  await using world = await startTestGateway()
  await live(world)
  const events = world.lines.map(line => Object(JSON.parse(line)))
  const expected: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    'audit.provider.create': { provider: 'vx', who: 'admin', type: 'google-vertex-ai' },
    'audit.token.mint': { provider: 'vx', who: 'admin', reason: 'first' },
    'refresh.done': { provider: 'vx', generation: 1, reason: 'first' },
    'refresh.failed': { provider: 'echo', class: 'P', dueInMs: null },
    'token.rejected': { provider: 'vx', sandbox: 's' },
    'bundle.changed': { workspace: 'default' },
    'rpc.refused': { code: 'mint_refused' },
  }
  for (const [event, fields] of Object.entries(expected)) {
    const line = events.find(one => one.event === event)
    assert.ok(line !== undefined, event)
    for (const [name, value] of Object.entries(fields))
      assert.equal(line[name], value, `${event} ${name}`)
  }
  assert.deepEqual(
    events.filter(one => one.event === 'rpc.broke'),
    [],
  )
})

test('metrics have every series, by workspace, also for tokens minted before a restart', async () => {
  await using world = await startTestGateway()
  await live(world)
  const scrape = async () => (await fetch(`${world.origin}/metrics`)).text()
  const vx = 'workspace="default",provider="vx"'
  const minted = `openshell_refreshes_total{${vx},outcome="minted",class=""`
  await until(async () => seriesOf(await scrape(), `${minted},reason="first"}`) === 1, 'the counts')
  const text = await scrape()
  const value = (series: string): number => seriesOf(text, series) ?? Number.NaN
  const exact: Readonly<Record<string, number>> = {
    [`${minted},reason="rejected"}`]: 1,
    'openshell_mint_seconds_count{type="google-vertex-ai"}': 4,
    openshell_bundle_requests_total: 1,
    [`openshell_tokens_rejected_total{${vx}}`]: 1,
    [`openshell_credential_state{${vx},state="valid"}`]: 1,
    'openshell_credentials{state="valid"}': 2,
    [`openshell_token_life_seconds{${vx}}`]: 3_600,
    [`openshell_consecutive_failures{${vx}}`]: 0,
    'openshell_build_info{version="1.2.3"}': 1,
  }
  for (const [series, expected] of Object.entries(exact))
    assert.equal(value(series), expected, series)
  assert.ok(value('openshell_delivery_seconds_count') >= 3)
  assert.ok(value('process_resident_memory_bytes') > 1e6)
  assert.ok(value('process_cpu_seconds_total') > 0)
  assert.ok(value('nodejs_eventloop_lag_p99_seconds') >= 0)
  const inFuture = (series: string) => {
    const left = value(series)
    assert.ok(left > 1_500 && left <= 3_600, `${series} is ${left}`)
  }
  inFuture(`openshell_token_expiry_seconds{${vx}}`)
  inFuture(`openshell_next_attempt_seconds{${vx}}`)
  inFuture('openshell_token_expiry_seconds{workspace="two",provider="vx"}')
  assert.ok(!text.includes('echo'), 'a provider that was refused has a series')
  await world.restart()
  const expiry = `openshell_token_expiry_seconds{${vx}}`
  assert.ok((seriesOf(await scrape(), expiry) ?? 0) > 3_000)
  await world.call(method.deleteProviderRefresh, { provider: 'vx' })
  const disabled = `openshell_credential_state{${vx},state="disabled"}`
  await until(async () => seriesOf(await scrape(), disabled) === 1, 'the new state')
  await world.call(method.deleteProvider, { name: 'vx' })
  await until(async () => !(await scrape()).includes(vx), 'the deleted provider to vanish')
})

test('a router that keeps silent is seen by the age of its push, one that answers as current', async () => {
  await using world = await startTestGateway()
  const scrape = async () => (await fetch(`${world.origin}/metrics`)).text()
  const { channel } = await world.sandbox('s')
  const watcher = watchBundles(channel, { acknowledges: false })
  const { revision } = await watcher.push(1)
  const behind = 'openshell_routers{workspace="default",state="behind"}'
  const age = 'openshell_oldest_push_seconds{workspace="default"}'
  const silent = await scrape()
  assert.equal(seriesOf(silent, behind), 1)
  assert.equal(seriesOf(silent, 'openshell_watch_streams{workspace="default"}'), 1)
  const before = seriesOf(silent, age) ?? 0
  await until(async () => (seriesOf(await scrape(), age) ?? 0) > before, 'the age to grow')
  watcher.serve(revision)
  await until(async () => seriesOf(await scrape(), behind) === 0, 'the router to catch up')
  assert.equal(seriesOf(await scrape(), age), 0)
  watcher.cancel()
  await until(async () => seriesOf(await scrape(), behind) === null, 'the router to leave')
})

test('a sandbox cannot make up series by reporting about providers that do not exist', async () => {
  await using world = await startTestGateway()
  const { channel } = await world.sandbox('s')
  const report = { providerName: 'made-up', generation: 1n }
  await assert.rejects(
    callUnary(channel, Delivery.method.reportRejectedToken, report, { timeoutMs: 5_000 }),
  )
  assert.ok(!(await (await fetch(`${world.origin}/metrics`)).text()).includes('made-up'))
})
