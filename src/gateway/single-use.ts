import type { Credential } from '../core/credential.ts'
import { ownCredential } from '../core/outputs.ts'
import type { ProviderContent, ProviderRecord } from '../core/provider.ts'
import type { ProviderType } from '../providers/provider-type.ts'
import { CLAIM_MS } from '../refresh/claim.ts'
import { patiently } from '../refresh/patiently.ts'
import {
  afterAttempt,
  afterNothing,
  NO_CANDIDATE,
  OVERSPENT,
  SPENDS_MAX,
} from '../refresh/transition.ts'
import type { ContentChange } from '../store/store.ts'
import {
  chance,
  type FirstMint,
  firstMint,
  isRefused,
  type ProviderDeskDeps,
  type ProviderWish,
  refused,
  replace,
  servingWords,
  tell,
} from './first-mint.ts'
import { changed, type ProviderReceipt, receiptOf } from './provider-receipt.ts'

/** A new provider whose first mint spends what may be spent only once. */
interface Creation {
  readonly type: ProviderType
  readonly provider: ProviderRecord
  readonly fresh: Credential
}

/**
 * Stores the provider before its refresh token is spent, with the intent to spend it: what the vendor
 * gives in its place must never be lost. A refused provider is taken away again.
 */
export async function createSingleUse(
  deps: ProviderDeskDeps,
  { type, provider, fresh }: Creation,
  wish: ProviderWish,
): Promise<ProviderReceipt> {
  const spending = { ...fresh, spends: 1, ...claimOf(deps) }
  await deps.store.createProvider(provider, [spending])
  const standing = ownCredential(await deps.store.listCredentials(provider.id)) ?? spending
  const mint = await firstMint(deps, provider)
  if (isRefused(mint.result, wish)) {
    await deps.store.deleteProvider(provider.workspace, provider.name)
    throw refused(deps, provider, { mint, credential: standing, serving: '' })
  }
  return settle(deps, type, { provider, standing, mint, isCandidate: false })
}

/** New content of a provider whose mint spends what may be spent only once. */
interface Change {
  readonly type: ProviderType
  readonly provider: ProviderRecord
  readonly next: ProviderContent
  readonly found: Credential
  /** Of the material that may be spent only once. */
  readonly key: string
}

/**
 * New content is stored beside the standing one, with the intent to spend its refresh token, before
 * that is sent; the credential is claimed, so that the refresh task neither spends it at the same time
 * nor finds it replaced while it does. How often a refresh token was sent counts on with the token.
 */
export async function changeSingleUse(
  deps: ProviderDeskDeps,
  change: Change,
  wish: ProviderWish,
): Promise<ProviderReceipt> {
  const { type, provider, next, key } = change
  const claimed = await claim(deps, change)
  if (isSameInput(provider, next, key)) return changeAround(deps, { ...change, claimed }, wish)
  const isWaiting = provider.candidate !== null && isSameInput(provider.candidate, next, key)
  const spent = isWaiting ? claimed.candidateSpends : 0
  if (spent >= SPENDS_MAX) throw await overspent(deps, provider, claimed)
  const spending = { ...claimed, ...NO_CANDIDATE, candidateSpends: spent + 1 }
  const staged = await deps.store.stageProvider(provider, next, spending)
  if (staged === null) throw changed(provider.name)
  const { provider: stored, credential: standing } = staged
  const mint = await firstMint(deps, { ...stored, ...next })
  if (isRefused(mint.result, wish)) {
    const kept = { ...afterNothing(standing), ...NO_CANDIDATE }
    await deps.store.saveCredential(kept, contentChange(stored, mint, 'dropped'))
    const serving = servingWords(deps, claimed)
    throw refused(deps, provider, { mint, credential: claimed, serving })
  }
  if (mint.result.kind === 'failed' && wish.isUnverified) {
    return replace(deps, type, { provider: stored, next, latest: standing, mint })
  }
  return settle(deps, type, { provider: stored, standing, mint, isCandidate: true })
}

/**
 * New content around the same refresh token. It cannot wait beside the standing one, because both would
 * spend the same; so it takes its place with a token, or not at all.
 */
