import { AppError, type ErrorCode } from '../core/errors.ts'
import { isOutdated } from '../router/bundle-order.ts'
import type { GatewayClock } from '../router/gateway-clock.ts'
import type { RouteTable } from '../router/route-table.ts'
import type { Log } from '../system/log.ts'
import type { Random } from '../system/random.ts'
import type { DeliveredBundle, GatewayLink } from './gateway-link.ts'

const BACKOFF_MIN_MS = 200
const BACKOFF_MAX_MS = 5_000
/** A gateway that refuses, or knows no push, is asked again at this pace: people may mend it. */
const SLOW_RETRY_MS = 30_000
/** A first answer that took longer tells the time too vaguely. */
const SLOW_CONNECT_MS = 200
/** A machine whose clock is off by more than this is told so. */
const CLOCK_OFFSET_MS = 5_000

/** What keeps a router's table current. */
export interface BundleClientDeps {
  readonly link: GatewayLink
  readonly table: RouteTable
  /** Told the gateway's time with each bundle. */
  readonly clock: GatewayClock
  readonly random: Random
  readonly log: Log
  /** How often the bundle is fetched beneath the push. */
  readonly pollIntervalMs: number
}

/** A running client; it ends with its signal. */
export interface BundleClient {
  /** Resolves with the first bundle, or when the client ends. */
  readonly ready: Promise<void>
  /** Resolves when the client has ended. */
  readonly done: Promise<void>
}

/** What is remembered between the turns of the two loops. */
interface Delivered {
  /** What the router serves; '' before the first bundle. */
  revision: string
  /** Whether the loss of the gateway was logged, and its return not yet. */
  isLost: boolean
  /** Counts the bundles that arrived, by push or poll, unchanged ones too. */
  arrivals: number
  /** Whether it was logged that the machine's clock is off. */
  isClockOff: boolean
  /** Ends the wait for the next poll. */
  pollNow: () => void
  readonly first: PromiseWithResolvers<void>
}

/**
 * Keeps the route table current: by push while the gateway streams, and beneath it by polling, which
 * is all that an older gateway knows. Without a gateway the table keeps what it has; the router
 * itself stops sending a token that died.
 */
export function startBundleClient(deps: BundleClientDeps, signal: AbortSignal): BundleClient {
  const delivered: Delivered = {
    revision: '',
    isLost: false,
    arrivals: 0,
    isClockOff: false,
    pollNow: () => {},
    first: Promise.withResolvers(),
  }
  const done = Promise.all([watchLoop(deps, delivered, signal), pollLoop(deps, delivered, signal)])
  signal.addEventListener('abort', () => delivered.first.resolve(), { once: true })
  return { ready: delivered.first.promise, done: done.then(() => {}) }
}

async function watchLoop(
  deps: BundleClientDeps,
  delivered: Delivered,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log, random } = deps
  let failures = 0
  let lastCode: ErrorCode | null = null
  while (!signal.aborted) {
    const arrivalsBefore = delivered.arrivals
    const learnTime = clock.ask()
    const askedAtMs = clock.monotonicMs()
    const session = {
      revision: () => delivered.revision,
      onBundle: ({ bundle, sentAtMs }: DeliveredBundle) => {
        noteOffset(deps, delivered, learnTime(sentAtMs))
        apply(deps, delivered, { bundle, by: 'push' })
        // It was on its way for long, or the gateway's clock was set back: a poll tells. So it does
        // when connecting took long, for a first answer counts from before that.
        const isOld = clock.nowMs() - sentAtMs > CLOCK_OFFSET_MS
        const isVague =
          delivered.arrivals === arrivalsBefore + 1 &&
          clock.monotonicMs() - askedAtMs > SLOW_CONNECT_MS
        if (sentAtMs > 0 && (isOld || isVague)) delivered.pollNow()
      },
    }
    const error = await deps.link.watch(session, signal)
    if (signal.aborted) return
    const wasServed = delivered.arrivals > arrivalsBefore
    failures = wasServed ? 1 : failures + 1
    // One line for each change of trouble, however long it lasts.
    if (wasServed || error.code !== lastCode) logLoss(log, error)
    lastCode = error.code
    delivered.isLost = true
    if (error.code === 'unimplemented') await pollOnce(deps, delivered, signal)
    const spanMs = isSlow(error.code) ? SLOW_RETRY_MS : backoffMs(failures)
    await clock.sleep(spanMs * (0.5 + random.fraction() / 2), signal)
  }
}

async function pollLoop(
  deps: BundleClientDeps,
  delivered: Delivered,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const wait = new AbortController()
    delivered.pollNow = () => wait.abort()
    await deps.clock.sleep(deps.pollIntervalMs, AbortSignal.any([signal, wait.signal]))
    if (!signal.aborted) await pollOnce(deps, delivered, signal)
  }
}

async function pollOnce(
  deps: BundleClientDeps,
  delivered: Delivered,
  signal: AbortSignal,
): Promise<void> {
  const arrivalsBefore = delivered.arrivals
  try {
    const learnTime = deps.clock.ask()
    const { bundle, sentAtMs } = await deps.link.poll(signal)
    noteOffset(deps, delivered, learnTime(sentAtMs))
    // A bundle that was pushed meanwhile may be newer than this answer, never older.
    if (delivered.arrivals === arrivalsBefore) apply(deps, delivered, { bundle, by: 'poll' })
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    // The watching loop speaks about the gateway's absence; saying it twice helps nobody.
    deps.log.debug('poll.failed', { code: error.code, error })
  }
}

function apply(
  { table, clock, log }: BundleClientDeps,
  delivered: Delivered,
  { bundle, by }: Pick<DeliveredBundle, 'bundle'> & { readonly by: 'push' | 'poll' },
): void {
  delivered.arrivals += 1
  if (delivered.isLost && by === 'push') {
    delivered.isLost = false
    log.info('gateway.found')
  }
  const { revision } = bundle
  const served = table.current()
  if (served !== null && isOutdated(bundle, { served, nowMs: clock.nowMs() })) {
    log.warn('bundle.outdated', { revision, by, serves: delivered.revision })
  } else if (served === null || revision !== delivered.revision) {
    table.swap(bundle)
    delivered.revision = revision
    const { routes, failures } = bundle
    log.info('bundle.applied', { revision, by, routes: routes.length, failures: failures.length })
  }
  delivered.first.resolve()
}

/** One line when the machine's clock is found to be off, however often the gateway says its time. */
function noteOffset({ log }: BundleClientDeps, delivered: Delivered, aheadMs: number): void {
  const isOff = Math.abs(aheadMs) > CLOCK_OFFSET_MS
  if (isOff && !delivered.isClockOff) {
    log.warn('clock.offset', { aheadMs, advice: "Tokens are judged by the gateway's clock" })
  }
  delivered.isClockOff = isOff
}

function logLoss(log: Log, error: AppError): void {
  const fields = { code: error.code, message: error.message }
  if (error.code === 'unimplemented') log.info('push.unsupported', fields)
  else if (isSlow(error.code)) log.error('gateway.refused', { ...fields, advice: REFUSAL_ADVICE })
  else log.warn('gateway.lost', fields)
}

const REFUSAL_ADVICE = 'Make a new token with "openshell sandbox token NAME"'

function isSlow(code: ErrorCode): boolean {
  return ['unauthenticated', 'permission_denied', 'not_found', 'unimplemented'].includes(code)
}

function backoffMs(failures: number): number {
  return Math.min(BACKOFF_MIN_MS * 2 ** (failures - 1), BACKOFF_MAX_MS)
}
