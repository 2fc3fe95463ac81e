import {
  type AccessToken,
  type Credential,
  HISTORY_MAX,
  stateOf,
  type Transition,
} from '../core/credential.ts'
import type { Failure } from '../core/failure.ts'
import { isOutcomeUnknown, spentFailure } from '../oauth/refusal.ts'
import type { RefreshResult } from '../providers/refresher.ts'
import type { Random } from '../system/random.ts'
import { planRefresh, planRetry, planSameToken, pressingAtMs } from './policy.ts'

/** How far two statements of one token's end may be apart: a second's rounding, and the way here. */
const WAVERING_MS = 2_000

/** How often what may be spent only once is sent without a known outcome. */
export const SPENDS_MAX = 2

/** The answer for what was sent as often as may be: it is not sent again. */
export const OVERSPENT: RefreshResult = {
  kind: 'failed',
  failure: spentFailure({ message: 'The refresh token was sent twice and no answer was kept' }),
}

/** What an attempt brought. At least one of the two was tried. */
export interface AttemptResult {
  /** Null when the standing material was not tried. */
  readonly standing: RefreshResult | null
  /** Null when there was no candidate. */
  readonly candidate: RefreshResult | null
}

/** The instant and one drawn number. */
interface Chance {
  readonly nowMs: number
  /** Uniform in [0, 1). */
  readonly fraction: number
}

/** What belongs to a candidate, when there is none or it was not tried. */
export const NO_CANDIDATE = {
  candidateSpends: 0,
  candidateDueAtMs: 0,
  candidateFailure: null,
} as const

/** A credential that has never been refreshed and is due at once. */
export function newCredential(providerId: string, key: string, nowMs: number): Credential {
  return {
    providerId,
    key,
    grant: null,
    version: 1,
    generation: 0,
    token: null,
    dueAtMs: nowMs,
    mandatoryAtMs: 0,
    lastRefreshAtMs: 0,
    lastAttemptAtMs: 0,
    lastForcedAtMs: 0,
    consecutiveFailures: 0,
    failure: null,
    failingSinceMs: 0,
    isDisabled: false,
    spends: 0,
    ...NO_CANDIDATE,
    history: [{ atMs: nowMs, state: 'pending', class: '', code: '' }],
    claimedBy: '',
    claimedUntilMs: 0,
    claimedFrom: '',
  }
}

/** Names a state of a configured grant's material. */
export function newEpoch(random: Random): string {
  return Buffer.from(random.bytes(16)).toString('hex')
}

/** What an attempt leaves: the credential, and what becomes of the candidate, if there is one. */
interface Aftermath {
  readonly credential: Credential
  readonly candidate: 'kept' | 'promoted' | 'dropped'
}

/**
 * What an attempt leaves: a pure function of what was, what the attempt brought, the instant and one
 * drawn number. The claim ends with it. A candidate that can never work is dropped.
 */
export function afterAttempt(
  credential: Credential,
  { standing, candidate }: AttemptResult,
  chance: Chance,
): Aftermath {
  const attempted = { ...afterNothing(credential), lastAttemptAtMs: chance.nowMs }
  const leave = (next: Credential, fate: Aftermath['candidate']): Aftermath => ({
    credential: withHistory(credential, next, chance.nowMs),
    candidate: fate,
  })
  if (candidate?.kind === 'minted') {
    return leave(
      afterMint({ ...attempted, ...NO_CANDIDATE, spends: 0 }, candidate, chance),
      'promoted',
    )
  }
  const next = standing === null ? attempted : afterStanding(attempted, standing, chance)
  if (candidate === null) {
    const { dueAtMs, candidateDueAtMs } = next
    // One whose time has come would have been tried: there is none.
    const waitsUntilMs = candidateDueAtMs > chance.nowMs ? candidateDueAtMs : null
    return leave({ ...next, dueAtMs: earliest(dueAtMs, waitsUntilMs) }, 'kept')
  }
  const tried = afterCandidate(next, candidate.failure, {
    isStandingTried: standing !== null,
    ...chance,
  })
  return leave(tried, isHopeless(tried.candidateFailure) ? 'dropped' : 'kept')
}

/** Whether the standing material is out of the question until a person changes something. */
export function isParked({ failure, dueAtMs }: Credential): boolean {
  return failure !== null && (dueAtMs === null || failure.class === 'Q' || isHopeless(failure))
}

/** The credential after an attempt that never began: only its claim ends. */
export function afterNothing(credential: Credential): Credential {
  return { ...credential, claimedBy: '', claimedUntilMs: 0, claimedFrom: '' }
}

/** The credential switched off: it is neither refreshed nor served until a rotation or new material. */
export function afterDisabling(credential: Credential, nowMs: number): Credential {
  // A claim stays: whoever mints at this moment may be spending what may be spent only once.
  const disabled = { ...credential, isDisabled: true, dueAtMs: null }
  return withHistory(credential, disabled, nowMs)
}

/** The credential whose new material could not be tried out for now: it will be tried again. */
export function afterStaging(credential: Credential, failure: Failure, chance: Chance): Credential {
  const staged = { ...afterNothing(credential), candidateSpends: 0 }
  return afterCandidate(staged, failure, { isStandingTried: false, ...chance })
}

/** The credential whose waiting candidate a person took back: the standing material is due in its time. */
export function afterDropping(credential: Credential, chance: Chance): Credential {
  const kept = { ...afterNothing(credential), ...NO_CANDIDATE }
  return { ...kept, dueAtMs: credential.isDisabled ? null : renewalAtMs(credential, chance) }
}

function afterStanding(credential: Credential, result: RefreshResult, chance: Chance): Credential {
  return result.kind === 'minted'
    ? afterMint({ ...credential, spends: 0 }, result, chance)
    : afterFailure(credential, result.failure, chance)
}

