// Goal: settings and policies are kept as OpenShell keeps them, for all sandboxes or for one.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { refusal, startTestGateway, type TestGateway } from '../../test/support/gateway.ts'
import type { ErrorCode } from '../core/errors.ts'
import { callUnary } from '../wire/client.ts'
import { PolicySource, SettingScope } from '../wire/gen/openshell/sandbox/v1/sandbox_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'

const { method } = OpenShell
const yes = { value: { case: 'boolValue', value: true } } as const
const no = { value: { case: 'boolValue', value: false } } as const
const text = (value: string) => ({ value: { case: 'stringValue', value } }) as const

let world: TestGateway
before(async () => {
  world = await startTestGateway()
})
after(() => world[Symbol.asyncDispose]())

const update = (request: MessageInitShape<typeof method.updateConfig.input>) =>
  world.call(method.updateConfig, request)
const global = async () => world.call(method.getGatewayConfig, {})

async function box(name: string) {
  const { channel } = await world.sandbox(name)
  const { sandbox } = await world.call(method.getSandbox, { name })
  const sandboxId = sandbox?.metadata?.id ?? ''
  return () => callUnary(channel, method.getSandboxConfig, { sandboxId }, { timeoutMs: 5_000 })
}

test('every setting is listed, set or not; each change raises the revision', async () => {
  const before = await global()
  assert.deepEqual(Object.keys(before.settings).sort(), [
    'agent_policy_proposals_enabled',
    'ocsf_json_enabled',
    'proposal_approval_mode',
    'providers_v2_enabled',
  ])
  for (const { value } of Object.values(before.settings)) assert.equal(value.case, undefined)
  const set = { global: true, settingKey: 'providers_v2_enabled', settingValue: yes }
  const first = await update(set)
  assert.equal(first.settingsRevision, before.settingsRevision + 1n)
  assert.equal((await update(set)).settingsRevision, first.settingsRevision, 'nothing changed')
  const after = await global()
  assert.deepEqual(after.settings.providers_v2_enabled?.value, yes.value)
  assert.equal(after.settingsRevision, first.settingsRevision)
  const remove = { global: true, settingKey: 'providers_v2_enabled', deleteSetting: true }
  assert.equal((await update(remove)).deleted, true)
  assert.equal((await update(remove)).deleted, false)
})

test('what makes no sense is refused', async t => {
  const policy = { version: 1 }
  const key = 'ocsf_json_enabled'
  const rows: readonly [string, Parameters<typeof update>[0], ErrorCode][] = [
    [
      'an unknown key',
      { global: true, settingKey: 'colour', settingValue: yes },
      'invalid_argument',
    ],
    [
      'a word for a yes or no',
      { global: true, settingKey: key, settingValue: text('on') },
      'invalid_argument',
    ],
    [
      'a yes for a word',
      { global: true, settingKey: 'proposal_approval_mode', settingValue: yes },
      'invalid_argument',
    ],
    [
      'another word',
      { global: true, settingKey: 'proposal_approval_mode', settingValue: text('never') },
      'invalid_argument',
    ],
    ['no value', { global: true, settingKey: key }, 'invalid_argument'],
    ['an empty value', { global: true, settingKey: key, settingValue: {} }, 'invalid_argument'],
    [
      'a policy as a setting',
      { global: true, settingKey: 'policy', settingValue: text('x') },
      'invalid_argument',
    ],
    ['both', { global: true, settingKey: key, settingValue: yes, policy }, 'invalid_argument'],
    ['neither', { global: true }, 'invalid_argument'],
    ['no sandbox', { settingKey: key, settingValue: yes }, 'invalid_argument'],
    ['an unknown sandbox', { name: 'nobody', settingKey: key, settingValue: yes }, 'not_found'],
    ['a merge', { name: 'x', mergeOperations: [{}] }, 'unimplemented'],
  ]
  for (const [label, request, code] of rows)
    await t.test(label, () => assert.rejects(update(request), refusal(code)))
})

test('a sandbox has settings of its own, below those that hold for all', async () => {
  const config = await box('settings')
  const key = 'ocsf_json_enabled'
  const set = { name: 'settings', settingKey: key, settingValue: no }
  await update(set)
  const own = (await config()).settings[key]
  assert.deepEqual([own?.value?.value, own?.scope], [no.value, SettingScope.SANDBOX])
  await update({ global: true, settingKey: key, settingValue: yes })
  const ruled = (await config()).settings[key]
  assert.deepEqual([ruled?.value?.value, ruled?.scope], [yes.value, SettingScope.GLOBAL])
  await assert.rejects(update(set), refusal('failed_precondition', /managed globally/))
  await update({ global: true, settingKey: key, deleteSetting: true })
  assert.equal((await update({ ...set, deleteSetting: true })).deleted, true)
  const unset = (await config()).settings[key]
  assert.deepEqual([unset?.value?.value.case, unset?.scope], [undefined, SettingScope.UNSPECIFIED])
})

test('a policy counts its versions; the same one again is the same version', async () => {
  const config = await box('policies')
  const tell = (version: number) => update({ name: 'policies', policy: { version } })
  const first = await tell(1)
  assert.deepEqual([first.version, (await tell(1)).version], [1, 1])
  const second = await tell(2)
  assert.deepEqual([second.version, second.policyHash === first.policyHash], [2, false])
  const { version, policyHash, policySource } = await config()
  assert.deepEqual([version, policyHash], [2, second.policyHash])
  assert.equal(policySource, PolicySource.SANDBOX)
})

test('one policy for all stands in for each sandbox’s own until it is deleted', async () => {
  const config = await box('ruled')
  await update({ name: 'ruled', policy: { version: 7 } })
  const before = await config()
  const set = await update({ global: true, policy: { version: 9 } })
  const ruled = await config()
  assert.deepEqual([ruled.policy?.version, ruled.policyHash], [9, set.policyHash])
  assert.deepEqual([ruled.policySource, ruled.globalPolicyVersion], [PolicySource.GLOBAL, 1])
  assert.notEqual(ruled.configRevision, before.configRevision)
  const own = update({ name: 'ruled', policy: { version: 8 } })
  await assert.rejects(own, refusal('failed_precondition', /global policy/))
  const remove = { global: true, settingKey: 'policy', deleteSetting: true }
  assert.equal((await update(remove)).deleted, true)
  assert.deepEqual(await config(), before)
})

test('a change from a version that is over is refused', async () => {
  await box('versions')
  const { sandbox } = await world.call(method.getSandbox, { name: 'versions' })
  const expectedResourceVersion = sandbox?.metadata?.resourceVersion ?? 0n
  const set = (version: number) =>
    update({ name: 'versions', policy: { version }, expectedResourceVersion })
  await set(1)
  await assert.rejects(set(2), refusal('version_conflict'))
})
