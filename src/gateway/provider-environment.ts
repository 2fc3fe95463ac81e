import { createHash } from 'node:crypto'
import { type Credential, usableToken } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import { outputKeys, outputsOf } from '../core/outputs.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { FullSandbox } from '../core/sandbox.ts'
import type { Secret } from '../core/secret.ts'
import type { ProviderRules } from '../providers/provider-type.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import { profileOfProvider } from './profiles.ts'
import { typeOf } from './provider-types.ts'
import { withConfigured } from './route-credential.ts'

/** A model id that any type accepts: what is asked for is the address and the credential. */
const ANY_MODEL = 'model'

const HTTPS_PORT = 443

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
  /** Where it may be sent; never empty. */
  readonly destinations: readonly Destination[]
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
    for (const [key, value] of await configOf(deps, provider)) {
      if (!config.has(key)) config.set(key, value)
    }
  }
  return { credentials, config, revision: revisionOf(credentials, config) }
}

/** The names under which a provider's credentials stand in an environment, now or later. */
async function environmentKeys(
  deps: KeyDeps,
  provider: ProviderRecord,
): Promise<readonly string[]> {
  const brings = await readBrings(deps, provider)
  const own = brings.staticKeys.filter(key => provider.material.has(key))
  return [...new Set([...own, ...brings.rows.flatMap(outputKeys)])]
}

type KeyDeps = Omit<EnvironmentDeps, 'clock'>

/**
 * Refuses providers of which two would give one sandbox's environment the same variable.
 *
 * @throws AppError `failed_precondition`.
 */
export async function refuseCollisions(
  deps: KeyDeps,
  providers: readonly ProviderRecord[],
): Promise<void> {
  const holders = new Map<string, string>()
  for (const provider of providers) {
    for (const key of await environmentKeys(deps, provider)) {
      const other = holders.get(key)
      if (other !== undefined) throw collision([other, provider.name], key)
      holders.set(key, provider.name)
    }
  }
}

/**
 * Refuses a provider whose variables those beside it in any sandbox set already; `also` are keys that it
 * is about to have.
 *
 * @throws AppError `failed_precondition`.
 */
export async function refuseCollisionsOf(
  deps: KeyDeps,
  provider: ProviderRecord,
  also: readonly string[] = [],
): Promise<void> {
  const beside = await deps.store.listProvidersBeside(provider.id)
  if (beside.length === 0) return
  const keys = new Set([...(await environmentKeys(deps, provider)), ...also])
  for (const id of beside) {
    const other = await deps.store.getProviderById(id)
    if (other === null) continue
    const taken = (await environmentKeys(deps, other)).find(key => keys.has(key))
    if (taken !== undefined) throw collision([other.name, provider.name], taken)
  }
}

function collision([one, other]: readonly [string, string], key: string): AppError {
  return new AppError(
    'failed_precondition',
    `Providers "${one}" and "${other}" both set ${key} in one sandbox`,
    { hint: 'Attach one of them only' },
  )
}

/** What a provider can bring into an environment. */
interface Brings {
  /** Credentials whose tokens may go there. */
  readonly rows: readonly Credential[]
  /** Keys of the material that the vendor takes as they are. */
  readonly staticKeys: readonly string[]
  readonly destinations: readonly Destination[]
}

const NOTHING: Brings = { rows: [], staticKeys: [], destinations: [] }

/** A type that serves a route brings what a router would have; any other what its profile describes. */
async function readBrings({ store, rules }: KeyDeps, provider: ProviderRecord): Promise<Brings> {
  const rows = await store.listCredentials(provider.id)
  const type = await typeOf(store, provider).catch(orNull)
  if (type === null) return NOTHING
  if (type.servesRoute?.(provider) === false) return described(store, provider, rows)
  const route = attempt(() => type.route(withConfigured(provider, rows), ANY_MODEL, rules))
  // Keys that sign requests are no variable: only a router can use them.
  if (route === null || route.shape.auth.kind === 'sigv4') return NOTHING
  const { hostname, port, protocol } = new URL(route.shape.baseUrl)
  const usual = protocol === 'http:' ? 80 : HTTPS_PORT
  const configured = new Set(rows.flatMap(outputKeys))
  const { credential } = route
  return {
    rows,
    staticKeys:
      credential.kind === 'material' && !configured.has(credential.key) ? [credential.key] : [],
    destinations: [{ host: hostname, port: port === '' ? usual : Number(port) }],
  }
}

/** What a profile says that its vendor takes in a request, and where. */
async function described(
  store: Store,
  provider: ProviderRecord,
  rows: readonly Credential[],
): Promise<Brings> {
  const profile = await profileOfProvider(store, provider)
  const configured = new Set(rows.flatMap(outputKeys))
  const taken = profile?.credentials.filter(one => one.authStyle !== '') ?? []
  return {
    rows,
    staticKeys: taken.flatMap(one => one.envVars).filter(key => !configured.has(key)),
    destinations: (profile?.endpoints ?? []).flatMap(({ host, port, ports }) =>
      (port === 0 && ports.length > 0 ? ports : [port || HTTPS_PORT, ...ports]).map(one => ({
        ...{ host, port: one },
      })),
    ),
  }
}

async function credentialsOf(
  deps: EnvironmentDeps,
  provider: ProviderRecord,
): Promise<readonly EnvironmentCredential[]> {
  const { rows, staticKeys, destinations } = await readBrings(deps, provider)
  // A supervisor that is told no place for one takes all of them for unusable.
  if (destinations.length === 0) return []
  const nowMs = deps.clock.nowMs()
  const common = { providerId: provider.id, destinations }
  const minted = rows.flatMap(row => {
    const token = usableToken(row, nowMs)
    if (token === null) return []
    const { expiresAtMs } = token
    return [...outputsOf(row, token)].map(([key, value]) => ({
      ...common,
      key,
      value,
      expiresAtMs,
    }))
  })
  const given = staticKeys.flatMap(key => {
    const value = provider.material.get(key)
    const expiresAtMs = provider.expiries.get(key) ?? null
    if (value === undefined || (expiresAtMs !== null && expiresAtMs <= nowMs)) return []
    return [{ ...common, key, value, expiresAtMs }]
  })
  return [...minted, ...given]
}

async function configOf(
  { store, rules }: KeyDeps,
  provider: ProviderRecord,
): Promise<ReadonlyMap<string, string>> {
  const type = await typeOf(store, provider).catch(orNull)
  return attempt(() => type?.agentConfig?.(provider, rules) ?? null) ?? new Map()
}

/** A provider that is misconfigured brings nothing; its status says why. */
function attempt<T>(read: () => T): T | null {
  try {
    return read()
  } catch (error) {
    return orNull(error)
  }
}

function orNull(error: unknown): null {
  if (error instanceof AppError && error.code !== 'store_unavailable') return null
  throw error
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
