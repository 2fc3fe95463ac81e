import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'
import type { ProviderRules, ProviderType } from '../providers/provider-type.ts'
import type { CredentialRefresher, RefreshResult } from '../providers/refresher.ts'
import { findProviderType } from '../providers/registry.ts'
import type { RefreshEvent } from '../refresh/task.ts'
import { afterAttempt, newCredential } from '../refresh/transition.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import type { Random } from '../system/random.ts'
import { uuid } from './uuid.ts'
import { mergeConfig, mergeMaterial, unknownKeys } from './validate.ts'

/** A model id that any type accepts: what is checked with it is the configuration. */
const ANY_MODEL = 'model'

/** How long a provider's credential is kept from the refresh task while it is being changed. */
const CLAIM_MS = 30_000

/** What the desk needs. */
export interface ProviderDeskDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  readonly rules: ProviderRules
  readonly refresherOf: (provider: ProviderRecord) => CredentialRefresher
  /** Called after each first mint, whatever came of it. */
  readonly onMint: (event: RefreshEvent) => void
  /** Called after each change, so that due times and bundles follow. */
  readonly onChange: (provider: ProviderRecord) => void
}

/** What a person asked for. */
interface ProviderWish {
  readonly material: Readonly<Record<string, string>>
  readonly config: Readonly<Record<string, string>>
  /** Store it even when the vendor refuses the first token. */
  readonly isUnverified: boolean
}

/** What came of it. */
export interface ProviderReceipt {
  readonly provider: ProviderRecord
  /** The refreshed credential; null for a static key. */
  readonly credential: Credential | null
  /** Something that the person should know; '' when all is well. */
  readonly warning: string
}

/** Takes in new and changed providers: nothing is stored that could never work. */
export interface ProviderDesk {
  create(
    place: { workspace: string; name: string; type: string },
    wish: ProviderWish,
  ): Promise<ProviderReceipt>
  /** `expectedVersion` 0 accepts any. */
  update(
    provider: ProviderRecord,
    wish: ProviderWish,
    expectedVersion: number,
  ): Promise<ProviderReceipt>
}

/** Builds the desk. */
export function createProviderDesk(deps: ProviderDeskDeps): ProviderDesk {
  return {
    async create({ workspace, name, type: typeName }, wish) {
      const type = findProviderType(typeName)
      const nowMs = deps.clock.nowMs()
      const provider: ProviderRecord = {
        id: uuid(deps.random),
        workspace,
        name,
        type: type.type,
        material: mergeMaterial(type, new Map(), wish.material),
        config: mergeConfig(new Map(), wish.config),
        version: 1,
        createdAtMs: nowMs,
        updatedAtMs: nowMs,
      }
      if ((await deps.store.getProvider(workspace, name)) !== null) throw taken(name)
      const isRefreshed = checkConfiguration(deps, type, provider)
      const fresh = newCredential(provider.id, type.tokenKey, nowMs)
      const mint = isRefreshed ? await firstMint(deps, provider, { standing: fresh, wish }) : null
      const credential = mint === null ? null : minted(deps, fresh, mint)
      const material = materialAfter(provider, mint)
      await deps.store.createProvider(
        { ...provider, material },
        credential === null ? [] : [credential],
      )
      deps.log.info('provider.created', { provider: name, workspace, type: type.type })
      if (mint !== null && credential !== null) tell(deps, provider, { mint, credential })
      deps.onChange(provider)
      return { provider, credential, warning: warningOf(type, provider, credential) }
    },
    async update(provider, wish, expectedVersion) {
      if (expectedVersion !== 0 && expectedVersion !== provider.version)
        throw changed(provider.name)
      const type = findProviderType(provider.type)
      const next: ProviderRecord = {
        ...provider,
        material: mergeMaterial(type, provider.material, wish.material),
        config: mergeConfig(provider.config, wish.config),
      }
      const [found] = await deps.store.listCredentials(provider.id)
      if (isSame(provider, next)) return { provider, credential: found ?? null, warning: '' }
      const isRefreshed = checkConfiguration(deps, type, next)
      const known =
        found === undefined ? undefined : await reserve(deps, provider, { type, next, found })
      const standing = known ?? newCredential(provider.id, type.tokenKey, deps.clock.nowMs())
      const mint = isRefreshed ? await firstMint(deps, next, { standing, wish }) : null
      // The refresh task may have minted with the old key meanwhile: generations go on from there.
      const [latest = standing] = await deps.store.listCredentials(provider.id)
      // What failed before failed with what is being replaced.
      const credential = mint === null ? null : minted(deps, { ...latest, failure: null }, mint)
      const stored = await deps.store.updateProvider(
        provider,
        { material: materialAfter(next, mint), config: next.config },
        credential === null ? [] : [credential],
      )
      if (stored === null) throw changed(provider.name)
      deps.log.info('provider.updated', { provider: provider.name, workspace: provider.workspace })
      if (mint !== null && credential !== null) tell(deps, stored, { mint, credential })
      deps.onChange(stored)
      return { provider: stored, credential, warning: warningOf(type, stored, credential) }
    },
  }
}

