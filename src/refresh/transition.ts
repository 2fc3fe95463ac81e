import type { AccessToken, Credential } from '../core/credential.ts'
import type { RefreshResult } from '../providers/refresher.ts'
import { planRefresh, planRetry, planSameToken } from './policy.ts'

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
  const attempted: Credential = {
    ...credential,
    lastAttemptAtMs: options.nowMs,
    claimedBy: '',
    claimedUntilMs: 0,
  }
  return result.kind === 'minted'
    ? afterMint(attempted, result, options)
    : afterFailure(attempted, result, options)
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
  const isSame = credential.token?.value.equals(minted.token) ?? false
  const token: AccessToken = {
    value: minted.token,
    issuedAtMs:
      isSame && credential.token !== null ? credential.token.issuedAtMs : minted.requestedAtMs,
    expiresAtMs: plan.expiresAtMs,
  }
  return {
    ...credential,
    generation: isSame ? credential.generation : credential.generation + 1,
    token,
    dueAtMs: isSame
      ? planSameToken(options.nowMs, plan.expiresAtMs, minted.lifetimeMs)
      : plan.dueAtMs,
    mandatoryAtMs: plan.mandatoryAtMs,
    lastRefreshAtMs: options.nowMs,
    consecutiveFailures: 0,
    failure: null,
    failingSinceMs: 0,
  }
}

function afterFailure(
  credential: Credential,
  { failure }: RefreshResult & { readonly kind: 'failed' },
  options: { readonly nowMs: number; readonly fraction: number },
): Credential {
  const consecutiveFailures = credential.consecutiveFailures + 1
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
