// Goal: a provider that could never work is not stored, one that may work is stored and goes on
// trying. Method: a real gateway whose vendor is the lab, with faults.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { after, afterEach, before, test } from 'node:test'
import {
  openaiProvider,
  refusal,
  startTestGateway,
  type TestGateway,
  until,
  vertexProvider,
  watchBundles,
} from '../../test/support/gateway.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'

const { method } = OpenShell
const PARKED = 2n ** 63n - 1n

let world: TestGateway
before(async () => {
  world = await startTestGateway()
})
afterEach(() => world.lab.faults.clear())
after(() => world[Symbol.asyncDispose]())

const add = (name: string, more: { noVerify?: boolean; workspace?: string } = {}) =>
  world.call(method.createProvider, {
    provider: vertexProvider(world.lab, name, `${name}@demo-project.iam.gserviceaccount.com`),
    ...more,
  })
const statusOf = async (provider: string, workspace = '') => {
  const { credentials } = await world.call(method.getProviderRefreshStatus, { provider, workspace })
  const [status] = credentials
  assert.ok(status !== undefined && credentials.length === 1)
  return status
}
const isStored = async (name: string) => {
  const { providers } = await world.call(method.listProviders, { limit: 1_000 })
  return providers.some(one => one.metadata?.name === name)
}

test('a good key is proven before the answer comes', async () => {
  const { mint } = await add('good')
  assert.equal(mint?.credentialKey, 'GOOGLE_VERTEX_AI_TOKEN')
  assert.equal(mint?.warning, '')
  const [token] = world.lab.tokens().filter(one => one.subject.startsWith('good@'))
  assert.ok(Math.abs(Number(mint?.expiresAtMs) - (token?.expiresAtMs ?? 0)) < 2_000)
  assert.ok(world.lines.some(line => line.includes('"refresh.done"') && line.includes('"good"')))
})

for (const [kind, fault, words] of [
  ['P', 'google.token status=400 error=invalid_grant', /invalid_grant/],
  ['Q', 'google.token status=403 error=admin_policy_enforced', /admin_policy/],
  ['X', 'google.token body=hello', /oauth|token/i],
  ['X', 'google.token expires_in=missing access_token=""', /token/i],
] as const) {
  test(`a first mint that fails with ${kind} stores nothing, unless told to: ${fault}`, async () => {
    world.lab.faults.set(fault)
    const name = `class-${kind.toLowerCase()}-${fault.length}`
    await assert.rejects(add(name), refusal('mint_refused', words))
    assert.equal(await isStored(name), false)
    const failed = world.lines.filter(
      line => line.includes('"refresh.failed"') && line.includes(`"${name}"`),
    )
    assert.equal(failed.length, 1, 'the audit knows of the attempt')
    const { mint } = await add(name, { noVerify: true })
    assert.match(mint?.warning ?? '', /^No token yet: /)
    assert.equal(await isStored(name), true)
    const status = await statusOf(name)
    assert.equal(status.failureClass, kind)
    assert.equal(status.state, kind === 'X' ? 'expired' : 'failed')
    const word = kind === 'X' ? 'investigation_required' : 'configuration_required'
    assert.equal(status.status, word)
    assert.notEqual(status.advice, '')
    assert.equal(status.nextRefreshAtMs === PARKED, kind === 'P')
    assert.ok(status.lastErrorAtMs > 0n)
  })
}

for (const [kind, fault] of [
  ['T', 'google.token status=503 count=1'],
  ['T', 'google.token reset=before count=1'],
  ['H', 'google.token status=429 retry_after=1 count=1'],
] as const) {
  test(`a first mint that fails with ${kind} is stored and mends itself: ${fault}`, async () => {
    world.lab.faults.set(fault)
    const name = `heals-${fault.length}`
    const { mint } = await add(name)
    assert.match(mint?.warning ?? '', /^No token yet: /)
    assert.equal(mint?.expiresAtMs, 0n)
    assert.equal((await statusOf(name)).consecutiveFailures, 1)
    await until(async () => (await statusOf(name)).state === 'valid', 'a token')
    assert.equal((await statusOf(name)).consecutiveFailures, 0)
  })
}

