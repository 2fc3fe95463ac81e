import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import { outputKeys } from '../core/outputs.ts'
import type { ProviderContent, ProviderRecord } from '../core/provider.ts'
import type { ProviderType } from '../providers/provider-type.ts'
import type { ProviderDeskDeps, ProviderWish } from './first-mint.ts'
import { withConfigured } from './route-credential.ts'
import { mergeExpiries, mergeNotes } from './validate.ts'

/** A model id that any type accepts: what is checked with it is the configuration. */
const ANY_MODEL = 'model'

/** A provider as it would be stored. */
interface Checked {
  readonly provider: ProviderRecord
  /** Its credentials as they stand. */
  readonly rows: readonly Credential[]
  /** Whether it may have nothing to get a token with, because a refresh is configured later. */
  readonly mayBeBare: boolean
}

/**
 * Throws when material or configuration can never work; answers whether there is a token to mint of the
 * provider's own material.
 */
export function checkConfiguration(
  { clock, rules }: Pick<ProviderDeskDeps, 'clock' | 'rules'>,
  type: ProviderType,
  checked: Checked,
): boolean {
  const { provider, rows } = checked
  const isMinted =
    !isConfigured(type, rows) &&
    orBare(type, checked, () => type.grant(provider, clock.nowMs(), rules)) !== null
  if (type.servesRoute?.(provider) ?? true) {
    orBare(type, checked, () => type.route(withConfigured(provider, rows), ANY_MODEL, rules))
  }
  return isMinted
}

/** Whether a person configured how the provider's token is minted. */
export function isConfigured(type: ProviderType, rows: readonly Credential[]): boolean {
  const configured = rows.filter(row => row.grant !== null).flatMap(outputKeys)
  return tokenKeys(type).some(key => configured.includes(key))
}

function tokenKeys({ tokenKey, tokenAliases = [] }: ProviderType): readonly string[] {
  return [...tokenAliases, tokenKey]
}

/**
 * What a check answers; null when all that is wrong is that there is no material: a token was given
 * instead, or a refresh will be configured.
 */
function orBare<T>(type: ProviderType, { provider, mayBeBare }: Checked, check: () => T): T | null {
  try {
    return check()
  } catch (error) {
    const isMissing = error instanceof AppError && error.code === 'invalid_credential'
    const isBare = mayBeBare && provider.material.size === 0
    const isGiven = tokenKeys(type).some(key => provider.material.has(key))
    if (isMissing && (isBare || isGiven)) return null
    throw error
  }
}

/**
 * Refuses to change a key by hand that the gateway refreshes.
 *
 * @throws AppError `failed_precondition`.
 */
export function refuseRefreshed(
  type: ProviderType,
  rows: readonly Credential[],
  wish: ProviderWish,
): void {
  const refreshed = new Set(rows.flatMap(outputKeys))
  const key = Object.keys(wish.material).find(name => refreshed.has(name))
  if (key === undefined) return
  throw new AppError('failed_precondition', `The gateway refreshes ${key} itself`, {
    hint:
      key === type.tokenKey
        ? 'Change what it is made of instead'
        : "Delete its refresh first: 'openshell provider refresh delete'",
  })
}

/** The provider with what the person wants noted on it. */
export function withNotes(
  type: ProviderType,
  { provider, next, rows }: Pick<Checked, 'provider' | 'rows'> & { readonly next: ProviderContent },
  { notes }: ProviderWish,
): ProviderRecord {
  const canonical = (name: string): string =>
    type.credentialKeys.find(one => one.aliases.includes(name))?.name ?? name
  const expiries = Object.entries(notes?.expiries ?? {}).map(
    ([name, atMs]) => [canonical(name), atMs] as const,
  )
  const known = new Set([...next.material.keys(), ...rows.flatMap(outputKeys)])
  return {
    ...provider,
    labels: mergeNotes(provider.labels, notes?.labels ?? {}),
    annotations: mergeNotes(provider.annotations, notes?.annotations ?? {}),
    expiries: mergeExpiries(provider.expiries, Object.fromEntries(expiries), known),
  }
}
