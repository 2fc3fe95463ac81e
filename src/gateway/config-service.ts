import { AppError } from '../core/errors.ts'
import type { GatewayConfigRecord } from '../core/sandbox.ts'
import type { Store } from '../store/store.ts'
import type { UpdateConfigRequest } from '../wire/gen/openshell/v1/config_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import { nextPolicy } from './policy.ts'
import { adminRpc, type Note, type Rpc, sharedChangeRpc } from './rpc.ts'
import { type ConfigReceipt, updateOwnPolicy, updateSandboxConfig } from './sandbox-config.ts'
import { checkSettingKey, parseSetting, SETTING_KEYS, settingToWire } from './settings.ts'

/** Stands where a setting's name would when a policy is meant. */
const POLICY_KEY = 'policy'

/** The methods of `openshell.v1.OpenShell` for settings and policies. */
export function configRpcs({ store }: { readonly store: Store }): readonly Rpc[] {
  const { method } = OpenShell
  return [
    adminRpc(method.getGatewayConfig, async () => {
      const { settings, revision } = await store.getGatewayConfig()
      const all = SETTING_KEYS.map(key => [key, settingToWire(settings.get(key))] as const)
      return { settings: Object.fromEntries(all), settingsRevision: BigInt(revision) }
    }),
    sharedChangeRpc(method.updateConfig, 'config.update', async (request, { caller, note }) => {
      note({ sandbox: request.name, setting: request.settingKey })
      if (caller.kind === 'sandbox') {
        note({ workspace: caller.sandbox.workspace })
        return updateOwnPolicy(store, caller.sandbox, request)
      }
      checkCombination(request)
      return request.global
        ? updateGlobal(store, request, note)
        : updateSandboxConfig(store, request, note)
    }),
  ]
}

function checkCombination(request: UpdateConfigRequest): void {
  const { policy, settingKey, deleteSetting, mergeOperations } = request
  if (mergeOperations.length > 0) {
    throw new AppError('unimplemented', 'Policies are replaced whole here, not merged')
  }
  if (policy !== undefined && settingKey !== '') {
    throw new AppError('invalid_argument', 'A policy and a setting go in two requests')
  }
  if (policy === undefined && settingKey === '') {
    throw new AppError('invalid_argument', 'There is neither a policy nor a setting to change')
  }
  if (settingKey === POLICY_KEY && !(deleteSetting && request.global)) {
    throw new AppError('invalid_argument', 'A policy is set by the field "policy"')
  }
}

async function updateGlobal(
  store: Store,
  request: UpdateConfigRequest,
  note: Note,
): Promise<ConfigReceipt> {
  const standing = await store.getGatewayConfig()
  const wanted = changedConfig(standing, request)
  if (wanted === standing) {
    note({ outcome: 'unchanged' })
    return receiptOf(standing, { isDeleted: false })
  }
  const saved = await store.saveGatewayConfig(wanted)
  if (saved === null) {
    throw new AppError('version_conflict', 'The settings were changed by someone else meanwhile', {
      hint: 'Repeat the command',
    })
  }
  return receiptOf(saved, { isDeleted: request.deleteSetting })
}

/** What the request makes of the configuration; the same object when it changes nothing. */
function changedConfig(
  standing: GatewayConfigRecord,
  request: UpdateConfigRequest,
): GatewayConfigRecord {
  const { policy, settingKey, settingValue, deleteSetting } = request
  if (policy !== undefined) {
    const next = nextPolicy(standing.policy, policy)
    return next === standing.policy ? standing : { ...standing, policy: next }
  }
  if (settingKey === POLICY_KEY) {
    return standing.policy === null ? standing : { ...standing, policy: null }
  }
  const settings = new Map(standing.settings)
  if (deleteSetting) {
    checkSettingKey(settingKey)
    return settings.delete(settingKey) ? { ...standing, settings } : standing
  }
  const value = parseSetting(settingKey, settingValue)
  if (settings.get(settingKey) === value) return standing
  return { ...standing, settings: settings.set(settingKey, value) }
}

function receiptOf(
  { policy, revision }: GatewayConfigRecord,
  { isDeleted }: { readonly isDeleted: boolean },
): ConfigReceipt {
  return {
    version: policy?.version ?? 0,
    policyHash: policy?.hash ?? '',
    settingsRevision: BigInt(revision),
    deleted: isDeleted,
  }
}
