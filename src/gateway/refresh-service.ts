import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import { outputKeys, ownCredential } from '../core/outputs.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { RefreshOutcome } from '../refresh/attempt.ts'
import { nextForcedAtMs } from '../refresh/policy.ts'
import type { RefreshTask } from '../refresh/task.ts'
import { afterDisabling, newCredential } from '../refresh/transition.ts'
import type { Store } from '../store/store.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import type { Delivery } from './delivery.ts'
import { checkConfiguration } from './provider-check.ts'
import { providerPages } from './provider-pages.ts'
import { requireProvider } from './provider-service.ts'
import { typeOf } from './provider-types.ts'
import { type ConfigureDeps, configureRefresh } from './refresh-configure.ts'
import { damagedStatus, statusesOf, statusToWire } from './refresh-status.ts'
import { adminRpc, changeRpc, type Rpc } from './rpc.ts'
import { checkWorkspace } from './validate.ts'

/** What the refresh methods need. */
export interface RefreshServiceDeps extends ConfigureDeps {
  readonly task: RefreshTask
  readonly delivery: Delivery
  readonly onChange: (provider: ProviderRecord) => void
}

/** The refresh methods of `openshell.v1.OpenShell`. */
export function refreshRpcs(deps: RefreshServiceDeps): readonly Rpc[] {
  const { method } = OpenShell
  return [
    adminRpc(method.getProviderRefreshStatus, async ({ provider, credentialKey, workspace }) => {
      const statuses =
        provider === ''
          ? await allStatuses(deps, checkWorkspace(workspace))
          : await statusesOf(deps, await requireProvider(deps.store, workspace, provider))
      return {
        credentials: statuses.filter(
          status => credentialKey === '' || status.credentialKey === credentialKey,
        ),
      }
    }),
    changeRpc(method.configureProviderRefresh, 'refresh.configure', async (request, note) => {
      note({ workspace: request.workspace, provider: request.provider })
      note({ credential: request.credentialKey })
      const provider = await requireProvider(deps.store, request.workspace, request.provider)
      note({ workspace: provider.workspace, type: provider.type })
      const credential = await configureRefresh(deps, provider, request)
      deps.onChange(provider)
      return { status: await statusToWire(deps, provider, credential) }
    }),
    changeRpc(method.rotateProviderCredential, 'refresh.rotate', async (request, note) => {
      const { provider: name, credentialKey, workspace } = request
      note({ workspace, provider: name })
      const provider = await requireProvider(deps.store, workspace, name)
      note({ workspace: provider.workspace, type: provider.type })
      const credential = await requireCredential(deps.store, provider, credentialKey)
      note({ credential: credential.key })
      const why = { reason: 'person', who: 'admin' } as const
      const outcome = await deps.task.force(credential, why)
      const refreshed =
        (outcome?.kind === 'discarded' ? await mintedSince(deps, credential) : null) ??
        rotated(deps, { name, credential, outcome })
      note({ generation: refreshed.generation })
      // Read anew: new material may have been promoted.
      const standing = (await deps.store.getProviderById(provider.id)) ?? provider
      return { status: await statusToWire(deps, standing, refreshed) }
    }),
    changeRpc(method.deleteProviderRefresh, 'refresh.delete', async (request, note) => {
      const { provider: name, credentialKey, workspace } = request
      note({ workspace, provider: name, outcome: 'unchanged' })
      const provider = await requireProvider(deps.store, workspace, name)
      const rows = await deps.store.listCredentials(provider.id)
      const row = chosen(rows, credentialKey)
      if (row === undefined || row.isDisabled) return { deleted: false }
      if (row.grant === null) await disable(deps, row)
      else await unconfigure(deps, provider, row)
      note({ workspace: provider.workspace, type: provider.type, credential: row.key })
      note({ outcome: 'done' })
      deps.onChange(provider)
      return { deleted: true }
    }),
  ]
}

