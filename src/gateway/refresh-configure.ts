import type { ConfiguredGrant } from '../core/configured-grant.ts'
import type { AccessToken, Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import { outputKeys } from '../core/outputs.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'
import { configuredGrant, missingMaterial } from '../providers/configured-grant.ts'
import type { ProviderRules } from '../providers/provider-type.ts'
import { newCredential, newEpoch } from '../refresh/transition.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Random } from '../system/random.ts'
import type { ProviderProfile } from '../wire/gen/openshell/v1/profile_pb.ts'
import type { ConfigureProviderRefreshRequest } from '../wire/gen/openshell/v1/refresh_pb.ts'
import { URL_MATERIAL } from './profile-check.ts'
import { credentialOf, profileOfProvider } from './profiles.ts'
import { refuseCollisionsOf } from './provider-environment.ts'
import { strategyFromWire, strategyToWire } from './refresh-strategy.ts'
import { checkMaterial } from './validate.ts'

/** Times that a person may give among the material; they overrule those of the profile. */
const TIMES = ['refresh_before_seconds', 'max_lifetime_seconds']

const SECONDS_MAX = 86_400 * 365

/** How long before its end a token of which only the end is known is renewed. */
const LEAD_SECONDS = 300

/** From here on requests wait for the next token, before the end of one that was handed in. */
const MANDATORY_MS = 60_000

/** What one session of AWS brings besides the access key, where no profile says it. */
const AWS_OUTPUTS: ReadonlyMap<string, string> = new Map([
  ['secret_access_key', 'AWS_SECRET_ACCESS_KEY'],
  ['session_token', 'AWS_SESSION_TOKEN'],
])

/** What a configuration needs. */
export interface ConfigureDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly rules: ProviderRules
}

/**
 * Configures how one key of a provider is refreshed. Nothing is minted here: the credential is due at
 * once, unless a static token of that key stands, whose end the caller names. A mint of the same key
 * that is under way loses its race.
 *
 * @throws AppError `invalid_argument` and the like for what could never work, `failed_precondition` for
 * a key that another refresh brings, `version_conflict` when someone else was faster.
 */
export async function configureRefresh(
  deps: ConfigureDeps,
  provider: ProviderRecord,
  request: ConfigureProviderRefreshRequest,
): Promise<Credential> {
  const key = checkKey(request.credentialKey)
  const profile = await profileOfProvider(deps.store, provider)
  const grant = grantOf(deps, profile, request)
  const rows = await deps.store.listCredentials(provider.id)
  refuseCollision(rows, { key, grant })
  await refuseCollisionsOf(deps, provider, outputKeys({ key, grant }))
  configuredGrant(grant, deps.clock.nowMs(), deps.rules)
  const standing = rows.find(one => one.key === key)
  const wanted = credentialFor(deps, { provider, key, grant, standing, request })
  const saved = await deps.store.configureCredential(wanted)
  if (saved === null) throw overtaken(provider.name, key)
  await takeFromMaterial(deps.store, provider, outputKeys(saved))
  return saved
}

function grantOf(
  { random }: ConfigureDeps,
  profile: ProviderProfile | null,
  request: ConfigureProviderRefreshRequest,
): ConfiguredGrant {
  const described = credentialOf(profile, request.credentialKey)?.refresh
  const strategy = strategyFromWire(request.strategy, described?.strategy)
  // What a profile says of another strategy says nothing about this one.
  const fitting = described?.strategy === strategyToWire(strategy) ? described : undefined
  const given = readMaterial(request.material)
  const material = new Map([...given].filter(([name]) => !TIMES.includes(name)))
  const required = fitting?.material.filter(one => one.required).map(one => one.name) ?? []
  const missing = new Set([
    ...required.filter(name => !material.has(name)),
    ...missingMaterial(strategy, material),
  ])
  if (missing.size > 0) {
    throw new AppError('invalid_argument', `The material lacks ${[...missing].join(', ')}`, {
      hint: 'Give it as --material NAME=VALUE, or --secret-material-env NAME for a secret',
    })
  }
  const outputs = fitting?.additionalOutputs.map(({ output, credential }) => {
    const target = profile?.credentials.find(one => one.name === credential)
    return [output, target?.envVars[0] ?? ''] as const
  })
  return {
    epoch: newEpoch(random),
    strategy,
    material,
    tokenUrl: fitting?.tokenUrl ?? '',
    scopes: fitting?.scopes ?? [],
    refreshBeforeSeconds:
      secondsOf(given, 'refresh_before_seconds') ?? Number(fitting?.refreshBeforeSeconds ?? 0n),
    maxLifetimeSeconds:
      secondsOf(given, 'max_lifetime_seconds') ?? Number(fitting?.maxLifetimeSeconds ?? 0n),
    outputs: strategy === 'aws_sts_assume_role' ? awsOutputs(outputs) : new Map(),
  }
}