function afterMint(
  credential: Credential,
  minted: RefreshResult & { readonly kind: 'minted' },
  { nowMs, fraction }: Chance,
): Credential {
  const plan = planRefresh({
    issuedAtMs: minted.requestedAtMs,
    lifetimeMs: minted.lifetimeMs,
    leadMs: minted.leadMs,
    mandatoryMs: minted.mandatoryMs,
    refreshInMs: minted.refreshInMs,
    fraction,
  })
  const fresh: AccessToken = {
    value: minted.token,
    issuedAtMs: minted.requestedAtMs,
    expiresAtMs: plan.expiresAtMs,
  }
  const succeeded: Credential = {
    ...credential,
    lastRefreshAtMs: nowMs,
    consecutiveFailures: 0,
    failure: null,
    failingSinceMs: 0,
    isDisabled: false,
  }
  const standing = credential.token
  const isSame = standing?.value.equals(minted.token) ?? false
  if (standing !== null && isSame && isSameEnd(standing, fresh)) {
    return { ...succeeded, dueAtMs: planSameToken(nowMs, standing) }
  }
  return {
    ...succeeded,
    generation: isSame ? credential.generation : credential.generation + 1,
    token: fresh,
    dueAtMs: plan.dueAtMs,
    mandatoryAtMs: plan.mandatoryAtMs,
  }
}

/**
 * Vendors count what remains in whole seconds, so the end that a cached token is said to have
 * wavers. It stays as it was then, and with it everything that routers see.
 */
function isSameEnd(standing: AccessToken, fresh: AccessToken): boolean {
  return Math.abs(standing.expiresAtMs - fresh.expiresAtMs) <= WAVERING_MS
}

/**
 * A second unknown outcome is final: sending what may be spent only once a third time could make the
 * vendor revoke all that came of it (RFC 9700 §4.14). Any other outcome tells that it was not spent,
 * but nothing about the sending before.
 */
function afterFailure(credential: Credential, failed: Failure, chance: Chance): Credential {
  const isUnknown = isOutcomeUnknown(failed)
  const isSpent = isUnknown && credential.spends >= SPENDS_MAX
  const failure = isSpent ? spentFailure(failed) : failed
  const consecutiveFailures = credential.consecutiveFailures + 1
  return {
    ...credential,
    dueAtMs: planRetry({ failure, token: credential.token, consecutiveFailures, ...chance }),
    consecutiveFailures,
    failure,
    failingSinceMs: credential.failure === null ? chance.nowMs : credential.failingSinceMs,
    spends: isUnknown ? credential.spends : Math.max(0, credential.spends - 1),
  }
}

function afterCandidate(
  credential: Credential,
  failed: Failure,
  { isStandingTried, ...chance }: Chance & { readonly isStandingTried: boolean },
): Credential {
  const isUnknown = isOutcomeUnknown(failed)
  const spends = Math.max(0, credential.candidateSpends - (isUnknown ? 0 : 1))
  const failure = isUnknown && spends >= SPENDS_MAX ? spentFailure(failed) : failed
  const plannedAtMs = planRetry({
    failure,
    token: credential.token,
    consecutiveFailures: credential.consecutiveFailures + 1,
    ...chance,
  })
  // A vendor that throttles one of the two asks the same of the other.
  const isThrottled = isStandingTried && credential.failure?.class === 'H'
  const retryAtMs =
    plannedAtMs === null || !isThrottled
      ? plannedAtMs
      : Math.max(plannedAtMs, credential.dueAtMs ?? 0)
  return {
    ...credential,
    candidateFailure: failure,
    candidateSpends: isHopeless(failure) ? 0 : spends,
    candidateDueAtMs: retryAtMs ?? 0,
    dueAtMs:
      isThrottled && failure.class === 'H'
        ? retryAtMs
        : earliest(
            retryAtMs,
            isStandingTried ? credential.dueAtMs : renewalAtMs(credential, chance),
          ),
  }
}

/** When the standing material is due: its due time made room for the candidate's. */
function renewalAtMs(credential: Credential, chance: Chance): number | null {
  const { failure, dueAtMs } = credential
  if (failure === null) return Math.max(chance.nowMs, pressingAtMs(credential))
  if (isParked(credential)) return planRetry({ ...credential, failure, ...chance })
  // It waits already, perhaps for as long as the vendor asked.
  return Math.max(chance.nowMs, dueAtMs ?? 0)
}

function isHopeless(failure: Failure | null): boolean {
  return failure !== null && ['P', 'S', 'C'].includes(failure.class)
}

function earliest(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other
  return Math.min(one, other)
}

/**
 * Keeps a change of state. A token that ended since the last change is told of, too, at the instant of
 * its end: nothing is written at that instant.
 */
function withHistory(before: Credential, after: Credential, nowMs: number): Credential {
  const history = [...after.history]
  const note = (state: Transition['state'], atMs: number, failure: Failure | null): void => {
    const last = history.at(-1)
    const code = failure?.code ?? ''
    if (last?.state === state && last.code === code) return
    history.push({ atMs, state, class: failure?.class ?? '', code })
  }
  const endMs = before.token?.expiresAtMs ?? Infinity
  if (plainState(before, nowMs) === 'expired' && endMs <= nowMs) {
    note('expired', endMs, before.failure)
  }
  note(plainState(after, nowMs), nowMs, after.failure)
  return { ...after, history: history.slice(-HISTORY_MAX) }
}

function plainState(credential: Credential, nowMs: number): Transition['state'] {
  const state = stateOf(credential, nowMs, { isRefreshing: false })
  return state === 'refreshing' ? 'valid' : state
}