test('a key that no token can come of is refused even unverified, and nobody is asked', async () => {
  const asked = world.lab.journal.entries().length
  const good = JSON.parse(world.lab.serviceAccountKey())
  const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
    type: 'pkcs8',
    format: 'pem',
  })
  const wrong: readonly [string, string][] = [
    ['not JSON', 'my key'],
    ['an EC key', JSON.stringify({ ...good, private_key: pem })],
    ['a forbidden token_uri', JSON.stringify({ ...good, token_uri: 'http://169.254.169.254/' })],
  ]
  for (const [label, key] of wrong) {
    const provider = {
      ...vertexProvider(world.lab, 'unusable'),
      credentials: { GOOGLE_SERVICE_ACCOUNT_JSON: key },
    }
    const attempt = world.call(method.createProvider, { provider, noVerify: true })
    await assert.rejects(attempt, /Cannot|not|needed/, label)
  }
  assert.equal(await isStored('unusable'), false)
  assert.equal(world.lab.journal.entries().length, asked)
})

test('a wrong new key leaves the working one serving; a good one is a new generation', async () => {
  const workspace = 'keys'
  const name = 'swap'
  await add(name, { workspace })
  const route = { providerName: name, modelId: 'claude-3-7-sonnet', workspace }
  await world.call(Inference.method.setInferenceRoute, route)
  const { channel } = await world.sandbox('s', workspace)
  const watcher = watchBundles(channel, { acknowledges: true })
  const first = await watcher.push(1)
  const update = (email: string) =>
    world.call(method.updateProvider, {
      provider: {
        metadata: { name },
        credentials: { GOOGLE_SERVICE_ACCOUNT_JSON: world.lab.serviceAccountKey({ email }) },
      },
      workspace,
    })
  world.lab.serviceAccountKey({ email: 'dead@demo' })
  world.lab.disableServiceAccount('dead@demo')
  await assert.rejects(update('dead@demo'), refusal('mint_refused', /disabled/))
  const { provider } = await world.call(method.getProvider, { name, workspace })
  assert.equal(provider?.metadata?.resourceVersion, 1n)
  assert.equal((await statusOf(name, workspace)).state, 'valid')
  assert.equal(watcher.bundles.length, 1)
  await update('fresh@demo')
  const second = await watcher.push(2)
  assert.notEqual(second.revision, first.revision)
  assert.equal(second.routes[0]?.generation, 2)
  assert.equal(first.routes[0]?.generation, 1)
  assert.ok(
    second.routes[0]?.credential.equals(
      first.routes[0]?.credential ?? second.routes[0].credential,
    ) === false,
  )
  assert.equal((await statusOf(name, workspace)).generation, 2n)
  watcher.cancel()
})

test('a new key that cannot be proven now is kept, and the old token serves on', async () => {
  await add('later')
  world.lab.faults.set('google.token status=503 count=1')
  const { mint } = await world.call(method.updateProvider, {
    provider: {
      metadata: { name: 'later' },
      credentials: {
        GOOGLE_SERVICE_ACCOUNT_JSON: world.lab.serviceAccountKey({ email: 'l2@demo' }),
      },
    },
  })
  assert.match(
    mint?.warning ?? '',
    /^The new credential is not in use yet, the standing one is kept until it is: /,
  )
  const waiting = await statusOf('later')
  assert.deepEqual([waiting.state, waiting.candidateState], ['valid', 'waiting'])
  await until(async () => (await statusOf('later')).candidateState === '', 'the promotion')
  assert.equal((await statusOf('later')).generation, 2n)
})

test('while the vendor thinks, an update that started from the same version loses', async () => {
  await add('slow')
  world.lab.faults.set('google.token delay=300ms count=1')
  const change = (email: string) =>
    world.call(method.updateProvider, {
      provider: {
        metadata: { name: 'slow' },
        credentials: { GOOGLE_SERVICE_ACCOUNT_JSON: world.lab.serviceAccountKey({ email }) },
      },
    })
  const slow = change('one@demo')
  const arrived = world.lab.counts().mints
  await until(() => world.lab.journal.entries().at(-1)?.outcome === 'open', 'the slow mint')
  await change('two@demo')
  await assert.rejects(slow, refusal('version_conflict'))
  assert.equal(world.lab.counts().mints, arrived + 2)
  assert.equal((await statusOf('slow')).generation, 2n)
})

