// Goal: a supervisor that boots against this gateway gets what it needs, its own and nobody else's, and
// never the material that a token is minted from. Method: the calls that OpenShell's supervisor makes.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import type { DescMethodUnary, MessageInitShape } from '@bufbuild/protobuf'
import { Metadata, status } from '@grpc/grpc-js'
import { FakeClock } from '../../test/support/fake-clock.ts'
import {
  openaiProvider,
  refusal,
  startTestGateway,
  type TestGateway,
  until,
  vertexProvider,
} from '../../test/support/gateway.ts'
import { Secret } from '../core/secret.ts'
import { callUnary, type GatewayChannel, openStream } from '../wire/client.ts'
import { PolicyStatus } from '../wire/gen/openshell/v1/config_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import { ProviderCredentialRefreshStrategy } from '../wire/gen/openshell/v1/refresh_pb.ts'
import { PushSandboxLogsRequestSchema } from '../wire/gen/openshell/v1/supervisor_pb.ts'
import { encodeMessage } from '../wire/grpc.ts'

const { method } = OpenShell
const options = { timeoutMs: 5_000 }

let world: TestGateway
before(async () => {
  world = await startTestGateway()
})
after(() => world[Symbol.asyncDispose]())

async function boxWith(name: string, providers: readonly string[], at = world) {
  const { token, channel } = await at.sandbox(name)
  for (const providerName of providers)
    await at.call(method.attachSandboxProvider, { sandboxName: name, providerName })
  const { sandbox } = await at.call(method.getSandbox, { name })
  return { token, channel, name, sandboxId: sandbox?.metadata?.id ?? '' }
}

const environmentOf = (box: { readonly channel: GatewayChannel; readonly sandboxId: string }) =>
  callUnary(
    box.channel,
    method.getSandboxProviderEnvironment,
    { sandboxId: box.sandboxId, supportsStaticCredentialBindings: true },
    options,
  )

test('a token comes with its end, its place and what agents look for; its key never does', async () => {
  await world.call(method.createProvider, { provider: vertexProvider(world.lab, 'vx') })
  const box = await boxWith('vertex', ['vx'])
  const answer = await environmentOf(box)
  const key = 'GOOGLE_VERTEX_AI_TOKEN'
  assert.match(answer.environment[key] ?? '', /^ya29\./)
  assert.ok(Number(answer.credentialExpiresAtMs[key]) > Date.now())
  const config = {
    GCP_PROJECT_ID: 'demo-project',
    GOOGLE_CLOUD_PROJECT: 'demo-project',
    ANTHROPIC_VERTEX_PROJECT_ID: 'demo-project',
    CLOUD_ML_REGION: 'us-east1',
    GCP_LOCATION: 'us-east1',
    VERTEX_LOCATION: 'us-east1',
    GOOSE_PROVIDER: 'gcp_vertex_ai',
  }
  const { [key]: _token, ...rest } = answer.environment
  assert.deepEqual(rest, config)
  assert.deepEqual(answer.nonSecretEnvironmentKeys.sort(), Object.keys(config).sort())
  const binding = answer.staticCredentialBindings[key]
  const { hostname, port } = new URL(world.lab.origin)
  const [endpoint] = binding?.endpoints ?? []
  assert.deepEqual(
    [endpoint?.host, endpoint?.port, endpoint?.path],
    [hostname, Number(port), '/**'],
  )
  assert.match(binding?.workloadCredentialHandle ?? '', /^[0-9a-f]{64}$/)
  assert.ok(!JSON.stringify(answer.environment).includes('PRIVATE KEY'))
})

test('a static key is handed out where the vendor takes the key itself, and no other material', async () => {
  const provider = openaiProvider(world.lab, 'oa')
  const credentials = { ...provider.credentials, OTHER_SECRET: 'not for a header' }
  await world.call(method.createProvider, { provider: { ...provider, credentials } })
  const answer = await environmentOf(await boxWith('openai', ['oa']))
  assert.deepEqual(answer.environment, provider.credentials)
  assert.deepEqual(answer.credentialExpiresAtMs, {})
})

test('a tool’s credentials are for sandboxes, bound to the hosts that its profile names', async () => {
  const credentials = { GITHUB_TOKEN: 'ghp_test', SOMETHING_ELSE: 'stays' }
  const provider = { metadata: { name: 'gh' }, type: 'github', credentials }
  await world.call(method.createProvider, { provider, noVerify: true })
  const answer = await environmentOf(await boxWith('tool', ['gh']))
  assert.deepEqual(answer.environment, { GITHUB_TOKEN: 'ghp_test' })
  const endpoints = answer.staticCredentialBindings.GITHUB_TOKEN?.endpoints ?? []
  assert.ok(endpoints.some(one => one.host === 'api.github.com' && one.port === 443))
})

