import type { Policy, Setting } from '../core/sandbox.ts'
import { parseJsonObject } from './json.ts'
import { damagedRow } from './trouble.ts'

/** A policy in the three columns that hold it; without one they are null, 0 and ''. */
export interface PolicyColumns {
  readonly policy: string | null
  readonly policy_version: number
  readonly policy_hash: string
}

/** A policy as it is stored. */
export function policyColumns(policy: Policy | null): PolicyColumns {
  return {
    policy: policy === null ? null : Buffer.from(policy.bytes).toString('base64'),
    policy_version: policy?.version ?? 0,
    policy_hash: policy?.hash ?? '',
  }
}

/** Reads a policy; null when there is none. */
export function readPolicy(row: PolicyColumns): Policy | null {
  if (row.policy === null) return null
  const bytes = new Uint8Array(Buffer.from(row.policy, 'base64'))
  return { bytes, version: row.policy_version, hash: row.policy_hash }
}

/** Settings as they are stored. */
export function settingsText(settings: ReadonlyMap<string, Setting>): string {
  return JSON.stringify(Object.fromEntries(settings))
}

/** Reads settings; `what` names the row for the message of `store_unavailable`. */
export function parseSettings(text: string, what: string): ReadonlyMap<string, Setting> {
  const settings = new Map<string, Setting>()
  for (const [key, value] of Object.entries(parseJsonObject(text, what))) {
    if (typeof value !== 'string' && typeof value !== 'boolean') throw damagedRow(what)
    settings.set(key, value)
  }
  return settings
}
