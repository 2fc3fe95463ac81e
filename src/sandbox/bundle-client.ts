import type { ServiceError } from '@grpc/grpc-js'
import type { Bundle } from '../core/bundle.ts'
import { AppError, type ErrorCode } from '../core/errors.ts'
import type { RejectionReport, ReportRejected } from '../router/renewal.ts'
import type { RouteTable } from '../router/route-table.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import type { Random } from '../system/random.ts'
import { bundleFromWire } from '../wire/bundle.ts'
import { callUnary, type GatewayChannel, openStream } from '../wire/client.ts'
import { fromServiceError } from '../wire/errors.ts'
import { Delivery } from '../wire/gen/openshell/delivery/v1/delivery_pb.ts'
import {
  type GetInferenceBundleResponse,
  Inference,
} from '../wire/gen/openshell/inference/v1/inference_pb.ts'

const BACKOFF_MIN_MS = 200
const BACKOFF_MAX_MS = 5_000
/** A gateway that refuses, or knows no push, is asked again at this pace: people may mend it. */
const SLOW_RETRY_MS = 30_000
const CALL_TIMEOUT_MS = 5_000

/** What keeps a router's table current. */
export interface BundleClientDeps {
  readonly channel: GatewayChannel
  readonly table: RouteTable
  readonly clock: Clock
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
    first: Promise.withResolvers(),
  }
  const done = Promise.all([watchLoop(deps, delivered, signal), pollLoop(deps, delivered, signal)])
  signal.addEventListener('abort', () => delivered.first.resolve(), { once: true })
  return { ready: delivered.first.promise, done: done.then(() => {}) }
}

/** Reports refused tokens over a channel. Rejects with an `AppError` when the gateway is away. */
export function rejectionReporter(channel: GatewayChannel): ReportRejected {
  return async route => {
    const request = {
      providerName: route.providerName,
      generation: BigInt(route.generation),
      status: 401,
    }
    const answer = await callUnary(channel, Delivery.method.reportRejectedToken, request, {
      timeoutMs: CALL_TIMEOUT_MS,
    })
    return {
      outcome: outcomeOf(answer.outcome),
      message: answer.message,
      nextAttemptAtMs: Number(answer.nextAttemptAtMs),
    }
  }
}

/** An outcome that a newer gateway may add is waited for, like a refresh. */
function outcomeOf(outcome: string): RejectionReport['outcome'] {
  return outcome === 'known' || outcome === 'refused' ? outcome : 'refreshing'
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
    const error = await watchOnce(deps, delivered, signal)
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

/** One stream, from opening to its end, which is always an error: the gateway never ends it. */
function watchOnce(
  deps: BundleClientDeps,
  delivered: Delivered,
  signal: AbortSignal,
): Promise<AppError> {
  const { promise, resolve } = Promise.withResolvers<AppError>()
  const stream = openStream(deps.channel, Delivery.method.watchInferenceBundle)
  const cancel = () => stream.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  stream.on('data', ({ bundle }) => {
    if (bundle === undefined) return
    apply(deps, delivered, { bundle, by: 'push' })
    // Only now: the acknowledgement says that requests are served with it.
    stream.write({ revision: delivered.revision })
  })
  stream.on('error', (error: ServiceError) => resolve(fromServiceError(error)))
  stream.on('end', () => {
    stream.end()
    resolve(new AppError('gateway_unreachable', 'The gateway ended the stream of bundles'))
  })
  stream.write({ revision: delivered.revision })
  if (signal.aborted) cancel()
  return promise.finally(() => signal.removeEventListener('abort', cancel))
}

async function pollLoop(
  deps: BundleClientDeps,
  delivered: Delivered,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await deps.clock.sleep(deps.pollIntervalMs, signal)
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
    const options = { timeoutMs: CALL_TIMEOUT_MS, signal }
    const bundle = await callUnary(deps.channel, Inference.method.getInferenceBundle, {}, options)
    // A bundle that was pushed meanwhile may be newer than this answer, never older.
    if (delivered.arrivals === arrivalsBefore) apply(deps, delivered, { bundle, by: 'poll' })
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    // The watching loop speaks about the gateway's absence; saying it twice helps nobody.
    deps.log.debug('poll.failed', { code: error.code, error })
  }
}

function apply(
  { table, log }: BundleClientDeps,
  delivered: Delivered,
  arrival: { readonly bundle: GetInferenceBundleResponse; readonly by: 'push' | 'poll' },
): void {
  delivered.arrivals += 1
  if (delivered.isLost && arrival.by === 'push') {
    delivered.isLost = false
    log.info('gateway.found')
  }
  const bundle: Bundle = bundleFromWire(arrival.bundle)
  if (table.current() === null || bundle.revision !== delivered.revision) {
    table.swap(bundle)
    delivered.revision = bundle.revision
    log.info('bundle.applied', {
      revision: bundle.revision,
      by: arrival.by,
      routes: bundle.routes.length,
      failures: bundle.failures.length,
    })
  }
  delivered.first.resolve()
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
