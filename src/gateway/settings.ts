import { create } from '@bufbuild/protobuf'
import { AppError } from '../core/errors.ts'
import type { Setting } from '../core/sandbox.ts'
import {
  type SettingValue,
  SettingValueSchema,
} from '../wire/gen/openshell/sandbox/v1/sandbox_pb.ts'

/** OpenShell's settings: a yes or no, or one of these words. This gateway keeps and hands them on. */
const REGISTERED: ReadonlyMap<string, 'bool' | readonly string[]> = new Map<
  string,
  'bool' | readonly string[]
>([
  ['providers_v2_enabled', 'bool'],
  ['ocsf_json_enabled', 'bool'],
  ['agent_policy_proposals_enabled', 'bool'],
  ['proposal_approval_mode', ['manual', 'auto']],
])

/** Every setting there is. */
export const SETTING_KEYS: readonly string[] = [...REGISTERED.keys()]

/** Checks that there is a setting of that name. */
export function checkSettingKey(key: string): void {
  if (REGISTERED.has(key)) return
  throw new AppError('invalid_argument', `Unknown setting "${key.slice(0, 64)}"`, {
    hint: `Settings are ${SETTING_KEYS.join(', ')}`,
  })
}

/** Checks the value that a setting is to have. */
export function parseSetting(key: string, value: SettingValue | undefined): Setting {
  checkSettingKey(key)
  const kind = REGISTERED.get(key)
  const given = value?.value
  if (given?.case === undefined) {
    throw new AppError('invalid_argument', `The value of setting "${key}" is missing`)
  }
  if (kind === 'bool' && given.case === 'boolValue') return given.value
  if (kind !== 'bool' && given.case === 'stringValue' && kind?.includes(given.value)) {
    return given.value
  }
  const wanted = kind === 'bool' ? 'true or false' : kind?.join(' or ')
  throw new AppError('invalid_argument', `Setting "${key}" takes ${wanted}`)
}

/** A setting as the wire has it; without a value it is listed all the same. */
export function settingToWire(setting: Setting | undefined): SettingValue {
  if (setting === undefined) return create(SettingValueSchema)
  return create(SettingValueSchema, {
    value:
      typeof setting === 'boolean'
        ? { case: 'boolValue', value: setting }
        : { case: 'stringValue', value: setting },
  })
}