test('a refresh that would set a variable of one beside it is not configured', async () => {
  const key = 'sk-test'
  const first = { metadata: { name: 'tool-a' }, type: 'github', credentials: { GH_TOKEN: key } }
  const second = { metadata: { name: 'tool-b' }, type: 'generic', credentials: { OTHER: key } }
  const config = { BASE_URL: `${world.lab.origin}/v1`, PROTOCOL: 'openai' }
  await world.call(method.createProvider, { provider: first, noVerify: true })
  await world.call(method.createProvider, { provider: { ...second, config }, noVerify: true })
  await boxWith('colliding', ['tool-a', 'tool-b'])
  const configuring = world.call(method.configureProviderRefresh, {
    ...{ provider: 'tool-b', credentialKey: 'GH_TOKEN' },
    strategy: ProviderCredentialRefreshStrategy.OAUTH2_CLIENT_CREDENTIALS,
    material: { client_id: 'c', client_secret: 's', tenant_id: 't' },
    secretMaterialKeys: ['client_secret'],
  })
  await assert.rejects(configuring, refusal('failed_precondition', /both set GH_TOKEN/))
})

test('a token that is past its end is left out, and the revision says so', async () => {
  const clock = new FakeClock()
  await using own = await startTestGateway({ clock, tokenLifetimeMs: 60_000 })
  await own.call(method.createProvider, { provider: vertexProvider(own.lab, 'vx') })
  const box = await boxWith('s', ['vx'], own)
  const first = await environmentOf(box)
  assert.equal((await environmentOf(box)).providerEnvRevision, first.providerEnvRevision)
  own.lab.faults.set('google.token status=503')
  await clock.advance(61_000)
  const later = await environmentOf(box)
  assert.equal(later.environment.GOOGLE_VERTEX_AI_TOKEN, undefined)
  assert.notEqual(later.providerEnvRevision, first.providerEnvRevision)
})

test('the revision changes with a new token and with nothing else; the handle outlasts it', async () => {
  await world.call(method.createProvider, { provider: vertexProvider(world.lab, 'turning') })
  const box = await boxWith('turning', ['turning'])
  const first = await environmentOf(box)
  const config = () =>
    callUnary(box.channel, method.getSandboxConfig, { sandboxId: box.sandboxId }, options)
  assert.equal((await config()).providerEnvRevision, first.providerEnvRevision)
  await world.call(method.updateConfig, { name: 'turning', policy: { version: 1 } })
  assert.equal((await environmentOf(box)).providerEnvRevision, first.providerEnvRevision)
  await world.call(method.rotateProviderCredential, { provider: 'turning' })
  const second = await environmentOf(box)
  assert.notEqual(second.providerEnvRevision, first.providerEnvRevision)
  assert.equal((await config()).providerEnvRevision, second.providerEnvRevision)
  assert.deepEqual(second.staticCredentialBindings, first.staticCredentialBindings)
})

test('a sandbox is told its own only, and a person nothing of it', async t => {
  const [one, other] = [await boxWith('one', []), await boxWith('other', [])]
  const rows: readonly [DescMethodUnary, MessageInitShape<DescMethodUnary['input']>][] = [
    [method.getSandboxConfig, {}],
    [method.getSandboxProviderEnvironment, {}],
    [method.reportPolicyStatus, {}],
    [method.reportMainProcessExit, {}],
  ]
  for (const [rpc, request] of rows) {
    await t.test(rpc.name, async () => {
      const ask = (channel: GatewayChannel, sandboxId: string) =>
        callUnary(channel, rpc, { ...request, sandboxId }, options)
      await ask(one.channel, one.sandboxId)
      await assert.rejects(ask(one.channel, other.sandboxId), refusal('permission_denied'))
      await assert.rejects(ask(one.channel, ''), refusal('invalid_argument'))
      const person = world.channel(world.adminToken)
      await assert.rejects(ask(person, one.sandboxId), refusal('permission_denied'))
      await assert.rejects(ask(world.channel(null), one.sandboxId), refusal('unauthenticated'))
    })
  }
})

