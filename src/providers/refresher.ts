import type { Credential } from '../core/credential.ts'
import type { Failure } from '../core/failure.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'
import { processTokenAnswer } from '../oauth/token-answer.ts'
import { sendTokenRequest, type TokenAnswer } from '../oauth/token-endpoint.ts'
import type { TokenRequest } from '../oauth/token-request.ts'
import type { Clock } from '../system/clock.ts'
import type { Fetch } from '../system/fetch.ts'
import type { ProviderRules, ProviderType } from './provider-type.ts'

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
  /** Whether the credential's due time has come. */
  needsRefresh(credential: Credential, nowMs: number): boolean
  /**
   * Mints once, with at most one immediate second try when the vendor calls the input stale or the
   * clock wrong. Answers a failure instead of throwing; rejects only when `signal` aborted.
   */
  refresh(provider: ProviderRecord, signal: AbortSignal): Promise<RefreshResult>
}

/** What a refresher needs of the outside world. */
export interface RefresherDeps {
  readonly fetch: Fetch
  readonly clock: Clock
  readonly rules: ProviderRules
}

/** Server clocks that are further off than this are a lie, not an offset. */
const OFFSET_MS_MAX = 86_400_000

/** Builds the refresher of a provider type from its grant. */
export function createRefresher(type: ProviderType, deps: RefresherDeps): CredentialRefresher {
  // By token host: how far the vendor's clock is ahead of ours, learnt when it complained.
  const offsets = new Map<string, number>()

  const grantAt = (provider: ProviderRecord, nowMs: number): TokenRequest => {
    const request = type.grant(provider, nowMs, deps.rules)
    if (request === null) throw new TypeError(`Provider "${provider.name}" has nothing to refresh`)
    return request
  }

  const attempt = async (provider: ProviderRecord, signal: AbortSignal): Promise<Attempt> => {
    const requestedAtMs = deps.clock.nowMs()
    const { host } = grantAt(provider, requestedAtMs).url
    const request = grantAt(provider, requestedAtMs + (offsets.get(host) ?? 0))
    const answer = await sendTokenRequest(deps, request, signal)
    if (answer.kind === 'failed') return { result: answer, answer: null, host }
    const judged = processTokenAnswer(request, answer, deps.clock.nowMs())
    if (judged.kind === 'failed') return { result: judged, answer, host }
    const result: RefreshResult = {
      kind: 'minted',
      token: judged.token,
      lifetimeMs: judged.lifetimeMs,
      requestedAtMs,
      refreshInMs: judged.refreshInMs,
      leadMs: request.leadMs,
      rotatedMaterial: new Map(),
    }
    return { result, answer, host }
  }

  return {
    providerType: type.type,
    host: provider => grantAt(provider, deps.clock.nowMs()).url.host,
    needsRefresh: (credential, nowMs) => credential.dueAtMs !== null && credential.dueAtMs <= nowMs,
    async refresh(provider, signal) {
      const first = await attempt(provider, signal)
      if (first.result.kind === 'minted') return first.result
      const { failure } = first.result
      if (failure.class === 'C') learnOffset(offsets, first, deps.clock.nowMs())
      if (failure.class !== 'C' && failure.class !== 'S') return first.result
      const second = await attempt(provider, signal)
      return second.result.kind === 'minted' ? second.result : settle(second.result.failure)
    },
  }
}

interface Attempt {
  readonly result: RefreshResult
  readonly answer: TokenAnswer | null
  readonly host: string
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
function learnOffset(offsets: Map<string, number>, attempt: Attempt, nowMs: number): void {
  if (attempt.answer === null || attempt.answer.headers.has('age')) return
  const serverMs = Date.parse(attempt.answer.headers.get('date') ?? '')
  const offsetMs = serverMs - nowMs
  if (Math.abs(offsetMs) <= OFFSET_MS_MAX) offsets.set(attempt.host, offsetMs)
}
