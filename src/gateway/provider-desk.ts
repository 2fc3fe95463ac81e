import type { Credential } from '../core/credential.ts'
import { ownCredential } from '../core/outputs.ts'
import type { ProviderContent, ProviderRecord } from '../core/provider.ts'
import type { ProviderType } from '../providers/provider-type.ts'
import { afterAttempt, afterDropping, afterStaging, newCredential } from '../refresh/transition.ts'
import { isSameContent, isSameNotes } from './content.ts'
import {
  canServe,
  chance,
  firstMint,
  isRefused,
  type ProviderDeskDeps,
  type ProviderWish,
  type Replacement,
  refused,
  replace,
  servingWords,
  tell,
} from './first-mint.ts'
import { checkConfiguration, refuseRefreshed, withNotes } from './provider-check.ts'
import { refuseCollisionsOf } from './provider-environment.ts'
import { changed, type ProviderReceipt, receiptOf, taken } from './provider-receipt.ts'
import { findType, typeOf } from './provider-types.ts'
import { changeSingleUse, createSingleUse } from './single-use.ts'
import { uuid } from './uuid.ts'
import { mergeConfig, mergeMaterial } from './validate.ts'

/** Takes in new and changed providers: nothing is stored that could never work. */
export interface ProviderDesk {
  create(
    place: { workspace: string; name: string; type: string },
    wish: ProviderWish,
  ): Promise<ProviderReceipt>
  /**
   * New content takes the place of the standing one when it has brought a token. Until then the
   * standing one serves on, and a refused one changes nothing. `expectedVersion` 0 accepts any.
   */
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
      const { type, profileWorkspace } = await findType(deps.store, typeName, workspace)
      const nowMs = deps.clock.nowMs()
      const bare: ProviderRecord = {
        id: uuid(deps.random),
        workspace,
        name,
        type: type.type,
        profileWorkspace,
        ...{ expiries: new Map(), labels: new Map(), annotations: new Map() },
        material: mergeMaterial(type, new Map(), wish.material),
        config: mergeConfig(new Map(), wish.config),
        candidate: null,
        version: 1,
        createdAtMs: nowMs,
        updatedAtMs: nowMs,
      }
      const provider = withNotes(type, { provider: bare, next: bare, rows: [] }, wish)
      if ((await deps.store.getProvider(workspace, name)) !== null) throw taken(name)
      return telling(deps, provider, () => createNew(deps, { type, provider }, wish))
    },
    async update(standing, wish, expectedVersion) {
      if (expectedVersion !== 0 && expectedVersion !== standing.version) {
        throw changed(standing.name)
      }
      const type = await typeOf(deps.store, standing)
      const rows = await deps.store.listCredentials(standing.id)
      refuseRefreshed(type, rows, wish)
      // What is waiting to be tried is what the person believes to be there.
      const base = standing.candidate ?? standing
      const next: ProviderContent = {
        material: mergeMaterial(type, base.material, wish.material),
        config: mergeConfig(base.config, wish.config),
      }
      const found = ownCredential(rows)
      const provider = withNotes(type, { provider: standing, next, rows }, wish)
      if (isSameContent(provider, next)) {
        const receipt = { provider, credential: found ?? null }
        if (isSameNotes(standing, provider)) return keepStanding(deps, receipt)
        return telling(deps, provider, () => keepNotes(deps, type, receipt))
      }
      await refuseCollisionsOf(deps, { ...provider, ...next })
      return telling(deps, provider, () =>
        change(deps, { type, provider, next, found, rows }, wish),
      )
    },
  }
}

/** Tells of a change also when it ends in an error: a store that fails afterwards may have written. */
async function telling(
  deps: ProviderDeskDeps,
  provider: ProviderRecord,
  work: () => Promise<ProviderReceipt>,
): Promise<ProviderReceipt> {
  try {
    return await work()
  } finally {
    deps.onChange(provider)
  }
}

