import { type Credential, usableToken } from '../core/credential.ts'
import { outputKeys, outputsOf } from '../core/outputs.ts'
import type { ProviderRecord } from '../core/provider.ts'
import { Secret } from '../core/secret.ts'
import type { ProviderRoute, ProviderType } from '../providers/provider-type.ts'

/** Stands for a token where only its key is asked for; it is never sent. */
const NOT_MINTED = new Secret('not-minted')

/** What a route of a provider sends. */
export type RouteCredential =
  /** A token of this credential; null while there is none that may be sent. */
  | { readonly kind: 'token'; readonly row: Credential; readonly value: Secret | null }
  /** Static material, until an instant where a person named one. */
  | { readonly kind: 'static'; readonly value: Secret; readonly expiresAtMs: number | null }
  | { readonly kind: 'missing'; readonly key: string }

/**
 * A provider with the keys that a person had refreshed among its material, so that its type finds them
 * where it looks for a static key.
 */
export function withConfigured(
  provider: ProviderRecord,
  rows: readonly Credential[],
): ProviderRecord {
  const keys = rows.filter(row => row.grant !== null).flatMap(outputKeys)
  if (keys.length === 0) return provider
  const material = new Map([...provider.material, ...keys.map(key => [key, NOT_MINTED] as const)])
  return { ...provider, material }
}

/** The credential behind a route's choice. A key that is refreshed is never taken from the material. */
export function routeCredential(
  {
    type,
    provider,
    rows,
  }: {
    readonly type: ProviderType
    readonly provider: ProviderRecord
    readonly rows: readonly Credential[]
  },
  choice: ProviderRoute['credential'],
  nowMs: number,
): RouteCredential {
  const keys =
    choice.kind === 'material' ? [choice.key] : [...(type.tokenAliases ?? []), type.tokenKey]
  const minted = keys.flatMap(key => {
    const row = rows.find(one => outputKeys(one).includes(key))
    if (row === undefined) return []
    const token = usableToken(row, nowMs)
    const value = token === null ? null : (outputsOf(row, token).get(key) ?? null)
    return [{ kind: 'token', row, value } as const]
  })
  const [first] = minted
  if (first !== undefined) return minted.find(one => one.value !== null) ?? first
  for (const key of keys) {
    const value = provider.material.get(key)
    if (value === undefined) continue
    return { kind: 'static', value, expiresAtMs: provider.expiries.get(key) ?? null }
  }
  return { kind: 'missing', key: keys.at(-1) ?? '' }
}