test('a supervisor boots: it tells its policy once, and may not change one that stands', async () => {
  const box = await boxWith('boots', [])
  const config = () =>
    callUnary(box.channel, method.getSandboxConfig, { sandboxId: box.sandboxId }, options)
  const tell = (request: MessageInitShape<typeof method.updateConfig.input>) =>
    callUnary(box.channel, method.updateConfig, { name: 'boots', ...request }, options)
  const empty = await config()
  assert.deepEqual([empty.policy, empty.version, empty.policyHash], [undefined, 0, ''])
  assert.equal(empty.workspace, 'default')
  const policy = { version: 1, networkPolicies: { b: { name: 'b' }, a: { name: 'a' } } }
  const synced = await tell({ policy })
  assert.equal(synced.version, 1)
  assert.match(synced.policyHash, /^[0-9a-f]{64}$/)
  const known = await config()
  assert.deepEqual([known.version, known.policyHash], [1, synced.policyHash])
  assert.deepEqual(Object.keys(known.policy?.networkPolicies ?? {}), ['a', 'b'])
  assert.notEqual(known.configRevision, empty.configRevision)
  const reordered = { version: 1, networkPolicies: { a: { name: 'a' }, b: { name: 'b' } } }
  assert.deepEqual(await tell({ policy: reordered }), synced)
  for (const wrong of [
    { policy: { version: 2 } },
    { policy, global: true },
    { policy, name: 'someone-else' },
    { settingKey: 'ocsf_json_enabled', deleteSetting: true },
    {},
  ])
    await assert.rejects(tell(wrong), refusal('permission_denied'))
  const loaded = { sandboxId: box.sandboxId, version: 1, status: PolicyStatus.LOADED }
  await callUnary(box.channel, method.reportPolicyStatus, loaded, options)
  const exit = { sandboxId: box.sandboxId, instanceId: 'run-1', exitCode: 3 }
  await callUnary(box.channel, method.reportMainProcessExit, exit, options)
  const { sandbox } = await world.call(method.getSandbox, { name: 'boots' })
  const { currentPolicyVersion, mainProcessInstanceId, exitCode } = sandbox?.status ?? {}
  assert.deepEqual([currentPolicyVersion, mainProcessInstanceId, exitCode], [1, 'run-1', 3])
})

test('a renewed token holds for a day and a minute more; both are of the same sandbox', async () => {
  const clock = new FakeClock()
  await using own = await startTestGateway({ clock })
  const box = await boxWith('s', [], own)
  const renewed = await callUnary(box.channel, method.refreshSandboxToken, {}, options)
  assert.equal(Number(renewed.expiresAtMs), clock.nowMs() + 86_400_000)
  const claims = (token: string) =>
    JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString())
  const [old, fresh] = [claims(box.token.reveal()), claims(renewed.token)]
  assert.deepEqual([fresh.sub, fresh.iss, fresh.aud], [old.sub, old.iss, old.aud])
  const again = { ...box, channel: own.channel(new Secret(renewed.token)) }
  clock.stepWall(86_400_000 + 59_000)
  await environmentOf(again)
  clock.stepWall(2_000)
  await assert.rejects(environmentOf(again), refusal('unauthenticated'))
  await environmentOf(box)
})

test('a token is renewed by its sandbox alone, and issued to nobody', async () => {
  const { channel } = await boxWith('renewing', [])
  const person = world.channel(world.adminToken)
  const rpcs: readonly DescMethodUnary[] = [method.issueSandboxToken, method.refreshSandboxToken]
  for (const rpc of rpcs) {
    await assert.rejects(callUnary(person, rpc, {}, options), refusal('permission_denied'))
    const nobody = callUnary(world.channel(null), rpc, {}, options)
    await assert.rejects(nobody, refusal('unauthenticated'))
  }
  const issuing = callUnary(channel, method.issueSandboxToken, {}, options)
  await assert.rejects(issuing, refusal('permission_denied', /RefreshSandboxToken/))
  const request = { extensionServiceNames: ['scanner'] }
  const extending = callUnary(channel, method.refreshSandboxToken, request, options)
  await assert.rejects(extending, refusal('permission_denied', /"scanner"/))
})