/**
 * The credential, claimed if its next mint spends what may be spent only once: the refresh task must
 * neither spend it at the same time nor find it replaced while it does. The claim ends with the
 * write, or by itself when nothing is written.
 */
async function reserve(
  deps: ProviderDeskDeps,
  provider: ProviderRecord,
  {
    type,
    next,
    found,
  }: {
    readonly type: ProviderType
    readonly next: ProviderRecord
    readonly found: Credential
  },
): Promise<Credential> {
  const nowMs = deps.clock.nowMs()
  const grant = type.grant(next, nowMs, deps.rules)
  if (grant?.kind !== 'request' || !grant.isSingleUse) return found
  const claim = { owner: uuid(deps.random), nowMs, untilMs: nowMs + CLAIM_MS }
  const claimed = await deps.store.claimCredential(claim, found)
  if (claimed === null) throw changed(provider.name)
  return claimed
}

/** The material with what the first mint rotated: the old refresh token may be spent. */
function materialAfter(
  { material }: ProviderRecord,
  mint: FirstMint | null,
): ProviderRecord['material'] {
  if (mint?.result.kind !== 'minted') return material
  return new Map([...material, ...mint.result.rotatedMaterial])
}

/**
 * Mints before anything is stored. A refusal stores nothing and explains, unless the caller wants it
 * stored all the same; transient trouble stores and goes on trying.
 */
async function firstMint(
  deps: ProviderDeskDeps,
  provider: ProviderRecord,
  options: { readonly standing: Credential; readonly wish: ProviderWish },
): Promise<FirstMint> {
  const { standing, wish } = options
  const startedMs = deps.clock.monotonicMs()
  const result = await deps.refresherOf(provider).refresh(provider, new AbortController().signal)
  const mint = { result, elapsedMs: deps.clock.monotonicMs() - startedMs }
  if (result.kind === 'minted' || wish.isUnverified) return mint
  const { failure } = result
  if (failure.class === 'T' || failure.class === 'H') return mint
  tell(deps, provider, { mint, credential: { ...standing, dueAtMs: null } })
  const message = `Cannot get a token for "${provider.name}": ${failure.message} (${failure.code})`
  throw new AppError('mint_refused', message, { hint: failure.advice })
}

interface FirstMint {
  readonly result: RefreshResult
  readonly elapsedMs: number
}

function minted(deps: ProviderDeskDeps, standing: Credential, { result }: FirstMint): Credential {
  const chance = { nowMs: deps.clock.nowMs(), fraction: deps.random.fraction() }
  return afterAttempt(standing, result, chance)
}

function tell(
  deps: ProviderDeskDeps,
  provider: ProviderRecord,
  { mint, credential }: { readonly mint: FirstMint; readonly credential: Credential },
): void {
  const { result, elapsedMs } = mint
  const outcome: RefreshEvent['outcome'] =
    result.kind === 'minted'
      ? { kind: 'minted', credential }
      : { kind: 'failed', credential, failure: result.failure }
  deps.onMint({ provider, outcome, elapsedMs })
}

/** Throws when material or configuration can never work; answers whether there is a token to mint. */
function checkConfiguration(
  deps: ProviderDeskDeps,
  type: ProviderType,
  provider: ProviderRecord,
): boolean {
  const request = type.grant(provider, deps.clock.nowMs(), deps.rules)
  type.route(provider, ANY_MODEL, deps.rules)
  return request !== null
}

function warningOf(
  type: ProviderType,
  provider: ProviderRecord,
  credential: Credential | null,
): string {
  if (credential !== null && credential.failure !== null) {
    const { message, code, advice } = credential.failure
    const what = credential.token === null ? 'No token yet' : 'The old token serves on'
    return `${what}: ${message} (${code}). ${advice}`
  }
  const keys = unknownKeys(type, {
    // A static key may stand under any name: tools export it under their own.
    material: credential === null ? [] : provider.material.keys(),
    config: provider.config.keys(),
  })
  return keys.length === 0 ? '' : `Type "${type.type}" does not use ${keys.join(', ')}`
}

function isSame(one: ProviderRecord, other: ProviderRecord): boolean {
  const sameMaterial = equalMaps(one.material, other.material, (a: Secret, b) => a.equals(b))
  return sameMaterial && equalMaps(one.config, other.config, (a, b) => a === b)
}

function equalMaps<V>(
  one: ReadonlyMap<string, V>,
  other: ReadonlyMap<string, V>,
  equals: (a: V, b: V) => boolean,
): boolean {
  if (one.size !== other.size) return false
  return [...one].every(([key, value]) => {
    const twin = other.get(key)
    return twin !== undefined && equals(value, twin)
  })
}

function taken(name: string): AppError {
  return new AppError('already_exists', `Provider "${name}" exists already`, {
    hint: `Change it with 'openshell provider update ${name}', or choose another name`,
  })
}

function changed(name: string): AppError {
  return new AppError(
    'version_conflict',
    `Provider "${name}" was changed by someone else meanwhile`,
    {
      hint: 'Look at it again and repeat the change',
    },
  )
}