function awsOutputs(
  outputs: readonly (readonly [string, string])[] | undefined,
): ReadonlyMap<string, string> {
  return outputs === undefined ? AWS_OUTPUTS : new Map(outputs)
}

function readMaterial(given: Readonly<Record<string, string>>): ReadonlyMap<string, Secret> {
  const address = Object.keys(given).find(name => URL_MATERIAL.includes(name))
  if (address !== undefined) {
    throw new AppError('invalid_argument', `"${address}" is no material`, {
      hint: "Where a token comes from is said by the provider's profile, as its token_url",
    })
  }
  return checkMaterial(given)
}

function secondsOf(material: ReadonlyMap<string, Secret>, name: string): number | null {
  const text = material.get(name)?.reveal()
  if (text === undefined) return null
  const seconds = Number(text)
  if (/^\d{1,9}$/.test(text) && seconds <= SECONDS_MAX) return seconds
  throw new AppError('invalid_argument', `${name} is not a number of seconds`)
}

/** The row: what serves at present serves on until the new material has brought a token. */
function credentialFor(
  { clock }: ConfigureDeps,
  options: {
    readonly provider: ProviderRecord
    readonly key: string
    readonly grant: ConfiguredGrant
    readonly standing: Credential | undefined
    readonly request: ConfigureProviderRefreshRequest
  },
): Credential {
  const { provider, key, grant, standing, request } = options
  const nowMs = clock.nowMs()
  const fresh = newCredential(provider.id, key, nowMs)
  const configured = { ...fresh, version: standing?.version ?? 0, grant }
  if (standing !== undefined && standing.token !== null) {
    const { generation, token, mandatoryAtMs, history } = standing
    return { ...configured, generation, token, mandatoryAtMs, history }
  }
  const token = handedIn(provider, key, { nowMs, expiresAtMs: request.expiresAtMs })
  if (token === null) return configured
  const leadMs = (grant.refreshBeforeSeconds || LEAD_SECONDS) * 1_000
  return {
    ...configured,
    generation: 1,
    token,
    dueAtMs: Math.max(nowMs, token.expiresAtMs - leadMs),
    mandatoryAtMs: token.expiresAtMs - MANDATORY_MS,
    history: [{ atMs: nowMs, state: 'valid', class: '', code: '' }],
  }
}

/** The static token that stands under the key, when its end is known and to come. */
function handedIn(
  { material, expiries }: ProviderRecord,
  key: string,
  { nowMs, expiresAtMs }: { readonly nowMs: number; readonly expiresAtMs: bigint | undefined },
): AccessToken | null {
  const value = material.get(key)
  const endMs = expiresAtMs === undefined ? expiries.get(key) : Number(expiresAtMs)
  if (value === undefined || endMs === undefined || endMs <= nowMs) return null
  return { value, issuedAtMs: nowMs, expiresAtMs: endMs }
}

/** What is refreshed has its place among the credentials alone: a static copy would outlive it. */
async function takeFromMaterial(
  store: Store,
  provider: ProviderRecord,
  keys: readonly string[],
): Promise<void> {
  if (!keys.some(key => provider.material.has(key))) return
  const material = new Map([...provider.material].filter(([key]) => !keys.includes(key)))
  const expiries = new Map([...provider.expiries].filter(([key]) => !keys.includes(key)))
  // Whoever changed the provider meanwhile sees to it; the credential is looked at first anyway.
  await store.updateProvider({ ...provider, expiries }, { ...provider, material }, null)
}

function refuseCollision(
  rows: readonly Credential[],
  wanted: Pick<Credential, 'key' | 'grant'>,
): void {
  const others = rows.filter(one => one.key !== wanted.key)
  const taken = new Set(others.flatMap(outputKeys))
  const key = outputKeys(wanted).find(one => taken.has(one))
  if (key === undefined) return
  throw new AppError('failed_precondition', `${key} is refreshed already, with another key`, {
    hint: "See 'openshell provider refresh status'",
  })
}

function checkKey(key: string): string {
  if (/^[A-Za-z_][A-Za-z0-9_]{0,255}$/.test(key)) return key
  throw new AppError(
    'invalid_argument',
    `"${key.slice(0, 64)}" cannot be refreshed: a credential key is the name of a variable`,
  )
}

function overtaken(name: string, key: string): AppError {
  return new AppError(
    'version_conflict',
    `The refresh of ${key} of "${name}" was configured by someone else meanwhile`,
    { hint: 'Look at its refresh status and repeat the command' },
  )
}