test('a supervisor is greeted, answered at each heartbeat, and let go when its sandbox is deleted', async () => {
  const box = await boxWith('greeted', [])
  const stream = openStream(box.channel, method.connectSupervisor)
  const next = async () => (await once(stream, 'data'))[0].payload
  const hello = { sandboxId: box.sandboxId, instanceId: 'i' }
  stream.write({ payload: { case: 'hello', value: hello } })
  const accepted = await next()
  assert.equal(accepted.case, 'sessionAccepted')
  assert.equal(accepted.value.heartbeatIntervalSecs, 30)
  stream.write({ payload: { case: 'heartbeat', value: {} } })
  assert.equal((await next()).case, 'heartbeat')
  await world.call(method.deleteSandbox, { name: 'greeted' })
  const ended = once(stream, 'end')
  stream.write({ payload: { case: 'heartbeat', value: {} } })
  await ended
})

test('a supervisor that greets as another is turned away', async () => {
  const [box, victim] = [await boxWith('greeting', []), await boxWith('victim', [])]
  const stream = openStream(box.channel, method.connectSupervisor)
  const ended = once(stream, 'end')
  const hello = { sandboxId: victim.sandboxId, instanceId: 'i' }
  stream.write({ payload: { case: 'hello', value: hello } })
  const [message] = await once(stream, 'data')
  assert.equal(message.payload.case, 'sessionRejected')
  await ended
})

test('logs are taken and let go; those of another sandbox are refused', async () => {
  const [box, other] = [await boxWith('logging', []), await boxWith('silent', [])]
  const push = (sandboxId: string) => {
    const { promise, resolve } = Promise.withResolvers<number | null>()
    const stream = box.channel.client.makeClientStreamRequest(
      '/openshell.v1.OpenShell/PushSandboxLogs',
      (request: MessageInitShape<typeof PushSandboxLogsRequestSchema>) =>
        encodeMessage(PushSandboxLogsRequestSchema, request),
      () => ({}),
      bearerOf(box.token),
      error => resolve(error?.code ?? 0),
    )
    stream.on('error', () => undefined)
    stream.write({ sandboxId, logs: [{ message: 'a secret that an agent printed' }] })
    return { stream, status: promise }
  }
  const done = push(box.sandboxId)
  done.stream.end()
  assert.equal(await done.status, 0)
  assert.equal(await push(other.sandboxId).status, status.PERMISSION_DENIED)
  const cut = push(box.sandboxId)
  cut.stream.cancel()
  await cut.status
  await until(() => world.lines.some(line => line.includes('"sandbox.logs"')), 'the count')
  assert.ok(!world.lines.some(line => line.includes('that an agent printed')))
  assert.ok(
    !world.lines.some(line => line.includes('rpc.broke')),
    'a supervisor that leaves is no fault',
  )
})

test('a gateway that stops waits for no supervisor', async () => {
  const own = await startTestGateway()
  const box = await boxWith('s', [], own)
  const session = openStream(box.channel, method.connectSupervisor)
  session.on('error', () => undefined)
  const hello = { sandboxId: box.sandboxId, instanceId: 'i' }
  session.write({ payload: { case: 'hello', value: hello } })
  await once(session, 'data')
  const logs = box.channel.client.makeClientStreamRequest(
    '/openshell.v1.OpenShell/PushSandboxLogs',
    (request: MessageInitShape<typeof PushSandboxLogsRequestSchema>) =>
      encodeMessage(PushSandboxLogsRequestSchema, request),
    () => ({}),
    bearerOf(box.token),
    () => undefined,
  )
  logs.on('error', () => undefined)
  logs.write({ sandboxId: box.sandboxId })
  const startedMs = performance.now()
  await own[Symbol.asyncDispose]()
  assert.ok(performance.now() - startedMs < 5_000, `${performance.now() - startedMs} ms`)
})

function bearerOf(token: Secret): Metadata {
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${token.reveal()}`)
  return metadata
}

test('proposals are turned down in words', async () => {
  const { channel } = await boxWith('proposing', [])
  const request = { proposedChunks: [{ id: 'a' }, { id: 'b' }] }
  const answer = await callUnary(channel, method.submitPolicyAnalysis, request, options)
  assert.deepEqual([answer.acceptedChunks, answer.rejectedChunks], [0, 2])
  assert.equal(answer.rejectionReasons.length, 2)
})

test('what is outside this gateway’s purpose says that it is not there', async () => {
  const rpcs: readonly DescMethodUnary[] = [
    ...[method.stopSandbox, method.startSandbox, method.getSandboxLogs],
    ...[method.getSandboxPolicyStatus, method.listSandboxPolicies],
  ]
  for (const rpc of rpcs) await assert.rejects(world.call(rpc, {}), refusal('unimplemented'))
})
