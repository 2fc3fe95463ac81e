import type { Credential } from '../core/credential.ts'
import type { Failure } from '../core/failure.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'
import { type MintAttempt, type MintDeps, mint } from '../oauth/mint.ts'
import { breachFailure } from '../oauth/refusal.ts'
import type { Grant } from '../oauth/token-request.ts'
import type { ProviderRules } from './provider-type.ts'

/** What one refresh brought. */
export type RefreshResult =
  | {
      readonly kind: 'minted'
      readonly token: Secret
      /** Counted from `requestedAtMs`. */
      readonly lifetimeMs: number
      /** Wall-clock instant before the request left. */
      readonly requestedAtMs: number
      /** The vendor's own hint when to refresh; null without one. */
      readonly refreshInMs: number | null
      /** How long before its end such a token is renewed when the vendor gives no hint. */
      readonly leadMs: number
      /** How long before its end requests wait for the next; null for the usual min(60 s, L/10). */
      readonly mandatoryMs: number | null
      /** Material that the vendor rotated, by credential key. */
      readonly rotatedMaterial: ReadonlyMap<string, Secret>
    }
  | { readonly kind: 'failed'; readonly failure: Failure }

/**
 * Turns a provider's long-lived material into a short-lived token. This is the contract that a third
 * party implements for a source that is no token endpoint; for all others {@link createRefresher}
 * builds it from the provider type's grant.
 */
export interface CredentialRefresher {
  readonly providerType: string
  /** The token endpoint's host for this provider: what shares a host shares its concurrency cap. */
  host(provider: ProviderRecord): string
  /**
   * The key of the material that may be spent only once, so that the intent must be recorded before it
   * is sent; null without one.
   */
  singleUse(provider: ProviderRecord): string | null
  /** Whether the credential's due time has come. */
  needsRefresh(credential: Credential, nowMs: number): boolean
  /**
   * Mints once, with at most one immediate second try when the vendor calls the input stale or the
   * clock wrong. Answers a failure instead of throwing; rejects only when `signal` aborted, or with
   * an `AppError` when material or configuration cannot work.
   */
  refresh(provider: ProviderRecord, signal: AbortSignal): Promise<RefreshResult>
}

/** Where a refresher's grants come from: a provider type, or what a person configured for a key. */
export interface GrantSource {
  readonly type: string
  /** See `ProviderType.grant`. */
  readonly grant: (provider: ProviderRecord, nowMs: number, rules: ProviderRules) => Grant | null
}

/** By token host: how far the vendor's clock is ahead of ours, learnt when it complained. */
export type ClockOffsets = Map<string, number>

/** What a refresher needs of the outside world. */
export interface RefresherDeps extends MintDeps {
  readonly rules: ProviderRules
}

/** Shorter lives are a mistake of the vendor's clock, or of ours. */
const LIFE_MS_MIN = 1_000

/** Server clocks that are further off than this are a lie, not an offset. */
const OFFSET_MS_MAX = 86_400_000

/** What stands for the host of tokens that are made here. */
const LOCAL_HOST = 'local'

/** A fallback's token is used no longer than this before the endpoint is asked again. */
const FALLBACK_MS = 300_000

