import type { ConfiguredGrant } from '../core/configured-grant.ts'
import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { Failure } from '../core/failure.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'
import { isEndpointTrouble, unreachableFailure } from '../oauth/refusal.ts'
import type { CredentialRefresher, RefreshResult } from '../providers/refresher.ts'
import type { ContentChange, Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import type { Random } from '../system/random.ts'
import type { RefreshCause } from './cause.ts'
import { abandonedUntilMs, checkClaim, holdClaim, LostClaim } from './claim.ts'
import type { Work } from './in-flight.ts'
import { patiently } from './patiently.ts'
import { isRenewalPressing, isUrgent } from './policy.ts'
import type { TokenHosts } from './token-hosts.ts'
import {
  type AttemptResult,
  afterAttempt,
  afterNothing,
  isParked,
  newEpoch,
  OVERSPENT,
  SPENDS_MAX,
} from './transition.ts'

/** Whoever stood in line as long as this looks whether it is still wanted. */
const LONG_WAIT_MS = 100

/** How long a request near the token's end goes without an answer before another is sent beside it. */
const HEDGE_MS = 2_000

/** The first request's own deadline comes before a fifth would be due. */
const HEDGES_MAX = 4

/**
 * What happened to one attempt. `discarded`: the provider was edited or deleted meanwhile, another
 * gateway mints, or ours stopped before it began.
 */
export type RefreshOutcome =
  | { readonly kind: 'minted'; readonly credential: Credential }
  | { readonly kind: 'failed'; readonly credential: Credential; readonly failure: Failure }
  | { readonly kind: 'discarded' }

/** What spectators learn of an attempt: logs, metrics, delivery. */
export interface RefreshEvent {
  readonly provider: ProviderRecord
  readonly cause: RefreshCause
  readonly outcome: RefreshOutcome
  /** What became of the provider's candidate; null when it had none. */
  readonly candidate: 'kept' | 'promoted' | 'dropped' | null
  readonly elapsedMs: number
}

/** What an attempt needs. */
export interface AttemptDeps {
  /** Names this gateway in claims, the same after a restart. */
  readonly owner: string
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** `grant` is what a person configured for the credential; null where the type says it. */
  readonly refresherOf: (
    provider: ProviderRecord,
    grant: ConfiguredGrant | null,
  ) => CredentialRefresher
  readonly onOutcome: (event: RefreshEvent) => void
}

/** The attempt that is under way, as far as it may change meanwhile. */
type Attempted = Pick<Work<RefreshOutcome>, 'claimed' | 'sentAtMs' | 'isSuspect'>

/**
 * What happens in one attempt: read the provider, record the intent to spend what may be spent only
 * once, mint, plan, write. New material is tried before the standing one, which is tried in the same
 * attempt when its token is about to end.
 */
export function createAttempt(
  deps: AttemptDeps,
  options: { readonly hosts: TokenHosts; readonly stopping: AbortSignal },
): (work: Attempted, cause: RefreshCause) => Promise<RefreshOutcome> {
  return async (work, cause) => {
    const { providerId } = work.claimed
    const claimedMs = deps.clock.monotonicMs()
    // Read after the claim: an edit from now on makes this attempt lose its race.
    const read = await patiently(deps, () => deps.store.getProviderById(providerId))
    if (read === null) return { kind: 'discarded' }
    // A candidate is for the credential that the type mints; a configured one has material of its own.
    const provider = work.claimed.grant === null ? read : { ...read, candidate: null }
    const startedMs = deps.clock.monotonicMs()
    const isLate = startedMs - claimedMs >= LONG_WAIT_MS
    const begin = isLate ? checkClaim(deps, work) : Promise.resolve()
    const done = await begin
      .then(() => {
        const nowMs = deps.clock.nowMs()
        const { owner } = deps
        const waitUntilMs =
          cause.reason === 'due' ? abandonedUntilMs(work.claimed, { owner, nowMs }) : 0
        return nowMs < waitUntilMs
          ? leaveAlone(deps, work, waitUntilMs)
          : complete({ ...deps, ...options }, work, provider)
      })
      .catch((error: unknown) => {
        if (error instanceof LostClaim) return DISCARDED
        throw error
      })
    const elapsedMs = deps.clock.monotonicMs() - startedMs
    const candidate = provider.candidate === null ? null : done.candidate
    deps.onOutcome({ provider, cause, outcome: done.outcome, candidate, elapsedMs })
    return done.outcome
  }
}

/** Ends the claim without an attempt; it is made when the time has come. */
async function leaveAlone(deps: AttemptDeps, work: Attempted, dueAtMs: number): Promise<Done> {
  const { providerId, key } = work.claimed
  deps.log.warn('refresh.left_alone', { providerId, key, dueInMs: dueAtMs - deps.clock.nowMs() })
  const left = { ...afterNothing(work.claimed), dueAtMs }
  await patiently(deps, () => deps.store.saveCredential(left, null))
  return DISCARDED
}

interface Done {
  readonly outcome: RefreshOutcome
  readonly candidate: 'kept' | 'promoted' | 'dropped'
}

const DISCARDED: Done = { outcome: { kind: 'discarded' }, candidate: 'kept' }

type CompleteDeps = AttemptDeps & { readonly hosts: TokenHosts; readonly stopping: AbortSignal }

async function complete(
  deps: CompleteDeps,
  work: Attempted,
  provider: ProviderRecord,
): Promise<Done> {
  const result = await tryMaterial(deps, work, provider)
  if (result === null) return DISCARDED
  const chance = { nowMs: deps.clock.nowMs(), fraction: deps.random.fraction() }
  const minted = mintedOf(result)
  const rotatedMaterial: ReadonlyMap<string, Secret> = minted?.rotatedMaterial ?? new Map()
  // What is not there is not waited for: it became unreadable, or was taken away.
  const waits = provider.candidate === null ? { candidateDueAtMs: 0 } : {}
  const afterwards = () => {
    const after = afterAttempt({ ...work.claimed, ...waits }, result, chance)
    return { ...after, credential: withRotated(deps, after.credential, rotatedMaterial) }
  }
  const { grant } = work.claimed
  const { candidate } = afterwards()
  const change: ContentChange = { providerVersion: provider.version, rotatedMaterial, candidate }
  const isChanged = grant === null && (rotatedMaterial.size > 0 || candidate !== 'kept')
  // What was rotated exists nowhere else: the store is asked until it takes it.
  const isPrecious = (): boolean => rotatedMaterial.size > 0 && !deps.stopping.aborted
  const write = async () => {
    // Anew at each try, because a claim that ran out meanwhile may have been taken again.
    const { credential } = afterwards()
    const written = await deps.store.saveCredential(credential, isChanged ? change : null)
    // With a lost race what was rotated of a configured grant is not lost.
    const isRescue = written === null && grant !== null && rotatedMaterial.size > 0
    if (isRescue) await deps.store.keepRotated(credential, grant.epoch)
    return written
  }
  const saved = await patiently(deps, write, isPrecious)
  if (saved === null) return DISCARDED
  const failed = failureOf(result)
  if (minted !== null) return { outcome: { kind: 'minted', credential: saved }, candidate }
  const failure = saved.failure ?? saved.candidateFailure ?? failed
  return failure === null
    ? DISCARDED
    : { outcome: { kind: 'failed', credential: saved, failure }, candidate }
}

/** A configured grant holds its material itself; other material is another epoch of it. */
function withRotated(
  { random }: CompleteDeps,
  credential: Credential,
  rotated: ReadonlyMap<string, Secret>,
): Credential {
  const { grant } = credential
  if (grant === null || rotated.size === 0) return credential
  const material = new Map([...grant.material, ...rotated])
  return { ...credential, grant: { ...grant, material, epoch: newEpoch(random) } }
}

/** Null when the gateway stopped while this attempt still stood in line. */
async function tryMaterial(
  deps: CompleteDeps,
  work: Attempted,
  provider: ProviderRecord,
): Promise<AttemptResult | null> {
  const { candidate } = provider
  const isWaiting = deps.clock.nowMs() < work.claimed.candidateDueAtMs
  if (candidate === null || isWaiting) {
    const standing = await mint(deps, work, { provider, spends: 'spends' })
    return standing === null ? null : { standing, candidate: null }
  }
  const renewed = { ...provider, ...candidate }
  const first = await mint(deps, work, { provider: renewed, spends: 'candidateSpends' })
  if (first === null) return null
  const isPressing = isRenewalPressing(work.claimed, deps.clock.nowMs()) && !isParked(work.claimed)
  if (first.kind === 'minted' || !isPressing) return { standing: null, candidate: first }
  await checkClaim(deps, work)
  return {
    standing: await mint(deps, work, { provider, spends: 'spends' }),
    candidate: first,
  }
}

/** Which material is sent, and where its intents are counted. */
interface Sending {
  readonly provider: ProviderRecord
  readonly spends: 'spends' | 'candidateSpends'
}

type Minted = RefreshResult | 'stopped'

async function mint(
  deps: CompleteDeps,
  work: Attempted,
  { provider, spends }: Sending,
): Promise<RefreshResult | null> {
  try {
    const refresher = deps.refresherOf(provider, work.claimed.grant)
    const host = refresher.host(provider)
    // A host that is down is told of once, in words; from then on the credential waits in line.
    const isPatient = work.claimed.failure !== null
    const { providerId, key } = work.claimed
    const visitor = { host, credential: `${providerId} ${key}`, isPatient }
    const arrivedMs = deps.clock.monotonicMs()
    const minted = await deps.hosts.run<Minted>(visitor, async () => {
      if (deps.stopping.aborted) return { value: 'stopped', isInTrouble: null }
      const waitedMs = deps.clock.monotonicMs() - arrivedMs
      if (waitedMs >= LONG_WAIT_MS) await checkClaim(deps, work)
      const value =
        refresher.singleUse(provider) !== null
          ? await spend(deps, work, { provider, spends })
          : await holdClaim(deps, work, null).then(() => send(deps, work, provider))
      const isInTrouble = value.kind === 'failed' && isEndpointTrouble(value.failure)
      return { value, isInTrouble }
    })
    if (minted === 'stopped') return null
    if (minted !== null) return minted
    const failure = unreachableFailure(host, 'no provider gets an answer from it at present')
    return { kind: 'failed', failure }
  } catch (error) {
    // Material or configuration that cannot work: stored with --no-verify, or by an older version.
    if (!(error instanceof AppError) || error.code === 'store_unavailable') throw error
    return { kind: 'failed', failure: configurationFailure(error) }
  }
}

/**
 * Sends what may be spent only once, with the intent recorded first: whoever finds it recorded and no
 * outcome knows that it may be spent. It is sent once more then, and never a third time.
 */
async function spend(
  deps: CompleteDeps,
  work: Attempted,
  { provider, spends }: Sending,
): Promise<RefreshResult> {
  if (work.claimed[spends] >= SPENDS_MAX) return OVERSPENT
  await holdClaim(deps, work, { [spends]: work.claimed[spends] + 1 })
  return send(deps, work, provider)
}

/**
 * Mints; once more when a refusal of the standing token was reported meanwhile, because a token that
 * was asked for before may be of the refused kind. Not when that would throw rotated material away.
 */
async function send(
  deps: CompleteDeps,
  work: Attempted,
  provider: ProviderRecord,
): Promise<RefreshResult> {
  const refresh = (): Promise<RefreshResult> => {
    work.sentAtMs = deps.clock.monotonicMs()
    work.isSuspect = false
    return sendHedged(deps, work.claimed, provider)
  }
  const first = await refresh()
  const isKept = first.kind === 'failed' || first.rotatedMaterial.size > 0
  if (!work.isSuspect || isKept) return first
  const second = await refresh()
  return second.kind === 'minted' ? second : first
}

/**
 * Near and after the token's end nobody has ten seconds to find out that a connection is dead: another
 * request is sent beside the one that hangs, and the first to end decides.
 */
async function sendHedged(
  deps: CompleteDeps,
  credential: Credential,
  provider: ProviderRecord,
): Promise<RefreshResult> {
  const refresher = deps.refresherOf(provider, credential.grant)
  const over = new AbortController()
  const { promise, resolve, reject } = Promise.withResolvers<RefreshResult>()
  const begin = (): void => void refresher.refresh(provider, over.signal).then(resolve, reject)
  const hedge = async (): Promise<void> => {
    for (let more = 0; more < HEDGES_MAX; more += 1) {
      await deps.clock.sleep(HEDGE_MS, over.signal)
      if (over.signal.aborted) return
      begin()
    }
  }
  begin()
  const isNew = credential.token === null && credential.failure === null
  const isPressed = isUrgent(credential.token, deps.clock.nowMs()) && !isNew
  const isHedged = isPressed && refresher.singleUse(provider) === null
  if (isHedged) void hedge()
  try {
    return await promise
  } finally {
    // To call off what has ended costs more than to parse its answer.
    if (isHedged) over.abort()
  }
}

/** What an unusable configuration means to the refresh task. */
function configurationFailure(error: AppError): Failure {
  return {
    class: 'P',
    code: 'refresh_configuration_invalid',
    message: error.message,
    advice: error.hint === '' ? "Mend it with 'openshell provider update'" : error.hint,
    recoveryAction: 'fix_configuration',
    retryAfterMs: 0,
  }
}

function mintedOf({
  standing,
  candidate,
}: AttemptResult): (RefreshResult & { readonly kind: 'minted' }) | null {
  if (candidate?.kind === 'minted') return candidate
  return standing?.kind === 'minted' ? standing : null
}

function failureOf({ standing, candidate }: AttemptResult): Failure | null {
  if (standing?.kind === 'failed') return standing.failure
  return candidate?.kind === 'failed' ? candidate.failure : null
}
