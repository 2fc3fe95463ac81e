// Goal: whoever changes something, and whatever is minted, leaves one audit line.
// Method: one gateway is administered by every method it has; a method that this story does not know
// fails the first test, one that leaves no line, or the wrong one, fails the second.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DescMethod, DescMethodUnary } from '@bufbuild/protobuf'
import {
  openaiProvider,
  startTestGateway,
  type TestGateway,
  until,
  VERTEX,
  vertexProvider,
} from '../../test/support/gateway.ts'
import { AppError } from '../core/errors.ts'
import { callUnary } from '../wire/client.ts'
import { Delivery } from '../wire/gen/openshell/delivery/v1/delivery_pb.ts'
import { Doctor } from '../wire/gen/openshell/doctor/v1/doctor_pb.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import { ProviderCredentialRefreshStrategy } from '../wire/gen/openshell/v1/refresh_pb.ts'

/** Methods of this kind only look. */
const LOOKS = /^(Get|List|Lint|Health|Watch)/

/** Routers and supervisors call these; what they leave is the line of the mint that may follow. */
const BY_ROUTERS = [
  ...['ReportRejectedToken', 'ConnectSupervisor', 'RelayStream', 'PushSandboxLogs'],
  ...['IssueSandboxToken', 'RefreshSandboxToken', 'ReportPolicyStatus', 'ReportMainProcessExit'],
  'SubmitPolicyAnalysis',
]

/** Streams that a supervisor holds open; nothing is kept of them. */
const BY_SUPERVISORS = ['ConnectSupervisor', 'RelayStream', 'PushSandboxLogs']

const CLIENT_CREDENTIALS = ProviderCredentialRefreshStrategy.OAUTH2_CLIENT_CREDENTIALS

const SERVICES = [OpenShell, Inference, Delivery, Doctor]

type Line = Readonly<Record<string, unknown>>

/** A call, and the line that it leaves besides those of mints. */
interface Step {
  readonly method: DescMethodUnary
  readonly request: (world: TestGateway) => Record<string, unknown>
  readonly line: Line
}

const { method } = OpenShell

const TRUE = { value: { case: 'boolValue', value: true } }

