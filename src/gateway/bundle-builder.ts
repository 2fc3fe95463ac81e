import { createHash } from 'node:crypto'
import type { Bundle, RouteFailure } from '../core/bundle.ts'
import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { InferenceRoute } from '../core/provider.ts'
import type { ResolvedRoute } from '../core/route.ts'
import type { ProviderRules } from '../providers/provider-type.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import { typeOf } from './provider-types.ts'
import { routeCredential, withConfigured } from './route-credential.ts'

const DEFAULT_TIMEOUT_SECONDS = 60

/** What the builder needs. */
export interface BundleDeps {
  readonly store: Store
  readonly clock: Clock
  readonly rules: ProviderRules
}

/**
 * Builds a workspace's bundle. A route that cannot be resolved stands in `failures`, in words, and
 * takes no other route down; a token that is past its end is never in `routes`.
 */
export async function buildBundle(deps: BundleDeps, workspace: string): Promise<Bundle> {
  const routes: ResolvedRoute[] = []
  const failures: RouteFailure[] = []
  const generatedAtMs = deps.clock.nowMs()
  const changes = await deps.store.countChanges(workspace)
  for (const route of await deps.store.listRoutes(workspace)) {
    const resolved = await resolve(deps, route)
    if ('code' in resolved) failures.push(resolved)
    else routes.push(resolved)
  }
  const revision = createHash('sha256')
    .update(contentOf(routes, failures))
    .digest('hex')
    .slice(0, 16)
  return { revision, generatedAtMs, changes, routes, failures }
}

async function resolve(
  deps: BundleDeps,
  route: InferenceRoute,
): Promise<ResolvedRoute | RouteFailure> {
  const fail = (code: string, message: string): RouteFailure => ({
    name: route.name,
    providerName: route.providerName,
    code,
    message,
    sinceMs: 0,
    nextAttemptAtMs: 0,
  })
  try {
    const provider = await deps.store.getProvider(route.workspace, route.providerName)
    if (provider === null) {
      return fail('provider_not_found', `Provider "${route.providerName}" does not exist`)
    }
    const type = await typeOf(deps.store, provider)
    const rows = await deps.store.listCredentials(provider.id)
    const view = withConfigured(provider, rows)
    const { shape, credential } = type.route(view, route.modelId, deps.rules)
    const common = {
      ...shape,
      name: route.name,
      providerName: provider.name,
      providerId: provider.id,
      providerType: provider.type,
      timeoutMs:
        (route.timeoutSeconds === 0 ? DEFAULT_TIMEOUT_SECONDS : route.timeoutSeconds) * 1_000,
    }
    const nowMs = deps.clock.nowMs()
    const found = routeCredential({ type, provider, rows }, credential, nowMs)
    if (found.kind === 'missing') return fail('credential_missing', 'it has no token')
    if (found.kind === 'static') {
      const { value, expiresAtMs } = found
      if (expiresAtMs !== null && expiresAtMs <= nowMs) {
        const ended = fail('credential_expired', 'its static credential has ended')
        return { ...ended, sinceMs: expiresAtMs }
      }
      return { ...common, credential: value, generation: 0, expiresAtMs, mandatoryAtMs: null }
    }
    const { row, value } = found
    if (value === null) return tokenFailure(fail, row)
    return {
      ...common,
      credential: value,
      expiresAtMs: row.token?.expiresAtMs ?? null,
      mandatoryAtMs: row.mandatoryAtMs,
      generation: row.generation,
    }
  } catch (error) {
    if (!(error instanceof AppError) || error.code === 'store_unavailable') throw error
    return fail('provider_misconfigured', error.message)
  }
}

function tokenFailure(
  fail: (code: string, message: string) => RouteFailure,
  row: Credential,
): RouteFailure {
  if (row.isDisabled) return fail('credential_disabled', 'its refresh was deleted')
  const sinceMs = row.token?.expiresAtMs ?? row.failingSinceMs
  const { failure } = row
  if (failure === null) {
    const words = row.token === null ? 'its first token is being minted' : 'it is being renewed'
    return { ...fail('credential_refreshing', `it has no valid token: ${words}`), sinceMs }
  }
  const isParked = row.dueAtMs === null
  return {
    ...fail(
      isParked ? 'credential_failed' : 'credential_expired',
      `it has no valid token: ${failure.message}`,
    ),
    sinceMs,
    nextAttemptAtMs: row.dueAtMs ?? 0,
  }
}

/**
 * The text that the revision is a hash of. Secrets are revealed into the hash, because a new token
 * is what a revision is for. When the next attempt is due is left out: it says nothing new to a
 * router and would change the revision at each retry.
 */
function contentOf(routes: readonly ResolvedRoute[], failures: readonly RouteFailure[]): string {
  const plain = (_key: string, value: unknown) => (value instanceof Map ? [...value].sort() : value)
  return JSON.stringify(
    [
      routes.map(route => ({ ...route, credential: route.credential.reveal() })),
      failures.map(failure => ({ ...failure, nextAttemptAtMs: 0 })),
    ],
    plain,
  )
}
