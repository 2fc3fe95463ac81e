import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { Claim } from '../store/store.ts'
import { createAlarm } from './alarm.ts'
import { type AttemptDeps, createAttempt, type RefreshOutcome } from './attempt.ts'
import type { RefreshCause } from './cause.ts'
import { CLAIM_MS } from './claim.ts'
import { watchClock } from './clock-watch.ts'
import { createInFlight, type Work } from './in-flight.ts'
import { patiently } from './patiently.ts'
import { nextForcedAtMs } from './policy.ts'
import { createTokenHosts } from './token-hosts.ts'

/** Attempts under way or in line; far more than one sick host can fill, so that no other starves. */
const IN_FLIGHT_MAX = 10_000

/** What is claimed at once; between two such batches everything else gets its turn. */
const BATCH_MAX = 256

/** What another gateway is claiming at this moment looks due until its claim is committed. */
const CONTENDED_MS = 100

/** How long to wait before a store that did not answer is asked again. */
const STORE_RETRY_MS = 1_000

/** A token issued further in the future than this was stamped by a clock that has been set back. */
const FUTURE_MS_MAX = 60_000

/** What the refresh task needs. `onOutcome` is called after each attempt, before its waiters go on. */
export type RefreshDeps = AttemptDeps

const DUE: RefreshCause = { reason: 'due', who: 'gateway' }

/** Why a refresh is wanted at once, and by whom. */
type Force =
  /** The vendor refused the token, as a router reported at this monotonic instant. */
  | { readonly reason: 'rejected'; readonly who: string; readonly reportedAtMs: number }
  /** A person wishes it, and may dare once more what may be spent only once. */
  | { readonly reason: 'person'; readonly who: string }

/** The one background task that keeps every credential fresh. */
export interface RefreshTask {
  /** Runs until `signal` aborts; attempts under way then finish before it resolves. */
  run(signal: AbortSignal): Promise<void>
  /** Tells the task that something may be due earlier than it thinks. */
  wake(): void
  /** Credentials as they were just read: one that is due before the task knew wakes it. */
  seen(credentials: readonly Credential[]): void
  isRefreshing(credential: Pick<Credential, 'providerId' | 'key'>): boolean
  /** Token hosts that are down, as far as this gateway knows. */
  hostsDown(): readonly string[]
  /**
   * Refreshes now, whether due or not. Callers for the same credential share one attempt, and one
   * whose request left before a report mints once more. Null when the last forced refresh is too
   * recent; the credential tells when the next one may come.
   */
  force(credential: Credential, why: Force): Promise<RefreshOutcome | null>
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
  const stopping = new AbortController()
  const hosts = createTokenHosts(deps.clock, ({ host, isDown }) => {
    deps.log.warn(isDown ? 'token_host.down' : 'token_host.back', { host })
  })
  const watch = watchClock(deps.clock)
  const alarm = createAlarm({ ...deps, watch }, options)
  let isFirst = true
  let isAllMisdated = false
  let isFull = false
  const inFlight = createInFlight<RefreshOutcome>(outcome => {
    if (!isFull) alarm.due(dueAfter(outcome))
    // A full house waits for room for a whole batch.
    else if (inFlight.size <= IN_FLIGHT_MAX - BATCH_MAX) alarm.ring()
  })
  const refresh = createAttempt(deps, { hosts, stopping: stopping.signal })

  const goOn = (claimed: Credential): void => {
    const running = inFlight.of(claimed)
    // Our own claim ran out and nobody changed the row: the attempt goes on with the new claim.
    if (running?.claimed.version === claimed.version - 1) {
      running.claimed = { ...claimed, lastForcedAtMs: running.claimed.lastForcedAtMs }
      return
    }
    inFlight
      .start(claimed, work => refresh(work, DUE))
      .catch((error: unknown) => deps.log.error('refresh.broke', { error }))
  }

  /** Answers when the next is due. */
  const turn = async (): Promise<number> => {
    // Kept until it was acted upon, however often the store is away.
    isAllMisdated = watch.wasSetBack() || isAllMisdated
    if (isFirst) await takeOver(deps)
    if (isAllMisdated || isFirst) await renew(deps, isAllMisdated)
    isFirst = false
    isAllMisdated = false
    isFull = inFlight.size >= IN_FLIGHT_MAX
    if (isFull) return Infinity
    const { batch, nextAtMs } = await claimDue(deps, IN_FLIGHT_MAX - inFlight.size)
    for (const claimed of batch) goOn(claimed)
    if (batch.length === BATCH_MAX) await deps.clock.sleep(1, stopping.signal)
    return batch.length === 0 ? nextAtMs : earliestDueAtMs(deps.store)
  }