async function createNew(
  deps: ProviderDeskDeps,
  { type, provider }: { readonly type: ProviderType; readonly provider: ProviderRecord },
  wish: ProviderWish,
): Promise<ProviderReceipt> {
  const mayBeBare = wish.needsCredential !== true
  const isRefreshed = checkConfiguration(deps, type, { provider, rows: [], mayBeBare })
  if (!isRefreshed) {
    await deps.store.createProvider(provider, [])
    return receiptOf(type, provider, null)
  }
  const fresh = newCredential(provider.id, type.tokenKey, deps.clock.nowMs())
  if (deps.refresherOf(provider, null).singleUse(provider) !== null) {
    return createSingleUse(deps, { type, provider, fresh }, wish)
  }
  const mint = await firstMint(deps, provider)
  if (isRefused(mint.result, wish)) {
    throw refused(deps, provider, { mint, credential: fresh, serving: '' })
  }
  const result = { standing: mint.result, candidate: null }
  const { credential } = afterAttempt(fresh, result, chance(deps))
  await deps.store.createProvider(provider, [credential])
  tell(deps, provider, { mint, credential })
  return receiptOf(type, provider, credential)
}

interface Change {
  readonly type: ProviderType
  readonly provider: ProviderRecord
  readonly next: ProviderContent
  readonly found: Credential | undefined
  readonly rows: readonly Credential[]
}

async function change(
  deps: ProviderDeskDeps,
  { type, provider, next, found, rows }: Change,
  wish: ProviderWish,
): Promise<ProviderReceipt> {
  const renewed: ProviderRecord = { ...provider, ...next, candidate: null }
  const mayBeBare = provider.material.size === 0 || rows.some(one => one.grant !== null)
  const isRefreshed = checkConfiguration(deps, type, { provider: renewed, rows, mayBeBare })
  if (!isRefreshed) {
    const stored = await deps.store.updateProvider(provider, next, [])
    if (stored === null) throw changed(provider.name)
    return receiptOf(type, stored, null)
  }
  const key = deps.refresherOf(renewed, null).singleUse(renewed)
  if (found !== undefined && key !== null) {
    return changeSingleUse(deps, { type, provider, next, found, key }, wish)
  }
  const mint = await firstMint(deps, renewed)
  const fresh = newCredential(provider.id, type.tokenKey, deps.clock.nowMs())
  // The refresh task may have minted with the old material meanwhile: generations go on from there.
  const latest = ownCredential(await deps.store.listCredentials(provider.id)) ?? fresh
  const isServing = canServe(latest)
  if (isRefused(mint.result, wish)) {
    throw refused(deps, provider, { mint, credential: latest, serving: servingWords(deps, latest) })
  }
  if (mint.result.kind === 'failed' && isServing && !wish.isUnverified) {
    return stage(deps, type, { provider, next, latest, mint })
  }
  return replace(deps, type, { provider, next, latest, mint })
}

/** New content that could not be tried out: it waits beside the standing one, which serves on. */
async function stage(
  deps: ProviderDeskDeps,
  type: ProviderType,
  { provider, next, latest, mint }: Replacement,
): Promise<ProviderReceipt> {
  if (mint.result.kind === 'minted') throw new TypeError('What was minted need not wait')
  const waiting = afterStaging(latest, mint.result.failure, chance(deps))
  const staged = await deps.store.stageProvider(provider, next, waiting)
  if (staged === null) throw changed(provider.name)
  tell(deps, staged.provider, { mint, credential: staged.credential })
  return receiptOf(type, staged.provider, staged.credential)
}

/** The person asks for what stands: a candidate that waits beside it is dropped. */
async function keepStanding(
  deps: ProviderDeskDeps,
  { provider, credential }: Pick<ProviderReceipt, 'provider' | 'credential'>,
): Promise<ProviderReceipt> {
  const unchanged: ProviderReceipt = { provider, credential, warning: '' }
  if (provider.candidate === null || credential === null) return unchanged
  const kept = afterDropping(credential, chance(deps))
  const saved = await deps.store.saveCredential(kept, {
    ...{ providerVersion: provider.version, rotatedMaterial: new Map(), candidate: 'dropped' },
  })
  const stored = await deps.store.getProviderById(provider.id)
  if (saved === null || stored === null) throw changed(provider.name)
  return { provider: stored, credential: saved, warning: '' }
}

/** The person changes what is noted on a provider, and nothing else. */
async function keepNotes(
  deps: ProviderDeskDeps,
  type: ProviderType,
  { provider, credential }: Pick<ProviderReceipt, 'provider' | 'credential'>,
): Promise<ProviderReceipt> {
  const stored = await deps.store.updateProvider(provider, provider, null)
  if (stored === null) throw changed(provider.name)
  return receiptOf(type, stored, credential)
}
