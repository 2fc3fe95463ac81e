import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { Failure } from '../core/failure.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { CredentialRefresher, RefreshResult } from '../providers/refresher.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import type { Random } from '../system/random.ts'
import { createLimiter } from './limiter.ts'
import { forcedFloorAtMs } from './policy.ts'
import { afterAttempt } from './transition.ts'

/** A claim outlives any attempt: queueing, two tries of 10 s each, and the write. */
const CLAIM_MS = 120_000

/** Attempts under way at once, in all and per token host. */
const IN_FLIGHT_MAX = 512
const PER_HOST_MAX = 16

/** How long the task waits before it asks a store again that did not answer. */
const STORE_RETRY_MS = 1_000

/** How long a jump of the wall clock may go unnoticed. */
const CLOCK_CHECK_MS = 5_000

/** A minted token is worth some patience with the store. */
const SAVE_ATTEMPTS = 4

/** What happened to one attempt. `discarded`: the provider was edited or deleted meanwhile. */
export type RefreshOutcome =
  | { readonly kind: 'minted'; readonly credential: Credential }
  | { readonly kind: 'failed'; readonly credential: Credential; readonly failure: Failure }
  | { readonly kind: 'discarded' }

/** What spectators learn of an attempt: logs, metrics, delivery. */
export interface RefreshEvent {
  readonly provider: ProviderRecord
  readonly outcome: RefreshOutcome
  readonly elapsedMs: number
}

/** What the refresh task needs. */
export interface RefreshDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** Names this gateway in claims. */
  readonly owner: string
  readonly refresherOf: (provider: ProviderRecord) => CredentialRefresher
  /** Called after each attempt, before its waiters go on. */
  readonly onOutcome: (event: RefreshEvent) => void
}

/** The one background task that keeps every credential fresh. */
export interface RefreshTask {
  /** Runs until `signal` aborts; attempts under way then finish before it resolves. */
  run(signal: AbortSignal): Promise<void>
  /** Tells the task that something may be due earlier than it thinks. */
  wake(): void
  isRefreshing(credential: Credential): boolean
  /**
   * Refreshes now, whether due or not. Callers for the same credential share one attempt. Null when
   * the last forced refresh is too recent; the credential tells when the next one may come.
   */
  force(provider: ProviderRecord, credential: Credential): Promise<RefreshOutcome | null>
}

/**
 * Builds the refresh task. It sleeps until the earliest due time, claims what is due and mints in
 * parallel; its cost follows what is due, not how many providers there are. `sweepMs` is only the
 * longest sleep, a safety net against a due time that was changed behind its back.
 */
export function createRefreshTask(
  deps: RefreshDeps,
  options: { readonly sweepMs: number },
): RefreshTask {
  const limiter = createLimiter(PER_HOST_MAX)
  const inFlight = new Map<string, Promise<RefreshOutcome>>()
  const stop = new AbortController()
  let sleeper = new AbortController()

  const start = (provider: ProviderRecord | null, claimed: Credential): Promise<RefreshOutcome> => {
    const place = placeOf(claimed)
    const running = attempt(deps, limiter, { provider, claimed, signal: stop.signal }).finally(
      () => {
        inFlight.delete(place)
        sleeper.abort()
      },
    )
    inFlight.set(place, running)
    return running
  }

  const turn = async (): Promise<number> => {
    const nowMs = deps.clock.nowMs()
    const room = IN_FLIGHT_MAX - inFlight.size
    if (room > 0) {
      const claim = { owner: deps.owner, nowMs, untilMs: nowMs + CLAIM_MS }
      for (const claimed of await deps.store.claimDue(claim, room)) {
        start(null, claimed).catch((error: unknown) => deps.log.error('refresh.broke', { error }))
      }
    }
    const nextAtMs = await deps.store.earliestDueAtMs()
    const waitMs = nextAtMs === null ? options.sweepMs : nextAtMs - deps.clock.nowMs()
    // A full house waits for someone to leave; `finally` above ends the sleep.
    return inFlight.size >= IN_FLIGHT_MAX ? options.sweepMs : Math.min(waitMs, options.sweepMs)
  }

  return {
    async run(signal) {
      while (!signal.aborted) {
        sleeper = new AbortController()
        const waitMs = await turn().catch((error: unknown) => {
          if (!(error instanceof AppError)) throw error
          deps.log.error('refresh.store_unavailable', { error })
          return STORE_RETRY_MS
        })
        await sleepUntil(deps.clock, waitMs, AbortSignal.any([signal, sleeper.signal]))
      }
      await Promise.allSettled(inFlight.values())
      stop.abort()
    },
    wake: () => sleeper.abort(),
    isRefreshing: credential => inFlight.has(placeOf(credential)),
    async force(provider, credential) {
      const running = inFlight.get(placeOf(credential))
      if (running !== undefined) return running
      const nowMs = deps.clock.nowMs()
      if (nowMs < nextForcedAtMs(credential)) return null
      const claim = { owner: deps.owner, nowMs, untilMs: nowMs + CLAIM_MS }
      const claimed = await deps.store.claimCredential(claim, credential)
      if (claimed === null) return { kind: 'discarded' }
      return start(provider, { ...claimed, lastForcedAtMs: nowMs })
    },
  }
}