test('a deleted refresh serves no token and mints none, until a rotation brings it back', async () => {
  await add('stopped')
  const statusOf = async () => {
    const { credentials } = await world.call(method.getProviderRefreshStatus, {
      provider: 'stopped',
    })
    return credentials[0]
  }
  const stop = () => world.call(method.deleteProviderRefresh, { provider: 'stopped' })
  assert.equal((await stop()).deleted, true)
  assert.equal((await stop()).deleted, false)
  const stopped = await statusOf()
  assert.equal(stopped?.state, 'disabled')
  assert.equal(stopped?.nextRefreshAtMs, 2n ** 63n - 1n)
  await world.call(method.rotateProviderCredential, { provider: 'stopped' })
  assert.equal((await statusOf())?.state, 'valid')
})

test('rotate mints now, keeps its distance, and tells why it could not', async () => {
  await add('rotated')
  const rotate = (credentialKey = '') =>
    world.call(method.rotateProviderCredential, { provider: 'rotated', credentialKey })
  const { status } = await rotate('GOOGLE_VERTEX_AI_TOKEN')
  assert.equal(status?.generation, 2n)
  assert.equal(status?.state, 'valid')
  await assert.rejects(rotate(), refusal('failed_precondition', /a moment ago.*in (30|29) s/))
  await assert.rejects(rotate('OTHER'), refusal('failed_precondition', /no credential/))
  await add('broken')
  world.lab.faults.set('google.token status=400 error=invalid_grant')
  const refused = world.call(method.rotateProviderCredential, { provider: 'broken' })
  await assert.rejects(refused, refusal('mint_refused', /Cannot refresh "broken".*invalid_grant/))
  const broken = await statusOf('broken')
  assert.deepEqual([broken.state, broken.nextRefreshAtMs], ['failed', PARKED])
  const missing = world.call(method.rotateProviderCredential, { provider: 'nobody' })
  await assert.rejects(missing, refusal('not_found'))
})

test('many rotations at once are one mint', async () => {
  await add('crowd')
  const before = world.lab.counts().mints
  const settled = await Promise.allSettled(
    Array.from({ length: 50 }, () =>
      world.call(method.rotateProviderCredential, { provider: 'crowd' }),
    ),
  )
  assert.equal(world.lab.counts().mints, before + 1)
  assert.equal((await statusOf('crowd')).generation, 2n)
  assert.ok(settled.some(one => one.status === 'fulfilled'))
})

test('status knows every refreshed credential of a workspace, and no static one', async () => {
  const workspace = 'status'
  for (const name of ['a', 'b']) await add(name, { workspace })
  await world.call(method.createProvider, {
    provider: openaiProvider(world.lab, 'static'),
    workspace,
  })
  const all = await world.call(method.getProviderRefreshStatus, { workspace })
  assert.deepEqual(
    all.credentials.map(one => one.providerName),
    ['a', 'b'],
  )
  const [status] = all.credentials
  assert.equal(status?.providerType, 'google-vertex-ai')
  assert.equal(status?.strategy, 5)
  assert.equal(status?.status, 'refreshed')
  assert.ok(Number(status?.nextRefreshAtMs) < Number(status?.expiresAtMs))
  assert.ok(Number(status?.lastRefreshAtMs) > 0)
  const { credentials } = await world.call(method.getProviderRefreshStatus, {
    workspace,
    credentialKey: 'OTHER',
  })
  assert.deepEqual(credentials, [])
  const none = await world.call(method.getProviderRefreshStatus, { workspace, provider: 'static' })
  assert.deepEqual(none.credentials, [])
  const rotation = world.call(method.rotateProviderCredential, { workspace, provider: 'static' })
  await assert.rejects(rotation, refusal('failed_precondition', /no credential to refresh/))
  const unknown = world.call(method.getProviderRefreshStatus, { workspace, provider: 'x' })
  await assert.rejects(unknown, refusal('not_found'))
})
