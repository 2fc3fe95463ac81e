import { create } from '@bufbuild/protobuf'
import { type Credential, stateOf } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { RecoveryAction } from '../core/failure.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { RefreshStrategy } from '../providers/provider-type.ts'
import { findProviderType } from '../providers/registry.ts'
import { nextForcedAtMs } from '../refresh/policy.ts'
import type { RefreshTask } from '../refresh/task.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import {
  OpenShell,
  ProviderCredentialRefreshRecoveryAction,
  type ProviderCredentialRefreshStatus,
  ProviderCredentialRefreshStatusSchema,
  ProviderCredentialRefreshStrategy,
} from '../wire/gen/openshell/v1/openshell_pb.ts'
import type { Delivery } from './delivery.ts'
import { requireProvider } from './provider-service.ts'
import { adminRpc, type Rpc } from './rpc.ts'
import { checkWorkspace } from './validate.ts'

/** OpenShell's sign for "no attempt comes by itself". */
const PARKED = 2n ** 63n - 1n

const PROVIDERS_PAGE = 1_000

const RECOVERY: Readonly<Record<RecoveryAction, ProviderCredentialRefreshRecoveryAction>> = {
  retry: ProviderCredentialRefreshRecoveryAction.RETRY,
  reauthorize: ProviderCredentialRefreshRecoveryAction.REAUTHORIZE,
  fix_configuration: ProviderCredentialRefreshRecoveryAction.FIX_CONFIGURATION,
  investigate: ProviderCredentialRefreshRecoveryAction.INVESTIGATE,
}

const STRATEGIES: Readonly<Record<RefreshStrategy, ProviderCredentialRefreshStrategy>> = {
  oauth2_refresh_token: ProviderCredentialRefreshStrategy.OAUTH2_REFRESH_TOKEN,
  oauth2_client_credentials: ProviderCredentialRefreshStrategy.OAUTH2_CLIENT_CREDENTIALS,
  google_service_account_jwt: ProviderCredentialRefreshStrategy.GOOGLE_SERVICE_ACCOUNT_JWT,
  aws_sts_assume_role: ProviderCredentialRefreshStrategy.AWS_STS_ASSUME_ROLE,
  '': ProviderCredentialRefreshStrategy.UNSPECIFIED,
}

/** What the refresh methods need. */
export interface RefreshServiceDeps {
  readonly store: Store
  readonly clock: Clock
  readonly task: RefreshTask
  readonly delivery: Delivery
  readonly log: Log
}

/** The refresh methods of `openshell.v1.OpenShell`. */
export function refreshRpcs(deps: RefreshServiceDeps): readonly Rpc[] {
  const { method } = OpenShell
  return [
    adminRpc(method.getProviderRefreshStatus, async ({ provider, credentialKey, workspace }) => {
      const providers =
        provider === ''
          ? await allProviders(deps.store, checkWorkspace(workspace))
          : [await requireProvider(deps.store, workspace, provider)]
      const statuses = await Promise.all(providers.map(one => statusesOf(deps, one)))
      const credentials = statuses
        .flat()
        .filter(status => credentialKey === '' || status.credentialKey === credentialKey)
      return { credentials }
    }),
    adminRpc(
      method.rotateProviderCredential,
      async ({ provider: name, credentialKey, workspace }) => {
        const provider = await requireProvider(deps.store, workspace, name)
        const credential = await requireCredential(deps.store, provider, credentialKey)
        const outcome = await deps.task.force(provider, credential)
        if (outcome === null) {
          const waitMs = nextForcedAtMs(credential) - deps.clock.nowMs()
          throw new AppError(
            'failed_precondition',
            `"${name}" was refreshed on demand a moment ago`,
            {
              hint: `Try again in ${Math.ceil(waitMs / 1_000)} s`,
            },
          )
        }
        if (outcome.kind === 'failed') {
          const { message, code, advice } = outcome.failure
          throw new AppError('mint_refused', `Cannot refresh "${name}": ${message} (${code})`, {
            hint: advice,
          })
        }
        if (outcome.kind === 'discarded') {
          throw new AppError(
            'version_conflict',
            `"${name}" was changed, or is being refreshed by another gateway`,
            { hint: 'Look at its refresh status and repeat the command' },
          )
        }
        return { status: await statusToWire(deps, provider, outcome.credential) }
      },
    ),
    adminRpc(method.deleteProviderRefresh, async ({ provider: name, credentialKey, workspace }) => {
      const provider = await requireProvider(deps.store, workspace, name)
      const rows = await deps.store.listCredentials(provider.id)
      const row = rows.find(one => credentialKey === '' || one.key === credentialKey)
      if (row === undefined || row.isDisabled) return { deleted: false }
      await disable(deps.store, row)
      deps.log.info('refresh.disabled', { provider: name, workspace: provider.workspace })
      deps.delivery.changed(provider.workspace)
      return { deleted: true }
    }),
  ]
}