  return {
    async run(signal) {
      while (!signal.aborted) {
        alarm.begin()
        const nextAtMs = await turn().catch((error: unknown) => orNull(deps, error))
        if (nextAtMs === null) await deps.clock.sleep(STORE_RETRY_MS, signal)
        else await alarm.sleep(nextAtMs, signal)
      }
      stopping.abort()
      hosts.release()
      await inFlight.settled()
      await letGo(deps)
    },
    wake: alarm.ring,
    seen: credentials => alarm.due(Math.min(...credentials.map(claimableAtMs))),
    isRefreshing: credential => inFlight.of(credential) !== undefined,
    hostsDown: hosts.down,
    async force(credential, why) {
      const nowMs = deps.clock.nowMs()
      const running = inFlight.of(credential)
      if (running !== undefined) {
        const { failure } = credential
        const isInLine = running.sentAtMs === null && failure !== null
        // A person is told what the line is for, instead of standing in it.
        if (isInLine && why.reason === 'person') return { kind: 'failed', credential, failure }
        suspect(running, why, nowMs)
        return running.outcome
      }
      if (nowMs < nextForcedAtMs(credential)) return null
      return inFlight.start(credential, async work => {
        if (!(await claimForced(deps, work, why))) return { kind: 'discarded' }
        return refresh(work, { reason: why.reason, who: why.who })
      })
    },
  }
}

/**
 * Claims what is due, or says when to look again. A claim writes, so it is made only where there is
 * something to claim.
 */
async function claimDue(
  deps: RefreshDeps,
  room: number,
): Promise<{ readonly batch: readonly Credential[]; readonly nextAtMs: number }> {
  const earliestMs = await earliestDueAtMs(deps.store)
  const claim = claimAt(deps)
  if (earliestMs > claim.nowMs) return { batch: [], nextAtMs: earliestMs }
  const batch = await deps.store.claimDue(claim, Math.min(room, BATCH_MAX))
  return { batch, nextAtMs: claim.nowMs + CONTENDED_MS }
}

/** Claims what is to be refreshed at once; false when it was edited or is minted elsewhere. */
async function claimForced(
  deps: RefreshDeps,
  work: Pick<Work<RefreshOutcome>, 'claimed'>,
  why: Force,
): Promise<boolean> {
  const credential = work.claimed
  const nowMs = deps.clock.nowMs()
  const claimed = await deps.store.claimCredential(claimAt(deps), credential)
  if (claimed !== null) work.claimed = forced(claimed, why, nowMs)
  // Lost to the task itself, which claimed it in the same moment, it is as good as claimed.
  return work.claimed !== credential
}

async function earliestDueAtMs(store: RefreshDeps['store']): Promise<number> {
  return (await store.earliestDueAtMs()) ?? Infinity
}

function claimableAtMs({ dueAtMs, claimedUntilMs }: Credential): number {
  return dueAtMs === null ? Infinity : Math.max(dueAtMs, claimedUntilMs)
}

/** When an attempt's credential is due next; at once where that is not known. */
function dueAfter(outcome: RefreshOutcome | null): number {
  if (outcome === null || outcome.kind === 'discarded') return 0
  return outcome.credential.dueAtMs ?? Infinity
}

/** A turn that could not ask the store. */
function orNull({ log }: RefreshDeps, error: unknown): null {
  if (!(error instanceof AppError)) throw error
  log.error('refresh.store_unavailable', { error })
  return null
}

/** What stood in line when the gateway stopped need not wait for its claims to run out, either. */
async function letGo({ store, log, owner }: RefreshDeps): Promise<void> {
  await store.releaseClaims(owner).catch((error: unknown) => {
    if (!(error instanceof AppError)) throw error
    log.warn('refresh.store_unavailable', { error })
  })
}

/** What this gateway was minting when it was killed need not wait for the claim to run out. */
async function takeOver({ store, log, owner }: RefreshDeps): Promise<void> {
  const released = await store.releaseClaims(owner)
  if (released > 0) log.info('refresh.taken_over', { credentials: released })
}

/**
 * Instants that were written under a clock that was ahead come too late, and a dead token would pass
 * for a living one. After a step back seen by us that is every credential; at the start it is those
 * that claim to come from the future.
 */
async function renew(deps: RefreshDeps, isAll: boolean): Promise<void> {
  if (isAll) deps.log.warn('clock.set_back')
  const claim = claimAt(deps)
  const futureMs = isAll ? null : claim.nowMs + FUTURE_MS_MAX
  const renewed = await patiently(deps, () => deps.store.renewMisdated(claim, { futureMs }))
  if (renewed > 0) deps.log.warn('clock.renewed', { credentials: renewed })
}

function claimAt({ clock, owner }: RefreshDeps): Claim {
  const nowMs = clock.nowMs()
  return { owner, nowMs, untilMs: nowMs + CLAIM_MS }
}

/** A token that was asked for before the refusal of the one before it may be of the same kind. */
function suspect(running: Work<RefreshOutcome>, why: Force, nowMs: number): void {
  if (why.reason !== 'rejected' || running.sentAtMs === null) return
  if (running.sentAtMs > why.reportedAtMs || nowMs < nextForcedAtMs(running.claimed)) return
  running.isSuspect = true
  running.claimed = { ...running.claimed, lastForcedAtMs: nowMs }
}

function forced(claimed: Credential, why: Force, nowMs: number): Credential {
  const spent =
    why.reason === 'person' ? { spends: 0, candidateSpends: 0, candidateDueAtMs: 0 } : {}
  return { ...claimed, ...spent, lastForcedAtMs: nowMs }
}
