import { create } from '@bufbuild/protobuf'
import { type Credential, stateOf } from '../core/credential.ts'
import type { RecoveryAction } from '../core/failure.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { RefreshStrategy } from '../providers/provider-type.ts'
import { knownProviderType } from '../providers/registry.ts'
import type { RefreshTask } from '../refresh/task.ts'
import type { DamagedProvider, Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import {
  ProviderCredentialRefreshRecoveryAction,
  type ProviderCredentialRefreshStatus,
  ProviderCredentialRefreshStatusSchema,
} from '../wire/gen/openshell/v1/refresh_pb.ts'
import type { Delivery } from './delivery.ts'
import { strategyToWire } from './refresh-strategy.ts'

/** OpenShell's sign for "no attempt comes by itself". */
const PARKED = 2n ** 63n - 1n

const RECOVERY: Readonly<Record<RecoveryAction, ProviderCredentialRefreshRecoveryAction>> = {
  retry: ProviderCredentialRefreshRecoveryAction.RETRY,
  reauthorize: ProviderCredentialRefreshRecoveryAction.REAUTHORIZE,
  fix_configuration: ProviderCredentialRefreshRecoveryAction.FIX_CONFIGURATION,
  investigate: ProviderCredentialRefreshRecoveryAction.INVESTIGATE,
}

/** OpenShell's words for a credential whose last attempt failed. */
const STATUS_OF: Readonly<Record<RecoveryAction, string>> = {
  retry: 'error',
  reauthorize: 'reauthorization_required',
  fix_configuration: 'configuration_required',
  investigate: 'investigation_required',
}

/** What a status is made of. */
export interface StatusDeps {
  readonly store: Store
  readonly clock: Clock
  readonly task: Pick<RefreshTask, 'isRefreshing'>
  readonly delivery: Pick<Delivery, 'reach'>
}

/** The statuses of all credentials of a provider. */
export async function statusesOf(
  deps: StatusDeps,
  provider: ProviderRecord,
): Promise<readonly ProviderCredentialRefreshStatus[]> {
  const credentials = await deps.store.listCredentials(provider.id)
  return Promise.all(credentials.map(one => statusToWire(deps, provider, one)))
}

/** A credential's life as it is told to people and programs. It holds no secret. */
export async function statusToWire(
  deps: StatusDeps,
  provider: ProviderRecord,
  credential: Credential,
): Promise<ProviderCredentialRefreshStatus> {
  const { token } = credential
  const nowMs = deps.clock.nowMs()
  const state = stateOf(credential, nowMs, {
    // Here, or at another gateway.
    isRefreshing: deps.task.isRefreshing(credential) || credential.claimedUntilMs > nowMs,
  })
  const reach = await deps.delivery.reach(provider.workspace)
  return create(ProviderCredentialRefreshStatusSchema, {
    providerName: provider.name,
    providerId: provider.id,
    providerType: provider.type,
    credentialKey: credential.key,
    strategy: strategyToWire(credential.grant?.strategy ?? strategyOf(provider)),
    state,
    expiresAtMs: BigInt(token?.expiresAtMs ?? 0),
    issuedAtMs: BigInt(token?.issuedAtMs ?? 0),
    nextRefreshAtMs: credential.dueAtMs === null ? PARKED : BigInt(credential.dueAtMs),
    lastRefreshAtMs: BigInt(credential.lastRefreshAtMs),
    lastAttemptAtMs: BigInt(credential.lastAttemptAtMs),
    generation: BigInt(credential.generation),
    revision: reach.revision,
    routers: reach.routers,
    routersCurrent: reach.routersCurrent,
    history: credential.history.map(one => ({
      atMs: BigInt(one.atMs),
      state: one.state,
      failureClass: one.class,
      failureCode: one.code,
    })),
    ...failureToWire(credential),
    ...(credential.grant === null ? candidateToWire(provider, credential) : {}),
  })
}

/** A type that another version of this program wrote has none that is known here. */
function strategyOf(provider: ProviderRecord): RefreshStrategy {
  return knownProviderType(provider.type)?.strategyOf(provider) ?? ''
}

/** The status of a provider whose row is damaged: nobody knows its credentials. */
export function damagedStatus(damaged: DamagedProvider): ProviderCredentialRefreshStatus {
  return create(ProviderCredentialRefreshStatusSchema, {
    providerName: damaged.name,
    providerId: damaged.id,
    providerType: damaged.type,
    status: 'error',
    state: 'failed',
    nextRefreshAtMs: PARKED,
    lastError: damaged.message,
    failureClass: 'P',
    failureCode: 'store_row_damaged',
    recoveryAction: ProviderCredentialRefreshRecoveryAction.INVESTIGATE,
    advice: 'Restore the database from a backup, or delete the provider and add it anew',
  })
}

function failureToWire({ failure, token, ...credential }: Credential) {
  if (failure === null) {
    return {
      status: token === null ? 'configured' : 'refreshed',
      recoveryAction: ProviderCredentialRefreshRecoveryAction.UNSPECIFIED,
    }
  }
  return {
    status: STATUS_OF[failure.recoveryAction],
    lastError: failure.message,
    lastErrorAtMs: BigInt(credential.lastAttemptAtMs),
    recoveryAction: RECOVERY[failure.recoveryAction],
    failureCode: failure.code,
    failureClass: failure.class,
    advice: failure.advice,
    consecutiveFailures: credential.consecutiveFailures,
    failingSinceMs: BigInt(credential.failingSinceMs),
  }
}

function candidateToWire({ candidate }: ProviderRecord, { candidateFailure }: Credential) {
  if (candidateFailure === null) return candidate === null ? {} : { candidateState: 'waiting' }
  return {
    candidateState: candidate === null ? 'refused' : 'waiting',
    candidateError: `${candidateFailure.message}. ${candidateFailure.advice}`,
    candidateCode: candidateFailure.code,
  }
}