const STORY: readonly Step[] = [
  {
    method: method.createProvider,
    request: ({ lab }) => ({ provider: vertexProvider(lab, 'vx') }),
    line: { event: 'audit.provider.create', provider: 'vx', type: VERTEX, version: 1 },
  },
  {
    method: method.createProvider,
    request: ({ lab }) => ({ provider: openaiProvider(lab, 'oa') }),
    line: { event: 'audit.provider.create', provider: 'oa', type: 'openai' },
  },
  {
    method: method.updateProvider,
    request: () => ({ provider: { metadata: { name: 'oa' }, config: { A: 'b' } } }),
    line: { event: 'audit.provider.update', provider: 'oa', type: 'openai', version: 2 },
  },
  {
    method: method.updateProvider,
    request: () => ({ provider: { metadata: { name: 'oa' }, config: { A: 'b' } } }),
    line: { event: 'audit.provider.update', provider: 'oa', outcome: 'unchanged' },
  },
  {
    method: Inference.method.setInferenceRoute,
    request: () => ({ providerName: 'vx', modelId: 'claude-3-7-sonnet' }),
    line: {
      ...{ event: 'audit.route.set', route: 'inference.local', provider: 'vx' },
      ...{ model: 'claude-3-7-sonnet', version: 1 },
    },
  },
  {
    method: method.importProviderProfiles,
    request: ({ lab }) => ({ profiles: [{ profile: profile(lab, 0n), source: 'acme.yaml' }] }),
    line: { event: 'audit.profile.import', profiles: 'acme', workspace: '' },
  },
  {
    method: method.updateProviderProfiles,
    request: ({ lab }) => ({ profile: { profile: profile(lab, 1n), source: 'acme.yaml' } }),
    line: { event: 'audit.profile.update', profiles: 'acme', workspace: '', version: 2 },
  },
  {
    method: method.createProvider,
    request: () => ({ provider: { metadata: { name: 'ac' }, type: 'acme' } }),
    line: { event: 'audit.provider.create', provider: 'ac', type: 'acme', version: 1 },
  },
  {
    method: method.configureProviderRefresh,
    request: ({ lab }) => ({
      ...{ provider: 'ac', credentialKey: 'ACME_TOKEN', strategy: CLIENT_CREDENTIALS },
      material: clientOf(lab),
    }),
    line: { event: 'audit.refresh.configure', provider: 'ac', credential: 'ACME_TOKEN' },
  },
  {
    method: method.deleteProvider,
    request: () => ({ name: 'ac' }),
    line: { event: 'audit.provider.delete', provider: 'ac', type: 'acme' },
  },
  {
    method: method.deleteProviderProfile,
    request: () => ({ id: 'acme' }),
    line: { event: 'audit.profile.delete', profiles: 'acme', workspace: '' },
  },
  {
    method: method.rotateProviderCredential,
    request: () => ({ provider: 'vx' }),
    line: { event: 'audit.refresh.rotate', provider: 'vx', generation: 2 },
  },
  {
    method: method.deleteProviderRefresh,
    request: () => ({ provider: 'vx' }),
    line: { event: 'audit.refresh.delete', provider: 'vx' },
  },
  {
    method: Doctor.method.checkProvider,
    request: () => ({ provider: 'vx' }),
    line: { event: 'audit.provider.examine', provider: 'vx', type: VERTEX, mint: 'ok' },
  },
  {
    method: method.createSandbox,
    request: () => ({ name: 's' }),
    line: { event: 'audit.sandbox.create', sandbox: 's' },
  },
  {
    method: Delivery.method.createSandboxToken,
    request: () => ({ sandboxName: 's' }),
    line: { event: 'audit.sandbox_token.create', sandbox: 's' },
  },
  {
    method: Inference.method.deleteInferenceRoute,
    request: () => ({}),
    line: { event: 'audit.route.delete', route: 'inference.local' },
  },
  {
    method: Inference.method.deleteInferenceRoute,
    request: () => ({}),
    line: { event: 'audit.route.delete', route: 'inference.local', outcome: 'unchanged' },
  },
  {
    method: method.attachSandboxProvider,
    request: () => ({ sandboxName: 's', providerName: 'oa' }),
    line: { event: 'audit.sandbox_provider.attach', sandbox: 's', provider: 'oa' },
  },
  {
    method: method.attachSandboxProvider,
    request: () => ({ sandboxName: 's', providerName: 'oa' }),
    line: { event: 'audit.sandbox_provider.attach', provider: 'oa', outcome: 'unchanged' },
  },
  {
    method: method.detachSandboxProvider,
    request: () => ({ sandboxName: 's', providerName: 'oa' }),
    line: { event: 'audit.sandbox_provider.detach', sandbox: 's', provider: 'oa' },
  },
  {
    method: method.updateConfig,
    request: () => ({ global: true, settingKey: 'ocsf_json_enabled', settingValue: TRUE }),
    line: { event: 'audit.config.update', setting: 'ocsf_json_enabled', workspace: '' },
  },
  {
    method: method.updateConfig,
    request: () => ({ name: 's', policy: { version: 1 } }),
    line: { event: 'audit.config.update', sandbox: 's' },
  },
  {
    method: method.createWorkspace,
    request: () => ({ name: 'team' }),
    line: { event: 'audit.workspace.create', workspace: 'team' },
  },
  {
    method: method.addWorkspaceMember,
    request: () => ({ workspace: 'team', principalSubject: 'ann', role: 1 }),
    line: { event: 'audit.workspace_member.add', workspace: 'team', member: 'ann' },
  },
  {
    method: method.removeWorkspaceMember,
    request: () => ({ workspace: 'team', principalSubject: 'ann' }),
    line: { event: 'audit.workspace_member.remove', workspace: 'team', member: 'ann' },
  },
  {
    method: method.deleteWorkspace,
    request: () => ({ name: 'team' }),
    line: { event: 'audit.workspace.delete', workspace: 'team' },
  },
  {
    method: method.deleteSandbox,
    request: () => ({ name: 's' }),
    line: { event: 'audit.sandbox.delete', sandbox: 's' },
  },
  {
    method: method.deleteProvider,
    request: () => ({ name: 'vx' }),
    line: { event: 'audit.provider.delete', provider: 'vx', type: VERTEX },
  },
  {
    method: method.deleteProvider,
    request: () => ({ name: 'vx' }),
    line: { event: 'audit.provider.delete', provider: 'vx', outcome: 'unchanged' },
  },
]

function profile(lab: TestGateway['lab'], resourceVersion: bigint) {
  const refresh = { strategy: CLIENT_CREDENTIALS, tokenUrl: `${lab.origin}/oauth2/token` }
  const credentials = [{ name: 'token', envVars: ['ACME_TOKEN'], refresh }]
  return { id: 'acme', displayName: 'Acme', credentials, resourceVersion }
}

function clientOf(lab: TestGateway['lab']): Record<string, string> {
  const { clientId, clientSecret } = lab.registerOauthClient({ method: 'post' })
  return { client_id: clientId, client_secret: clientSecret.reveal() }
}

function auditLines(world: TestGateway): readonly Line[] {
  const lines: readonly Line[] = world.lines.map(line => JSON.parse(line))
  return lines.filter(({ event }) => String(event).startsWith('audit.'))
}

const isUnary = (one: DescMethod): one is DescMethodUnary => one.methodKind === 'unary'

/** Everything of `expected` stands in `line`. */
function assertLine(line: Line | undefined, expected: Line): void {
  assert.ok(line !== undefined, `no ${expected.event}`)
  const part = Object.fromEntries(Object.keys(expected).map(name => [name, line[name]]))
  assert.deepEqual(part, expected)
}

