import type { Client, ServiceError } from '@grpc/grpc-js'
import { AppError } from '../core/errors.ts'
import type { RejectionReport, ReportRejected } from '../router/renewal.ts'
import { bundleFromWire } from '../wire/bundle.ts'
import { callUnary, type GatewayChannel, openStream } from '../wire/client.ts'
import { fromServiceError } from '../wire/errors.ts'
import { Delivery } from '../wire/gen/openshell/delivery/v1/delivery_pb.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import type { GatewayLink, WatchSession } from './gateway-link.ts'

const CALL_TIMEOUT_MS = 5_000

/** The link to a gateway over gRPC. The channel stays the caller's to close. */
export function grpcGatewayLink(channel: GatewayChannel): GatewayLink {
  let watched: Client | null = null
  return {
    async watch(session, signal) {
      watched = channel.client
      const error = await watch(channel, session, signal)
      watched = null
      return error
    },
    async poll(signal) {
      // Where the stream is, or two gateways would count this router.
      if (watched !== null) channel.stay(watched)
      const options = { timeoutMs: CALL_TIMEOUT_MS, signal }
      const wire = await atAny(channel, () =>
        callUnary(channel, Inference.method.getInferenceBundle, {}, options),
      )
      return { bundle: bundleFromWire(wire), sentAtMs: Number(wire.sentAtMs) }
    },
    reportRejected: rejectionReporter(channel),
  }
}

/** What may be asked twice is asked of the next gateway when one is not there. */
async function atAny<T>(channel: GatewayChannel, call: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await call()
    } catch (error) {
      const isAway = error instanceof AppError && error.code === 'gateway_unreachable'
      if (!isAway || tries >= channel.endpoints) throw error
    }
  }
}

async function watch(
  channel: GatewayChannel,
  session: WatchSession,
  signal: AbortSignal,
): Promise<AppError> {
  const { promise, resolve } = Promise.withResolvers<AppError>()
  const { client } = channel
  const stream = openStream(channel, Delivery.method.watchInferenceBundle)
  const cancel = () => stream.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  stream.on('data', ({ bundle, sentAtMs }) => {
    if (bundle === undefined) return
    session.onBundle({ bundle: bundleFromWire(bundle), sentAtMs: Number(sentAtMs) })
    // Only now: the acknowledgement says that requests are served with it.
    stream.write({ revision: session.revision() })
  })
  stream.on('error', (error: ServiceError) => resolve(fromServiceError(error)))
  stream.on('end', () => {
    stream.end()
    resolve(new AppError('gateway_unreachable', 'The gateway ended the stream of bundles'))
  })
  stream.write({ revision: session.revision() })
  if (signal.aborted) cancel()
  const error = await promise.finally(() => signal.removeEventListener('abort', cancel))
  if (error.code === 'gateway_unreachable' && !signal.aborted) channel.leave(client)
  return error
}

function rejectionReporter(channel: GatewayChannel): ReportRejected {
  return async (route, refusal) => {
    const request = {
      providerName: route.providerName,
      generation: BigInt(route.generation),
      ...refusal,
    }
    const answer = await atAny(channel, () =>
      callUnary(channel, Delivery.method.reportRejectedToken, request, {
        timeoutMs: CALL_TIMEOUT_MS,
      }),
    )
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
