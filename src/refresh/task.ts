import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { Failure } from '../core/failure.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { CredentialRefresher, RefreshResult } from '../providers/refresher.ts'
import type { Claim, Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import type { Random } from '../system/random.ts'
import { renewMisdated, watchClock } from './clock-watch.ts'
import { createInFlight, type Work } from './in-flight.ts'
import { createLimiter, type Limiter } from './limiter.ts'
import { nextForcedAtMs } from './policy.ts'
import { afterAttempt, afterNothing } from './transition.ts'

/**
 * A claim outlives two tries of 10 s each and the write; it is taken anew while an attempt stands in
 * line. What a killed gateway had claimed is free again after this time.
 */
const CLAIM_MS = 30_000

/** Attempts under way or in line; far more than one sick host can fill, so that no other starves. */
const IN_FLIGHT_MAX = 10_000
const PER_HOST_MAX = 16

/** How long to wait before a store that did not answer is asked again. */
const STORE_RETRY_MS = 1_000

/** An attempt waits this often for the store: a minted token is worth some patience. */
const STORE_RETRIES_MAX = 5

/**
 * What happened to one attempt. `discarded`: the provider was edited or deleted meanwhile, another
 * gateway mints, or ours stopped before it began.
 */
type RefreshOutcome =
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
  const stopping = new AbortController()
  const watch = watchClock(deps.clock)
  let sleeper = new AbortController()
  let isFirst = true
  // A full house waits for someone to leave.
  const inFlight = createInFlight<RefreshOutcome>(() => sleeper.abort())
  const isRefreshing = (credential: Credential) => inFlight.of(credential) !== undefined
  const refresh = createAttempt(deps, { limiter, stopping: stopping.signal })

  const renew = async (isAll: boolean): Promise<void> => {
    if (isAll) deps.log.warn('clock.set_back')
    await patiently(deps, () => renewMisdated(deps, { isAll, isRefreshing })).catch(error => {
      // A row that cannot be read must not keep the others from their turn.
      if (!(error instanceof AppError)) throw error
      deps.log.error('clock.renewal_failed', { error })
    })
  }

  const turn = async (): Promise<number> => {
    const isAll = watch.wasSetBack()
    if (isAll || isFirst) await renew(isAll)
    isFirst = false
    const room = IN_FLIGHT_MAX - inFlight.size
    if (room <= 0) return options.sweepMs
    for (const claimed of await deps.store.claimDue(claimAt(deps), room)) {
      const running = inFlight.of(claimed)
      // Our own claim ran out and nobody changed the row: the attempt goes on with the new claim.
      if (running?.claimed.version === claimed.version - 1) {
        running.claimed = { ...claimed, lastForcedAtMs: running.claimed.lastForcedAtMs }
      } else {
        inFlight
          .start(claimed, work => refresh(work, null))
          .catch((error: unknown) => deps.log.error('refresh.broke', { error }))
      }
    }
    const nextAtMs = await deps.store.earliestDueAtMs()
    if (nextAtMs === null) return options.sweepMs
    return Math.min(nextAtMs - deps.clock.nowMs(), options.sweepMs)
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
        await watch.sleep(waitMs, AbortSignal.any([signal, sleeper.signal]))
      }
      stopping.abort()
      await inFlight.settled()
    },
    wake: () => sleeper.abort(),
    isRefreshing,
    async force(provider, credential) {
      const running = inFlight.of(credential)
      if (running !== undefined) return running.outcome
      const nowMs = deps.clock.nowMs()
      if (nowMs < nextForcedAtMs(credential)) return null
      return inFlight.start(credential, async work => {
        const claimed = await deps.store.claimCredential(claimAt(deps), credential)
        if (claimed !== null) work.claimed = { ...claimed, lastForcedAtMs: nowMs }
        // Unless the task itself claimed it in the same moment, it was edited or is minted elsewhere.
        else if (work.claimed === credential) return { kind: 'discarded' }
        return refresh(work, provider)
      })
    },
  }
}

function claimAt({ clock, owner }: RefreshDeps): Claim {
  const nowMs = clock.nowMs()
  return { owner, nowMs, untilMs: nowMs + CLAIM_MS }
}

type Attempt = (
  work: Pick<Work<RefreshOutcome>, 'claimed'>,
  provider: ProviderRecord | null,
) => Promise<RefreshOutcome>

/** What happens in one attempt: read the provider, mint, plan, write. */
function createAttempt(
  deps: RefreshDeps,
  options: { readonly limiter: Limiter; readonly stopping: AbortSignal },
): Attempt {
  return async (work, known) => {
    const { providerId } = work.claimed
    const provider = known ?? (await patiently(deps, () => deps.store.getProviderById(providerId)))
    if (provider === null) return { kind: 'discarded' }
    const startedMs = deps.clock.monotonicMs()
    const result = await mint(deps, options, provider)
    const times = { nowMs: deps.clock.nowMs(), fraction: deps.random.fraction() }
    const saved = await patiently(deps, () =>
      deps.store.saveCredential({
        credential:
          result === null ? afterNothing(work.claimed) : afterAttempt(work.claimed, result, times),
        rotatedMaterial: result?.kind === 'minted' ? result.rotatedMaterial : new Map(),
      }),
    )
    const outcome = outcomeOf(saved, result)
    deps.onOutcome({ provider, outcome, elapsedMs: deps.clock.monotonicMs() - startedMs })
    return outcome
  }
}

/** Null when the gateway stopped while this attempt still stood in line. */
async function mint(
  deps: RefreshDeps,
  { limiter, stopping }: { readonly limiter: Limiter; readonly stopping: AbortSignal },
  provider: ProviderRecord,
): Promise<RefreshResult | null> {
  try {
    const refresher = deps.refresherOf(provider)
    return await limiter.run(refresher.host(provider), async () =>
      // What has begun is finished, hence no signal that aborts.
      stopping.aborted ? null : refresher.refresh(provider, new AbortController().signal),
    )
  } catch (error) {
    // Material or configuration that cannot work: stored with --no-verify, or by an older version.
    if (!(error instanceof AppError)) throw error
    return { kind: 'failed', failure: configurationFailure(error) }
  }
}

/** What an unusable configuration means to the refresh task. */
function configurationFailure(error: AppError): Failure {
  return {
    class: 'P',
    code: 'refresh_configuration_invalid',
    message: error.message,
    advice: error.hint === '' ? "Mend it with 'openshell provider update'" : error.hint,
    recoveryAction: 'fix_configuration',
    retryAfterMs: 0,
  }
}

/** Does work on the store, again and again while it is unavailable for a moment. */
async function patiently<T>(deps: RefreshDeps, work: () => Promise<T>): Promise<T> {
  for (let retries = 0; ; retries++) {
    try {
      return await work()
    } catch (error) {
      const isMomentary = error instanceof AppError && error.code === 'store_unavailable'
      if (!isMomentary || retries >= STORE_RETRIES_MAX) throw error
      deps.log.warn('refresh.store_unavailable', { error, retries })
      await deps.clock.sleep(STORE_RETRY_MS, new AbortController().signal)
    }
  }
}

function outcomeOf(saved: Credential | null, result: RefreshResult | null): RefreshOutcome {
  if (saved === null || result === null) return { kind: 'discarded' }
  return result.kind === 'minted'
    ? { kind: 'minted', credential: saved }
    : { kind: 'failed', credential: saved, failure: result.failure }
}
