import { createHash } from 'node:crypto'
import { AppError } from '../core/errors.ts'
import type { SandboxRecord } from '../core/provider.ts'
import type { FullSandbox, Setting } from '../core/sandbox.ts'
import type { Store } from '../store/store.ts'
import { PolicySource, SettingScope } from '../wire/gen/openshell/sandbox/v1/sandbox_pb.ts'
import type { UpdateConfigRequest } from '../wire/gen/openshell/v1/config_pb.ts'
import { nextPolicy } from './policy.ts'
import type { Note } from './rpc.ts'
import { changeSandbox, requireSandbox } from './sandbox-change.ts'
import { policyToWire } from './sandbox-wire.ts'
import { checkSettingKey, parseSetting, SETTING_KEYS, settingToWire } from './settings.ts'

/** What an update did. */
export interface ConfigReceipt {
  readonly version?: number
  readonly policyHash?: string
  readonly settingsRevision?: bigint
  readonly deleted?: boolean
}

/** An administrator changes a sandbox's policy or one of its settings. */
export async function updateSandboxConfig(
  store: Store,
  request: UpdateConfigRequest,
  note: Note,
): Promise<ConfigReceipt> {
  if (request.name === '') {
    throw new AppError('invalid_argument', 'The name of the sandbox is missing', {
      hint: 'Name one, or change what holds for all with --global',
    })
  }
  const { id, workspace } = await requireSandbox(store, request.workspace, request.name)
  note({ workspace })
  const global = await store.getGatewayConfig()
  const expected = { store, expectedVersion: request.expectedResourceVersion }
  const { sandbox, isChanged } = await changeSandbox(expected, id, standing => {
    if (request.policy === undefined) return withSetting(standing, request, global.settings)
    if (global.policy !== null) {
      throw new AppError('failed_precondition', 'One policy holds for all sandboxes', {
        hint: 'Delete the global policy first',
      })
    }
    return withPolicy(standing, request.policy)
  })
  if (!isChanged) note({ outcome: 'unchanged' })
  return receiptOf(sandbox, request.deleteSetting && isChanged)
}

/**
 * A sandbox tells the gateway the policy that it started with. It may not change one that stands: what
 * an agent may do is not for its own sandbox to say.
 */
export async function updateOwnPolicy(
  store: Store,
  caller: SandboxRecord,
  request: UpdateConfigRequest,
): Promise<ConfigReceipt> {
  const isOwn = request.name === caller.name && ['', caller.workspace].includes(request.workspace)
  const hasMore = request.settingKey !== '' || request.mergeOperations.length > 0
  if (request.global || !isOwn || hasMore || request.policy === undefined) {
    throw new AppError('permission_denied', 'A sandbox may tell its own policy and no more')
  }
  const { policy } = request
  const { sandbox } = await changeSandbox({ store, expectedVersion: 0n }, caller.id, standing => {
    const next = withPolicy(standing, policy)
    if (next === standing || standing.policy === null) return next
    throw new AppError('permission_denied', 'The policy of this sandbox is set already')
  })
  return receiptOf(sandbox, false)
}

/** What a supervisor runs by: the sandbox's own configuration below the gateway's. */
export async function effectiveConfig(store: Store, sandbox: FullSandbox) {
  const global = await store.getGatewayConfig()
  const policy = global.policy ?? sandbox.policy
  const settings = SETTING_KEYS.map(key => {
    const isGlobal = global.settings.has(key)
    const value = isGlobal ? global.settings.get(key) : sandbox.settings.get(key)
    return [key, { value: settingToWire(value), scope: scopeOf(value, isGlobal) }] as const
  })
  const content = [policy?.hash, policy?.version, settings.map(([key, one]) => [key, one])]
  return {
    ...(policy === null ? {} : { policy: policyToWire(policy) }),
    version: policy?.version ?? 0,
    policyHash: policy?.hash ?? '',
    settings: Object.fromEntries(settings),
    configRevision: createHash('sha256').update(JSON.stringify(content)).digest().readBigUInt64BE(),
    policySource: sourceOf(sandbox, global.policy !== null),
    globalPolicyVersion: global.policy?.version ?? 0,
    workspace: sandbox.workspace,
  }
}

function withPolicy(
  standing: FullSandbox,
  wanted: NonNullable<UpdateConfigRequest['policy']>,
): FullSandbox {
  const policy = nextPolicy(standing.policy, wanted)
  return policy === standing.policy ? standing : { ...standing, policy }
}

function withSetting(
  standing: FullSandbox,
  { settingKey, settingValue, deleteSetting }: UpdateConfigRequest,
  global: ReadonlyMap<string, Setting>,
): FullSandbox {
  checkSettingKey(settingKey)
  if (global.has(settingKey)) {
    throw new AppError('failed_precondition', `Setting "${settingKey}" is managed globally`, {
      hint: `First 'openshell settings delete --global --key ${settingKey}'`,
    })
  }
  const settings = new Map(standing.settings)
  if (deleteSetting) return settings.delete(settingKey) ? { ...standing, settings } : standing
  const value = parseSetting(settingKey, settingValue)
  if (settings.get(settingKey) === value) return standing
  return { ...standing, settings: settings.set(settingKey, value) }
}

function receiptOf({ policy, version }: FullSandbox, isDeleted: boolean): ConfigReceipt {
  return {
    version: policy?.version ?? 0,
    policyHash: policy?.hash ?? '',
    settingsRevision: BigInt(version),
    deleted: isDeleted,
  }
}

function scopeOf(value: Setting | undefined, isGlobal: boolean): SettingScope {
  if (value === undefined) return SettingScope.UNSPECIFIED
  return isGlobal ? SettingScope.GLOBAL : SettingScope.SANDBOX
}

function sourceOf(sandbox: FullSandbox, isGlobal: boolean): PolicySource {
  if (isGlobal) return PolicySource.GLOBAL
  return sandbox.policy === null ? PolicySource.UNSPECIFIED : PolicySource.SANDBOX
}