/** The refreshed credential, or why there is none. */
function rotated(
  { clock }: RefreshServiceDeps,
  attempt: {
    readonly name: string
    readonly credential: Credential
    readonly outcome: RefreshOutcome | null
  },
): Credential {
  const { name, credential, outcome } = attempt
  if (outcome === null) {
    const waitMs = nextForcedAtMs(credential) - clock.nowMs()
    throw new AppError('failed_precondition', `"${name}" was refreshed on demand a moment ago`, {
      hint: `Try again in ${Math.ceil(waitMs / 1_000)} s`,
    })
  }
  if (outcome.kind === 'minted') return outcome.credential
  if (outcome.kind === 'failed') {
    const { message, code, advice } = outcome.failure
    throw new AppError('mint_refused', `Cannot refresh "${name}": ${message} (${code})`, {
      hint: advice,
    })
  }
  throw new AppError(
    'version_conflict',
    `"${name}" was changed, or is being refreshed by another gateway`,
    { hint: 'Look at its refresh status and repeat the command' },
  )
}

/**
 * Stops refreshing a credential and serving its token. The row stays, so that a rotation or new
 * material brings it back; the write wins over a mint that is under way, which is then discarded.
 */
async function disable({ store, clock }: RefreshServiceDeps, row: Credential): Promise<void> {
  const saved = await store.saveCredential(afterDisabling(row, clock.nowMs()), null)
  if (saved === null) throw overtaken()
}

function overtaken(): AppError {
  return new AppError('version_conflict', 'The credential was changed by someone else meanwhile', {
    hint: 'Repeat the command',
  })
}

/**
 * The credential of that key. Without a key it is the one that the type mints, or the only one.
 *
 * @throws AppError `invalid_argument` when that is not clear.
 */
function chosen(rows: readonly Credential[], key: string): Credential | undefined {
  if (key !== '') return rows.find(one => outputKeys(one).includes(key))
  const own = ownCredential(rows)
  if (own !== undefined || rows.length < 2) return own ?? rows[0]
  const keys = rows.map(one => one.key).join(', ')
  throw new AppError('invalid_argument', 'The provider has several credentials', {
    hint: `Say which one with --credential-key: ${keys}`,
  })
}

/** The credential as the refresh task made it between our reading and our wish; null if it did not. */
async function mintedSince(
  { store }: RefreshServiceDeps,
  { providerId, key, generation }: Credential,
): Promise<Credential | null> {
  const rows = await store.listCredentials(providerId)
  return rows.find(one => one.key === key && one.generation > generation) ?? null
}

/**
 * Ends a configured refresh, and the token with it. Where the type mints under the same key, it does so
 * again.
 */
async function unconfigure(
  { store, clock, rules }: RefreshServiceDeps,
  provider: ProviderRecord,
  row: Credential,
): Promise<void> {
  const type = await typeOf(store, provider)
  const nowMs = clock.nowMs()
  const isOwn =
    row.key === type.tokenKey &&
    checkConfiguration({ clock, rules }, type, { provider, rows: [], mayBeBare: true })
  const own = { ...newCredential(provider.id, row.key, nowMs), version: row.version }
  const isDone = isOwn
    ? (await store.configureCredential({ ...own, generation: row.generation })) !== null
    : await store.removeCredential(row)
  if (!isDone) throw overtaken()
}

/** The provider's credential of that key, or its only one when the key is ''. */
async function requireCredential(
  store: Store,
  provider: ProviderRecord,
  key: string,
): Promise<Credential> {
  const rows = await store.listCredentials(provider.id)
  const found = chosen(rows, key)
  if (found !== undefined) return found
  throw new AppError(
    'failed_precondition',
    `Provider "${provider.name}" has no credential to refresh`,
  )
}

/** The statuses of a workspace, those of providers that cannot be read included. */
async function allStatuses(deps: RefreshServiceDeps, workspace: string) {
  const all = []
  for await (const { providers, damaged } of providerPages(deps.store, workspace)) {
    const statuses = await Promise.all(providers.map(one => statusesOf(deps, one)))
    all.push(...statuses.flat(), ...damaged.map(damagedStatus))
  }
  return all
}
