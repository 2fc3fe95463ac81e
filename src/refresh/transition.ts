import type { AccessToken, Credential } from '../core/credential.ts'
import { settleUnknown } from '../oauth/refusal.ts'
import type { RefreshResult } from '../providers/refresher.ts'
import { planRefresh, planRetry, planSameToken } from './policy.ts'

/** How far two statements of one token's end may be apart: a second's rounding, and the way here. */
const WAVERING_MS = 2_000

/** A credential that has never been refreshed and is due at once. */
export function newCredential(providerId: string, key: string, nowMs: number): Credential {
  return {
    providerId,
    key,
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
    claimedBy: '',
    claimedUntilMs: 0,
  }
}

/**
 * The credential after an attempt: a pure function of what was, what the attempt brought, the
 * instant and one drawn number. The claim ends with it.
 */
export function afterAttempt(
  credential: Credential,
  result: RefreshResult,
  options: { readonly nowMs: number; readonly fraction: number },
): Credential {
  const attempted = { ...afterNothing(credential), lastAttemptAtMs: options.nowMs }
  return result.kind === 'minted'
    ? afterMint(attempted, result, options)
    : afterFailure(attempted, result, options)
}

/** The credential after an attempt that never began: only its claim ends. */
export function afterNothing(credential: Credential): Credential {
  return { ...credential, claimedBy: '', claimedUntilMs: 0 }
}

function afterMint(
  credential: Credential,
  minted: RefreshResult & { readonly kind: 'minted' },
  options: { readonly nowMs: number; readonly fraction: number },
): Credential {
  const plan = planRefresh({
    issuedAtMs: minted.requestedAtMs,
    lifetimeMs: minted.lifetimeMs,
    leadMs: minted.leadMs,
    refreshInMs: minted.refreshInMs,
    fraction: options.fraction,
  })
  const fresh: AccessToken = {
    value: minted.token,
    issuedAtMs: minted.requestedAtMs,
    expiresAtMs: plan.expiresAtMs,
  }
  const succeeded: Credential = {
    ...credential,
    lastRefreshAtMs: options.nowMs,
    consecutiveFailures: 0,
    failure: null,
    failingSinceMs: 0,
    isDisabled: false,
  }
  const standing = credential.token
  const isSame = standing?.value.equals(minted.token) ?? false
  if (standing !== null && isSame && isSameEnd(standing, fresh)) {
    return { ...succeeded, dueAtMs: planSameToken(options.nowMs, standing) }
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

function afterFailure(
  credential: Credential,
  result: RefreshResult & { readonly kind: 'failed' },
  options: { readonly nowMs: number; readonly fraction: number },
): Credential {
  const consecutiveFailures = credential.consecutiveFailures + 1
  const failure = settleUnknown(credential.failure, result.failure)
  return {
    ...credential,
    dueAtMs: planRetry({
      failure,
      nowMs: options.nowMs,
      token: credential.token,
      consecutiveFailures,
      fraction: options.fraction,
    }),
    consecutiveFailures,
    failure,
    failingSinceMs: credential.failure === null ? options.nowMs : credential.failingSinceMs,
  }
}
