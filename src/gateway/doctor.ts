import { type Credential, usableToken } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'
import { configuredGrant } from '../providers/configured-grant.ts'
import { type Finding, probeRoute } from '../providers/probe.ts'
import type { ProviderRoute, ProviderType } from '../providers/provider-type.ts'
import type { RefresherDeps } from '../providers/refresher.ts'
import type { Store } from '../store/store.ts'
import { mintOnce } from './doctor-mint.ts'
import { isConfigured } from './provider-check.ts'
import { typeOf } from './provider-types.ts'
import { type Reach, reachHost } from './reach.ts'
import { routeCredential, withConfigured } from './route-credential.ts'
import { unknownKeys } from './validate.ts'

/** A model id that any type accepts, for a provider that no route uses yet. */
const ANY_MODEL = 'model'

const PROBE_MS = 20_000

/** One step of an examination. */
export interface Step extends Finding {
  readonly name: 'decode' | 'resolve' | 'mint' | 'probe'
  readonly elapsedMs: number
}

/** What the doctor needs. */
export interface DoctorDeps extends RefresherDeps {
  readonly store: Store
}

/** What a step found, and what the later ones need of it; null when they cannot go on. */
interface Taken<T> {
  readonly finding: Finding
  readonly result: T | null
}

interface Patient {
  readonly type: ProviderType
  readonly provider: ProviderRecord
  readonly rows: readonly Credential[]
  /** '' when nobody has chosen one. */
  readonly modelId: string
}

/** What the material and the configuration say. */
interface Decoded {
  /** Null for a static key. */
  readonly grant: ReturnType<ProviderType['grant']>
}

interface Resolved {
  readonly route: ProviderRoute
  /** The token host is reached, or there is a way without it. */
  readonly mayMint: boolean
  readonly isApiReached: boolean
}

/**
 * Examines a provider from its key to the vendor's answer. It stores nothing, neither a token nor a
 * due time, and does not spend what may be spent only once. `modelId` '' takes the model of the
 * workspace's inference route.
 */
export async function examine(
  deps: DoctorDeps,
  provider: ProviderRecord,
  modelId: string,
): Promise<readonly Step[]> {
  const type = await typeOf(deps.store, provider)
  const rows = await deps.store.listCredentials(provider.id)
  const chosen = modelId === '' ? await routedModel(deps.store, provider) : modelId
  const patient: Patient = { type, provider, rows, modelId: chosen }
  const steps: Step[] = []
  const take = async <T>(name: Step['name'], work: () => Promise<Taken<T>>): Promise<T | null> => {
    const startedMs = deps.clock.monotonicMs()
    const { finding, result } = await work()
    steps.push({ name, ...finding, elapsedMs: deps.clock.monotonicMs() - startedMs })
    return result
  }
  const decoded = await take('decode', async () => decode(deps, patient))
  const resolved = await take('resolve', async () =>
    decoded === null ? skippedAfter('decode') : resolve(deps, patient, decoded),
  )
  const credential = await take('mint', async () => {
    if (decoded === null) return skippedAfter<Secret>('decode')
    if (resolved === null || !resolved.mayMint) return skippedAfter<Secret>('resolve')
    return obtain(deps, patient, { ...decoded, ...resolved })
  })
  await take('probe', async () => {
    if (resolved === null || !resolved.isApiReached) return skippedAfter('resolve')
    if (credential === null) return skippedAfter('mint')
    return probe(deps, patient, { route: resolved.route, credential })
  })
  return steps
}

/** The model of the route that uses this provider, the agents' route first; '' without one. */
async function routedModel(store: Store, provider: ProviderRecord): Promise<string> {
  const routes = (await store.listRoutes(provider.workspace)).filter(
    one => one.providerName === provider.name,
  )
  const route = routes.find(one => one.name === 'inference.local') ?? routes[0]
  return route?.modelId ?? ''
}

/** Whether material and configuration can be read, whatever the network does. */
function decode({ clock, rules }: DoctorDeps, { type, provider, rows }: Patient): Taken<Decoded> {
  try {
    for (const row of rows) {
      if (row.grant !== null) configuredGrant(row.grant, clock.nowMs(), rules)
    }
    const grant = isConfigured(type, rows) ? null : type.grant(provider, clock.nowMs(), rules)
    const serves = type.servesRoute?.(provider) ?? true
    if (serves) type.route(withConfigured(provider, rows), ANY_MODEL, rules)
    const unknown = unknownKeys(type, {
      // A static key may stand under any name: tools export it under their own.
      material: grant === null ? [] : provider.material.keys(),
      config: provider.config.keys(),
    })
    const names = [...provider.material.keys()].sort().join(', ') || 'no credential of its own'
    const finding: Finding =
      unknown.length === 0
        ? passed(`Type ${type.type}, with ${names}`)
        : {
            outcome: 'warning',
            code: 'unknown_key',
            message: `Type ${type.type} does not use ${unknown.join(', ')}`,
            advice: `Compare with 'openshell provider list-profiles ${type.type}'`,
          }
    return { finding, result: { grant } }
  } catch (error) {
    return { finding: refused(error), result: null }
  }
}

