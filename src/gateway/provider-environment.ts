import { createHash } from 'node:crypto'
import { usableToken } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { FullSandbox } from '../core/sandbox.ts'
import type { Secret } from '../core/secret.ts'
import type { ProviderRoute, ProviderRules } from '../providers/provider-type.ts'
import { findProviderType } from '../providers/registry.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'

/** A model id that any type accepts: what is asked for is the address and the credential. */
const ANY_MODEL = 'model'

/** What is needed to say what a sandbox's environment gets of its providers. */
export interface EnvironmentDeps {
  readonly store: Store
  readonly clock: Clock
  readonly rules: ProviderRules
}

/** Where a credential may be sent. */
interface Destination {
  readonly host: string
  readonly port: number
}

/** A credential for a sandbox's supervisor. */
export interface EnvironmentCredential {
  readonly key: string
  readonly value: Secret
  readonly providerId: string
  /** Null for a static key. */
  readonly expiresAtMs: number | null
  readonly destination: Destination
}

/** What a sandbox's supervisor gets of the providers attached to it. */
export interface ProviderEnvironment {
  readonly credentials: readonly EnvironmentCredential[]
  /** Configuration that agents look for; no secret. */
  readonly config: ReadonlyMap<string, string>
  /** 64 bits of a hash of all that; the same for the same. */
  readonly revision: bigint
}

/**
 * What a sandbox gets of its providers: tokens that are good now, and of types whose vendor takes the
 * static key itself that key, as in a bundle; never the material that a token is minted from.
 */
export async function providerEnvironment(
  deps: EnvironmentDeps,
  sandbox: Pick<FullSandbox, 'workspace' | 'providers'>,
): Promise<ProviderEnvironment> {
  const credentials: EnvironmentCredential[] = []
  const config = new Map<string, string>()
  for (const name of sandbox.providers) {
    const provider = await deps.store.getProvider(sandbox.workspace, name)
    if (provider === null) continue
    credentials.push(...(await credentialsOf(deps, provider)))
    for (const [key, value] of configOf(provider, deps.rules)) {
      if (!config.has(key)) config.set(key, value)
    }
  }
  return { credentials, config, revision: revisionOf(credentials, config) }
}

/** The names under which a provider's credentials stand in an environment, now or later. */
function environmentKeys(provider: ProviderRecord, rules: ProviderRules): readonly string[] {
  const route = routeOf(provider, rules)
  if (route === null || isSigned(route)) return []
  const { credential } = route
  return [
    credential.kind === 'material' ? credential.key : findProviderType(provider.type).tokenKey,
  ]
}

/**
 * Refuses providers of which two would give one sandbox's environment the same variable.
 *
 * @throws AppError `failed_precondition`.
 */
export function refuseCollisions(providers: readonly ProviderRecord[], rules: ProviderRules): void {
  const holders = new Map<string, string>()
  for (const provider of providers) {
    for (const key of environmentKeys(provider, rules)) {
      const other = holders.get(key)
      if (other !== undefined) {
        throw new AppError(
          'failed_precondition',
          `Providers "${other}" and "${provider.name}" both set ${key} in one sandbox`,
          { hint: 'Attach one of them only' },
        )
      }
      holders.set(key, provider.name)
    }
  }
}

/** Refuses a provider whose variables those beside it in any sandbox set already. */
export async function refuseCollisionsOf(
  { store, rules }: Omit<EnvironmentDeps, 'clock'>,
  provider: ProviderRecord,
): Promise<void> {
  for (const id of await store.listProvidersBeside(provider.id)) {
    const other = await store.getProviderById(id)
    if (other !== null) refuseCollisions([other, provider], rules)
  }
}

async function credentialsOf(
  deps: EnvironmentDeps,
  provider: ProviderRecord,
): Promise<readonly EnvironmentCredential[]> {
  const route = routeOf(provider, deps.rules)
  if (route === null || isSigned(route)) return []
  const { hostname, port, protocol } = new URL(route.shape.baseUrl)
  const usual = protocol === 'http:' ? 80 : 443
  const destination = { host: hostname, port: port === '' ? usual : Number(port) }
  const common = { providerId: provider.id, destination }
  if (route.credential.kind === 'material') {
    const { key } = route.credential
    const value = provider.material.get(key)
    return value === undefined ? [] : [{ ...common, key, value, expiresAtMs: null }]
  }
  const rows = await deps.store.listCredentials(provider.id)
  return rows.flatMap(row => {
    const token = usableToken(row, deps.clock.nowMs())
    if (token === null) return []
    return [{ ...common, key: row.key, value: token.value, expiresAtMs: token.expiresAtMs }]
  })
}

function configOf(provider: ProviderRecord, rules: ProviderRules): ReadonlyMap<string, string> {
  return orNull(() => findProviderType(provider.type).agentConfig?.(provider, rules)) ?? new Map()
}

function routeOf(provider: ProviderRecord, rules: ProviderRules): ProviderRoute | null {
  return orNull(() => findProviderType(provider.type).route(provider, ANY_MODEL, rules))
}

/** A provider that is misconfigured brings nothing; its status says why. */
function orNull<T>(read: () => T): T | null {
  try {
    return read()
  } catch (error) {
    if (error instanceof AppError) return null
    throw error
  }
}

/** Keys that sign requests are no variable: only a router can use them. */
function isSigned({ shape }: ProviderRoute): boolean {
  return shape.auth.kind === 'sigv4'
}

/** Secrets are revealed into the hash, because a new token is what a revision is for. */
function revisionOf(
  credentials: readonly EnvironmentCredential[],
  config: ReadonlyMap<string, string>,
): bigint {
  const content = [
    credentials.map(one => ({ ...one, value: one.value.reveal() })),
    [...config].sort(),
  ]
  const digest = createHash('sha256').update(JSON.stringify(content)).digest()
  return digest.readBigUInt64BE()
}
