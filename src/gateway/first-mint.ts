import { type Credential, usableToken } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderContent, ProviderRecord } from '../core/provider.ts'
import type { ProviderRules, ProviderType } from '../providers/provider-type.ts'
import type { RefreshResult } from '../providers/refresher.ts'
import type { AttemptDeps, RefreshEvent } from '../refresh/attempt.ts'
import { afterAttempt, isParked, NO_CANDIDATE } from '../refresh/transition.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import type { Random } from '../system/random.ts'
import { changed, type ProviderReceipt, receiptOf } from './provider-receipt.ts'

/** What the desk needs. */
export interface ProviderDeskDeps {
  readonly store: Store
  /** Names this gateway in claims. */
  readonly owner: string
  readonly clock: Clock
  /** Aborts when the gateway stops. */
  readonly stopping: AbortSignal
  readonly random: Random
  readonly log: Log
  readonly rules: ProviderRules
  readonly refresherOf: AttemptDeps['refresherOf']
  /** Called after each first mint, whatever came of it. */
  readonly onMint: (event: RefreshEvent) => void
  /** Called after each change, so that due times and bundles follow. */
  readonly onChange: (provider: ProviderRecord) => void
}

/** What a person asked for. */
export interface ProviderWish {
  readonly material: Readonly<Record<string, string>>
  readonly config: Readonly<Record<string, string>>
  /** Store it even when the vendor refuses the first token. */
  readonly isUnverified: boolean
  /** Absent changes none of them. */
  readonly notes?: NotesWish
  /** Whether a provider with nothing to get a token with is refused; absent for no. */
  readonly needsCredential?: boolean
}

/** What a person notes on a provider; as with configuration, an empty value takes a key away. */
interface NotesWish {
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  /** When static credentials end, by key; 0 takes the instant away. */
  readonly expiries: Readonly<Record<string, number>>
}

/** A first mint, before or beside what stands. */
export interface FirstMint {
  readonly result: RefreshResult
  readonly elapsedMs: number
}

/** Mints with what a provider holds, stored or not. */
export async function firstMint(
  deps: ProviderDeskDeps,
  provider: ProviderRecord,
): Promise<FirstMint> {
  const startedMs = deps.clock.monotonicMs()
  const result = await deps
    .refresherOf(provider, null)
    .refresh(provider, new AbortController().signal)
  return { result, elapsedMs: deps.clock.monotonicMs() - startedMs }
}

/** A refusal stores nothing, unless the caller wants it stored; transient trouble is no refusal. */
export function isRefused(result: RefreshResult, wish: ProviderWish): boolean {
  if (result.kind === 'minted' || wish.isUnverified) return false
  return result.failure.class !== 'T' && result.failure.class !== 'H'
}

/** The error for content that the vendor refuses; spectators are told. */
export function refused(
  deps: ProviderDeskDeps,
  provider: ProviderRecord,
  options: {
    readonly mint: FirstMint
    readonly credential: Credential
    readonly serving: string
  },
): AppError {
  const { mint, credential, serving } = options
  tell(deps, provider, { mint, credential: { ...credential, dueAtMs: null } })
  if (mint.result.kind === 'minted') throw new TypeError('What was minted is not refused')
  const { message, code, advice } = mint.result.failure
  const words = `Cannot get a token for "${provider.name}": ${message} (${code})${serving}`
  return new AppError('mint_refused', words, { hint: advice })
}

/** What is left when new content is refused. */
export function servingWords(deps: ProviderDeskDeps, standing: Credential): string {
  const isServing = canServe(standing) && usableToken(standing, deps.clock.nowMs()) !== null
  return isServing ? '. Nothing was changed, the standing credential serves on' : ''
}

/** Whether the standing material is worth keeping while new material is tried. */
export function canServe(credential: Credential): boolean {
  return credential.token !== null && !credential.isDisabled && !isParked(credential)
}

/** The instant and one drawn number, for what follows an attempt. */
export function chance(deps: ProviderDeskDeps) {
  return { nowMs: deps.clock.nowMs(), fraction: deps.random.fraction() }
}

/** Tells spectators of a first mint. */
export function tell(
  deps: ProviderDeskDeps,
  provider: ProviderRecord,
  { mint, credential }: { readonly mint: FirstMint; readonly credential: Credential },
): void {
  const { result, elapsedMs } = mint
  const outcome: RefreshEvent['outcome'] =
    result.kind === 'minted'
      ? { kind: 'minted', credential }
      : { kind: 'failed', credential, failure: result.failure }
  const cause = { reason: 'first', who: 'admin' } as const
  deps.onMint({ provider, cause, outcome, candidate: null, elapsedMs })
}

/** New content, and what its first mint brought. */
export interface Replacement {
  readonly provider: ProviderRecord
  readonly next: ProviderContent
  readonly latest: Credential
  readonly mint: FirstMint
}

/**
 * The new content takes the place of the standing one. What failed before failed with the old; how often
 * the new was sent counts on.
 */
export async function replace(
  deps: ProviderDeskDeps,
  type: ProviderType,
  { provider, next, latest, mint }: Replacement,
): Promise<ProviderReceipt> {
  const standing = {
    ...{ ...latest, ...NO_CANDIDATE, failure: null },
    // What was sent of the new content counts on.
    spends: latest.candidateSpends,
  }
  const result = { standing: mint.result, candidate: null }
  const { credential } = afterAttempt(standing, result, chance(deps))
  const stored = await deps.store.updateProvider(provider, next, [credential])
  if (stored === null) throw changed(provider.name)
  tell(deps, stored, { mint, credential })
  return receiptOf(type, stored, credential)
}