/** Where model and token come from, and whether the way there is open. */
async function resolve(
  { clock, rules }: DoctorDeps,
  { type, provider, rows, modelId }: Patient,
  { grant }: Decoded,
): Promise<Taken<Resolved>> {
  let route: ProviderRoute
  try {
    route = type.route(withConfigured(provider, rows), modelId === '' ? ANY_MODEL : modelId, rules)
  } catch (error) {
    return { finding: refused(error), result: null }
  }
  const apiUrl = new URL(route.shape.baseUrl)
  const tokenUrl = grant?.kind === 'request' ? grant.url : null
  const hasFallback = grant?.kind === 'request' && grant.fallback !== null
  const startedMs = clock.monotonicMs()
  const [api, token] = await Promise.all([
    reachHost(apiUrl),
    tokenUrl === null ? null : reachHost(tokenUrl),
  ])
  const elapsedMs = Math.round(clock.monotonicMs() - startedMs)
  const failures = [
    ...(token?.kind === 'failed' ? [unreached('token host', tokenUrl ?? apiUrl, token)] : []),
    ...(api.kind === 'failed' ? [unreached('API host', apiUrl, api)] : []),
  ]
  const [worst] = failures
  const model = modelId === '' ? '' : `, model ${route.shape.modelId}`
  const hosts = `API host ${apiUrl.host}${tokenUrl === null ? '' : `, token host ${tokenUrl.host}`}`
  const finding: Finding =
    worst === undefined
      ? passed(`Reached ${hosts} within ${elapsedMs} ms${model}`)
      : { ...worst, message: failures.map(one => one.message).join('; ') }
  return {
    finding,
    result: {
      route,
      mayMint: token?.kind !== 'failed' || hasFallback,
      isApiReached: api.kind === 'reached',
    },
  }
}

/** What the probe sends: the key itself, a token minted for it, or the one in store. */
async function obtain(
  deps: DoctorDeps,
  { type, provider, rows }: Patient,
  { grant, route }: Decoded & Resolved,
): Promise<Taken<Secret>> {
  const found = routeCredential({ type, provider, rows }, route.credential, deps.clock.nowMs())
  if (found.kind === 'token' && found.row.grant !== null) {
    const instead = found.value === null ? 'there is no token in store' : 'its token serves'
    return {
      finding: skipped(`The refresh of ${found.row.key} is configured by itself: ${instead}`),
      result: found.value,
    }
  }
  if (route.credential.kind === 'material') {
    const key = provider.material.get(route.credential.key) ?? null
    return { finding: skipped('A static key: there is nothing to mint'), result: key }
  }
  if (grant?.kind === 'request' && grant.singleUse !== null) {
    const row = rows.find(one => one.key === type.tokenKey)
    const token = row === undefined ? null : usableToken(row, deps.clock.nowMs())
    const instead = token === null ? 'and there is no token in store' : 'the token in store serves'
    return {
      finding: skipped(`The refresh token may be spent only once: it is kept, ${instead}`),
      result: token?.value ?? null,
    }
  }
  return mintOnce(deps, type, provider)
}

async function probe(
  deps: DoctorDeps,
  { type, provider, modelId }: Patient,
  { route, credential }: { readonly route: ProviderRoute; readonly credential: Secret },
): Promise<Taken<never>> {
  const late = new AbortController()
  const stopTimer = new AbortController()
  void deps.clock.sleep(PROBE_MS, stopTimer.signal).then(() => late.abort())
  try {
    const target = {
      shape: route.shape,
      hasModel: modelId !== '',
      credential,
      secrets: [...provider.material.values()],
      rules: type.probeRules ?? [],
    }
    return { finding: await probeRoute(deps, target, late.signal), result: null }
  } finally {
    stopTimer.abort()
  }
}

const WAYS = {
  dns: {
    code: 'dns_failed',
    advice: 'Check the name in the configuration, and that the gateway can resolve it',
  },
  connect: {
    code: 'connect_failed',
    advice: 'Open the way from the gateway to that host and port: firewall, network, address',
  },
  tls: {
    code: 'tls_failed',
    advice:
      'Another certificate than the vendor’s is shown, by a proxy perhaps: make its CA known to the gateway with NODE_EXTRA_CA_CERTS',
  },
} as const

function unreached(
  label: string,
  url: URL,
  { stage, reason }: Extract<Reach, { kind: 'failed' }>,
): Finding {
  const { code, advice } = WAYS[stage]
  const message = `Cannot reach ${label} ${url.host}: ${stage} (${reason})`
  return { outcome: 'failed', code, message, advice }
}

/** What the provider type itself says of material or configuration that cannot work. */
function refused(error: unknown): Finding {
  if (!(error instanceof AppError)) throw error
  return { outcome: 'failed', code: error.code, message: error.message, advice: error.hint }
}

function passed(message: string): Finding {
  return { outcome: 'ok', code: '', message, advice: '' }
}

function skipped(message: string): Finding {
  return { outcome: 'skipped', code: '', message, advice: '' }
}

function skippedAfter<T = never>(name: Step['name']): Taken<T> {
  return { finding: skipped(`Needs what step "${name}" did not bring`), result: null }
}