/** Builds the refresher of a provider type, or of a configured key, from its grant. */
export function createRefresher(
  type: GrantSource,
  deps: RefresherDeps,
  offsets: ClockOffsets = new Map(),
): CredentialRefresher {
  const grantAt = (provider: ProviderRecord, nowMs: number): Grant => {
    const grant = type.grant(provider, nowMs, deps.rules)
    if (grant === null) throw new TypeError(`Provider "${provider.name}" has nothing to refresh`)
    return grant
  }

  const hostOf = (provider: ProviderRecord): string => {
    const grant = grantAt(provider, deps.clock.nowMs())
    return grant.kind === 'request' ? grant.url.host : LOCAL_HOST
  }

  const attempt = async (provider: ProviderRecord, signal: AbortSignal): Promise<Attempt> => {
    const host = hostOf(provider)
    const vendorNowMs = deps.clock.nowMs() + (offsets.get(host) ?? 0)
    const grant = grantAt(provider, vendorNowMs)
    const minted = await mint(deps, grant, { vendorNowMs, signal })
    const fallback = grant.kind === 'request' ? grant.fallback : null
    if (fallback !== null && minted.result.kind === 'failed' && isOutage(minted.result.failure)) {
      const instead = await mint(deps, fallback, { vendorNowMs, signal })
      if (instead.result.kind === 'minted') {
        const refreshInMs = Math.min(FALLBACK_MS, instead.result.lifetimeMs / 2)
        const result = { ...instead.result, refreshInMs }
        return {
          ...instead,
          result,
          host,
          outcome: outcomeOf(deps, fallback, { ...instead, result }),
        }
      }
    }
    return { ...minted, host, outcome: outcomeOf(deps, grant, minted) }
  }

  return {
    providerType: type.type,
    host: hostOf,
    singleUse(provider) {
      const grant = grantAt(provider, deps.clock.nowMs())
      return grant.kind === 'request' ? grant.singleUse : null
    },
    needsRefresh: (credential, nowMs) => credential.dueAtMs !== null && credential.dueAtMs <= nowMs,
    async refresh(provider, signal) {
      const first = await attempt(provider, signal)
      if (first.outcome.kind === 'minted') return first.outcome
      const { failure } = first.outcome
      if (failure.class === 'C') learnOffset(offsets, first, deps.clock.nowMs())
      if (failure.class !== 'C' && failure.class !== 'S') return first.outcome
      const second = await attempt(provider, signal)
      return second.outcome.kind === 'minted' ? second.outcome : settle(second.outcome.failure)
    },
  }
}

interface Attempt extends MintAttempt {
  readonly outcome: RefreshResult
  readonly host: string
}

function isOutage({ class: failureClass }: Failure): boolean {
  return failureClass === 'T' || failureClass === 'H' || failureClass === 'X'
}

function outcomeOf(
  deps: RefresherDeps,
  grant: Grant,
  { result, elapsedMs }: MintAttempt,
): RefreshResult {
  if (result.kind === 'failed') return result
  if (result.lifetimeMs < LIFE_MS_MIN) return tooShort(result.lifetimeMs)
  return {
    kind: 'minted',
    token: result.token,
    lifetimeMs: result.lifetimeMs,
    // By the monotonic clock, so that a step of the wall clock meanwhile does not count.
    requestedAtMs: Math.floor(deps.clock.nowMs() - elapsedMs),
    refreshInMs: result.refreshInMs,
    leadMs: grant.leadMs(result.lifetimeMs),
    mandatoryMs: grant.mandatoryMs?.(result.lifetimeMs) ?? null,
    rotatedMaterial: result.rotated,
  }
}

/** Such a token would be renewed as fast as the network goes. */
function tooShort(lifetimeMs: number): RefreshResult {
  const message = `The token would end ${Math.max(0, Math.round(lifetimeMs))} ms after it was asked for`
  return { kind: 'failed', failure: breachFailure('token_life_too_short', message) }
}

/** A vendor that finds the input stale or the clock wrong twice in a row will not change its mind. */
function settle(failure: Failure): RefreshResult {
  const isFinal = failure.class === 'C' || failure.class === 'S'
  return { kind: 'failed', failure: isFinal ? { ...failure, class: 'P' } : failure }
}

/**
 * Learns how far the vendor's clock is from ours, from the `Date` of an answer that came straight
 * from it: a cached answer (`Age`) or one off by more than a day teaches nothing.
 */
function learnOffset(offsets: ClockOffsets, attempt: Attempt, nowMs: number): void {
  if (attempt.answer === null || attempt.answer.headers.has('age')) return
  const serverMs = Date.parse(attempt.answer.headers.get('date') ?? '')
  const offsetMs = serverMs - nowMs
  if (Math.abs(offsetMs) <= OFFSET_MS_MAX) offsets.set(attempt.host, offsetMs)
}