test('every method of the gateway only looks, or is part of the story', async () => {
  await using world = await startTestGateway()
  const told = new Set(STORY.map(step => step.method.name))
  const changing = SERVICES.flatMap(service => service.methods).filter(
    ({ name }) => !LOOKS.test(name) && ![...BY_ROUTERS, ...BY_SUPERVISORS].includes(name),
  )
  assert.ok(changing.length > 10)
  for (const one of changing.filter(({ name }) => !told.has(name))) {
    assert.ok(isUnary(one))
    await assert.rejects(
      world.call(one, {}),
      (error: unknown) => error instanceof AppError && error.code === 'unimplemented',
      `${one.name} changes something and is no part of the story`,
    )
  }
})

test('each change leaves its one line, with who, what and what came of it', async () => {
  await using world = await startTestGateway()
  for (const step of STORY) {
    const before = auditLines(world).length
    await world.call(step.method, step.request(world))
    const added = auditLines(world).slice(before)
    const own = added.filter(({ event }) => event !== 'audit.token.mint')
    assert.equal(own.length, 1, `${step.method.name} left ${own.length} lines`)
    assertLine(own[0], { who: 'admin', outcome: 'done', workspace: 'default', ...step.line })
    assert.equal(own[0]?.level, 'info')
  }
})

test('methods that only look leave no line', async () => {
  await using world = await startTestGateway()
  await world.call(method.createProvider, { provider: vertexProvider(world.lab, 'vx') })
  const before = auditLines(world).length
  await world.call(method.listProviders, {})
  await world.call(method.getProvider, { name: 'vx' })
  await world.call(method.getProviderRefreshStatus, {})
  await world.call(method.health, {})
  assert.equal(auditLines(world).length, before)
})

test('a refused change leaves its line too: who tried, on what, and why not', async () => {
  await using world = await startTestGateway()
  const { token } = await world.sandbox('s')
  const refused = async (call: () => Promise<unknown>): Promise<Line | undefined> => {
    await assert.rejects(call())
    return auditLines(world).at(-1)
  }
  const spoiled = { name: 'x'.repeat(10_000), workspace: 'no such name!' }
  const at = (channel: ReturnType<TestGateway['channel']>) =>
    callUnary(channel, method.deleteProvider, { name: 'vx' }, { timeoutMs: 5_000 })
  const rows: readonly (readonly [call: () => Promise<unknown>, line: Line])[] = [
    [
      () => at(world.channel(token)),
      { event: 'audit.provider.delete', who: 'sandbox s', code: 'permission_denied' },
    ],
    [
      () => at(world.channel(null)),
      { event: 'audit.provider.delete', who: 'unknown', code: 'unauthenticated' },
    ],
    [
      () => world.call(Inference.method.setInferenceRoute, { providerName: 'none', modelId: 'm' }),
      { event: 'audit.route.set', who: 'admin', provider: 'none', code: 'failed_precondition' },
    ],
    [
      () => world.call(method.rotateProviderCredential, { provider: 'none' }),
      { event: 'audit.refresh.rotate', who: 'admin', provider: 'none', code: 'not_found' },
    ],
    [
      () => world.call(method.createSandbox, spoiled),
      { event: 'audit.sandbox.create', sandbox: 'x'.repeat(256), code: 'invalid_argument' },
    ],
  ]
  for (const [call, line] of rows) assertLine(await refused(call), { outcome: 'refused', ...line })
})

test('each mint leaves its line: who wanted it and why, which token came, or which failure', async () => {
  await using world = await startTestGateway()
  const { lab } = world
  const mints = () => auditLines(world).filter(({ event }) => event === 'audit.token.mint')
  const provider = { workspace: 'default', provider: 'vx', type: VERTEX }
  await world.call(method.createProvider, { provider: vertexProvider(lab, 'vx') })
  assertLine(mints().at(-1), { ...provider, who: 'admin', reason: 'first', outcome: 'done' })
  const { channel } = await world.sandbox('s')
  const report = { providerName: 'vx', generation: 1n, status: 401 }
  await callUnary(channel, Delivery.method.reportRejectedToken, report, { timeoutMs: 5_000 })
  await until(() => mints().length === 2, 'the forced refresh')
  const forced = { ...provider, who: 'sandbox s', reason: 'rejected', outcome: 'done' }
  assertLine(mints().at(-1), { ...forced, generation: 2 })
  assert.ok(Date.parse(String(mints().at(-1)?.expiresAt)) > Date.now())
  lab.faults.set(['google.token', 'status=400', 'error=invalid_grant', 'count=1'])
  const refused = vertexProvider(lab, 'bad')
  await assert.rejects(world.call(method.createProvider, { provider: refused }))
  assertLine(mints().at(-1), {
    ...{ ...provider, provider: 'bad', who: 'admin', reason: 'first' },
    ...{ outcome: 'failed', class: 'P' },
  })
  assert.ok(String(mints().at(-1)?.code).length > 3)
})