/**
 * Stops refreshing a credential and serving its token. The row stays, so that a rotation or new
 * material brings it back; the write wins over a mint that is under way, which is then discarded.
 */
async function disable(store: Store, row: Credential): Promise<void> {
  const credential = { ...row, isDisabled: true, dueAtMs: null, claimedBy: '', claimedUntilMs: 0 }
  const saved = await store.saveCredential({ credential, rotatedMaterial: new Map() })
  if (saved === null) {
    throw new AppError('version_conflict', 'The credential was changed by someone else meanwhile', {
      hint: 'Repeat the command',
    })
  }
}

/** The provider's credential of that key, or its only one when the key is ''. */
async function requireCredential(
  store: Store,
  provider: ProviderRecord,
  key: string,
): Promise<Credential> {
  const found = (await store.listCredentials(provider.id)).find(
    one => key === '' || one.key === key,
  )
  if (found !== undefined) return found
  throw new AppError(
    'failed_precondition',
    `Provider "${provider.name}" has no credential to refresh`,
  )
}

/** Every provider of a workspace, or of all when it is null. */
export async function allProviders(
  store: Store,
  workspace: string | null,
): Promise<readonly ProviderRecord[]> {
  const all: ProviderRecord[] = []
  for (;;) {
    const page = await store.listProviders(workspace, { limit: PROVIDERS_PAGE, offset: all.length })
    all.push(...page)
    if (page.length < PROVIDERS_PAGE) return all
  }
}

async function statusesOf(
  deps: RefreshServiceDeps,
  provider: ProviderRecord,
): Promise<readonly ProviderCredentialRefreshStatus[]> {
  const credentials = await deps.store.listCredentials(provider.id)
  return Promise.all(credentials.map(one => statusToWire(deps, provider, one)))
}

async function statusToWire(
  deps: RefreshServiceDeps,
  provider: ProviderRecord,
  credential: Credential,
): Promise<ProviderCredentialRefreshStatus> {
  const { failure } = credential
  const state = stateOf(credential, deps.clock.nowMs(), {
    isRefreshing: deps.task.isRefreshing(credential),
  })
  const reach = await deps.delivery.reach(provider.workspace)
  return create(ProviderCredentialRefreshStatusSchema, {
    providerName: provider.name,
    providerId: provider.id,
    providerType: provider.type,
    credentialKey: credential.key,
    strategy: STRATEGIES[findProviderType(provider.type).strategyOf(provider)],
    status: failure === null ? (credential.token === null ? 'configured' : 'refreshed') : 'error',
    state,
    expiresAtMs: BigInt(credential.token?.expiresAtMs ?? 0),
    nextRefreshAtMs: credential.dueAtMs === null ? PARKED : BigInt(credential.dueAtMs),
    lastRefreshAtMs: BigInt(credential.lastRefreshAtMs),
    lastError: failure?.message ?? '',
    lastErrorAtMs: failure === null ? 0n : BigInt(credential.lastAttemptAtMs),
    recoveryAction:
      failure === null
        ? ProviderCredentialRefreshRecoveryAction.UNSPECIFIED
        : RECOVERY[failure.recoveryAction],
    failureCode: failure?.code ?? '',
    failureClass: failure?.class ?? '',
    advice: failure?.advice ?? '',
    consecutiveFailures: credential.consecutiveFailures,
    generation: BigInt(credential.generation),
    revision: reach.revision,
    routers: reach.routers,
    routersCurrent: reach.routersCurrent,
  })
}