/** When the next forced refresh of a credential may come. */
export function nextForcedAtMs(credential: Credential): number {
  const { token } = credential
  const lifetimeMs = token === null ? 0 : token.expiresAtMs - token.issuedAtMs
  return forcedFloorAtMs({ lastForcedAtMs: credential.lastForcedAtMs, lifetimeMs })
}

/** Sleeps in slices, so that a wall clock that was stepped or slept through is noticed soon. */
async function sleepUntil(clock: Clock, waitMs: number, signal: AbortSignal): Promise<void> {
  const wakeAtMs = clock.nowMs() + waitMs
  while (!signal.aborted && clock.nowMs() < wakeAtMs) {
    await clock.sleep(Math.min(CLOCK_CHECK_MS, wakeAtMs - clock.nowMs()), signal)
  }
}

function placeOf(credential: Credential): string {
  return `${credential.providerId} ${credential.key}`
}

async function attempt(
  deps: RefreshDeps,
  limiter: ReturnType<typeof createLimiter>,
  work: {
    readonly provider: ProviderRecord | null
    readonly claimed: Credential
    readonly signal: AbortSignal
  },
): Promise<RefreshOutcome> {
  const provider = work.provider ?? (await deps.store.getProviderById(work.claimed.providerId))
  if (provider === null) return { kind: 'discarded' }
  const startedMs = deps.clock.monotonicMs()
  const result = await mint(deps, limiter, { provider, signal: work.signal })
  const next = afterAttempt(work.claimed, result, {
    nowMs: deps.clock.nowMs(),
    fraction: deps.random.fraction(),
  })
  const rotatedMaterial = result.kind === 'minted' ? result.rotatedMaterial : new Map()
  const saved = await save(deps, { credential: next, rotatedMaterial })
  const outcome = outcomeOf(saved, result)
  deps.onOutcome({ provider, outcome, elapsedMs: deps.clock.monotonicMs() - startedMs })
  return outcome
}

async function mint(
  deps: RefreshDeps,
  limiter: ReturnType<typeof createLimiter>,
  work: { readonly provider: ProviderRecord; readonly signal: AbortSignal },
): Promise<RefreshResult> {
  try {
    const refresher = deps.refresherOf(work.provider)
    return await limiter.run(refresher.host(work.provider), () =>
      refresher.refresh(work.provider, work.signal),
    )
  } catch (error) {
    // Material or configuration that cannot work: stored with --no-verify, or by an older version.
    if (!(error instanceof AppError)) throw error
    return { kind: 'failed', failure: configurationFailure(error) }
  }
}

/** What an unusable configuration means to the refresh task. */
export function configurationFailure(error: AppError): Failure {
  return {
    class: 'P',
    code: 'refresh_configuration_invalid',
    message: error.message,
    advice: error.hint === '' ? "Mend it with 'openshell provider update'" : error.hint,
    recoveryAction: 'fix_configuration',
    retryAfterMs: 0,
  }
}

async function save(
  deps: RefreshDeps,
  write: Parameters<Store['saveCredential']>[0],
): Promise<Credential | null> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await deps.store.saveCredential(write)
    } catch (error) {
      if (!(error instanceof AppError) || attempts >= SAVE_ATTEMPTS) throw error
      deps.log.warn('refresh.save_failed', { error, attempts })
      await deps.clock.sleep(STORE_RETRY_MS, new AbortController().signal)
    }
  }
}

function outcomeOf(saved: Credential | null, result: RefreshResult): RefreshOutcome {
  if (saved === null) return { kind: 'discarded' }
  return result.kind === 'minted'
    ? { kind: 'minted', credential: saved }
    : { kind: 'failed', credential: saved, failure: result.failure }
}