async function changeAround(
  deps: ProviderDeskDeps,
  { type, provider, next, claimed }: Change & { readonly claimed: Credential },
  wish: ProviderWish,
): Promise<ProviderReceipt> {
  if (claimed.spends >= SPENDS_MAX) throw await overspent(deps, provider, claimed)
  const spending = { ...claimed, ...NO_CANDIDATE, spends: claimed.spends + 1 }
  const standing = await deps.store.saveCredential(spending, null)
  if (standing === null) throw changed(provider.name)
  const mint = await firstMint(deps, { ...provider, ...next, candidate: null })
  const result = { standing: mint.result, candidate: null }
  const { credential } = afterAttempt(standing, result, chance(deps))
  if (mint.result.kind === 'failed' && !wish.isUnverified) {
    const kept = { ...afterNothing(claimed), version: standing.version, spends: credential.spends }
    await deps.store.saveCredential(kept, null)
    const serving = servingWords(deps, claimed)
    throw refused(deps, provider, { mint, credential: claimed, serving })
  }
  // What was rotated is stored first and by itself, so that a change meanwhile cannot lose it.
  const rotation = contentChange(provider, mint, 'kept')
  const saved = await keep(deps, credential, rotation)
  const rotated = await deps.store.getProviderById(provider.id)
  if (saved === null || rotated === null) throw changed(provider.name)
  const material = new Map([...next.material, ...rotation.rotatedMaterial])
  const noted = { ...provider, version: rotated.version }
  const stored = await deps.store.updateProvider(noted, { ...next, material }, null)
  if (stored === null) throw changed(provider.name)
  tell(deps, stored, { mint, credential: saved })
  return receiptOf(type, stored, saved)
}

/** Writes what came of a mint whose material is stored already. */
async function settle(
  deps: ProviderDeskDeps,
  type: ProviderType,
  options: {
    readonly provider: ProviderRecord
    readonly standing: Credential
    readonly mint: FirstMint
    readonly isCandidate: boolean
  },
): Promise<ProviderReceipt> {
  const { provider, standing, mint, isCandidate } = options
  const { result } = mint
  const { credential, candidate } = afterAttempt(
    standing,
    isCandidate ? { standing: null, candidate: result } : { standing: result, candidate: null },
    chance(deps),
  )
  const change = contentChange(provider, mint, candidate)
  const saved = await keep(deps, credential, change)
  const stored = await deps.store.getProviderById(provider.id)
  if (saved === null || stored === null) throw changed(provider.name)
  tell(deps, stored, { mint, credential: saved })
  return receiptOf(type, stored, saved)
}

/** What was rotated exists nowhere else: the store is asked until it takes it. */
async function keep(
  deps: ProviderDeskDeps,
  credential: Credential,
  change: ContentChange,
): Promise<Credential | null> {
  const isPrecious = (): boolean => change.rotatedMaterial.size > 0 && !deps.stopping.aborted
  return patiently(deps, () => deps.store.saveCredential(credential, change), isPrecious)
}

async function claim(
  { store, owner, clock }: ProviderDeskDeps,
  { provider, found }: Change,
): Promise<Credential> {
  const nowMs = clock.nowMs()
  const claimed = await store.claimCredential({ owner, nowMs, untilMs: nowMs + CLAIM_MS }, found)
  if (claimed === null) throw changed(provider.name)
  return claimed
}

/** The refresh token was sent as often as may be; the claim ends, and nothing is sent. */
async function overspent(deps: ProviderDeskDeps, provider: ProviderRecord, claimed: Credential) {
  await deps.store.saveCredential(afterNothing(claimed), null)
  const mint = { result: OVERSPENT, elapsedMs: 0 }
  const serving = servingWords(deps, claimed)
  return refused(deps, provider, { mint, credential: claimed, serving })
}

function isSameInput(one: ProviderContent, other: ProviderContent, key: string): boolean {
  const [mine, theirs] = [one.material.get(key), other.material.get(key)]
  return mine !== undefined && theirs !== undefined && mine.equals(theirs)
}

function contentChange(
  { version }: ProviderRecord,
  { result }: FirstMint,
  candidate: ContentChange['candidate'],
): ContentChange {
  const rotatedMaterial = result.kind === 'minted' ? result.rotatedMaterial : new Map()
  return { providerVersion: version, rotatedMaterial, candidate }
}

function claimOf({ owner, clock }: ProviderDeskDeps) {
  return { claimedBy: owner, claimedUntilMs: clock.nowMs() + CLAIM_MS }
}
