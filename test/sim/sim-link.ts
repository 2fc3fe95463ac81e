import { fromBinary } from '@bufbuild/protobuf'
import type { Bundle } from '../../src/core/bundle.ts'
import type { AppError } from '../../src/core/errors.ts'
import type { ResolvedRoute } from '../../src/core/route.ts'
import type { RefusedRoute, RejectionReport } from '../../src/router/renewal.ts'
import type { GatewayLink, WatchSession } from '../../src/sandbox/gateway-link.ts'
import { bundleFromWire } from '../../src/wire/bundle.ts'
import { Delivery } from '../../src/wire/gen/openshell/delivery/v1/delivery_pb.ts'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { encodeMessage, methodPath } from '../../src/wire/grpc.ts'
import type { Machine } from './machine.ts'
import { Lane } from './network.ts'
import { type Caller, callGateway, credentials, unreachable } from './rpc-client.ts'
import type { ServerStream } from './rpc-table.ts'

const CALL_TIMEOUT_MS = 5_000

/** How long a connection over a silent wire lives: until a keepalive goes unanswered. */
const KEEPALIVE_MS = 30_000

/** What a router's link tells of what passes. */
export interface LinkWitness {
  /** A bundle arrived; the instants are the gateway's when it sent it. */
  readonly onArrival: (
    bundle: Bundle,
    sent: { readonly atMs: number; readonly wallMs: number },
  ) => void
  readonly onAcknowledge: (revision: string) => void
  /** A report reached the gateway. */
  readonly onReport: (route: ResolvedRoute) => void
}

/** A router's link to its gateway over the pretend network. */
export function simLink(caller: Caller, witness: LinkWitness): GatewayLink {
  return {
    watch: (session, signal) => watch(caller, witness, { session, signal }),
    async poll(signal) {
      const options = { timeoutMs: CALL_TIMEOUT_MS, signal, mayDouble: true }
      const method = Inference.method.getInferenceBundle
      const { message, sentAtMs, sentWallMs } = await callGateway(caller, method, {}, options)
      const bundle = bundleFromWire(message)
      witness.onArrival(bundle, { atMs: sentAtMs, wallMs: sentWallMs })
      return { bundle, sentAtMs: Number(message.sentAtMs) }
    },
    reportRejected: (route, refusal) => report(caller, witness, { route, refusal }),
  }
}

async function report(
  caller: Caller,
  witness: LinkWitness,
  { route, refusal }: RefusedRoute,
): Promise<RejectionReport> {
  const request = {
    providerName: route.providerName,
    generation: BigInt(route.generation),
    ...refusal,
  }
  const { message } = await callGateway(caller, Delivery.method.reportRejectedToken, request, {
    timeoutMs: CALL_TIMEOUT_MS,
    mayDouble: true,
    onArrival: () => {
      witness.onReport(route)
      return () => {}
    },
  })
  const { outcome } = message
  return {
    outcome: outcome === 'known' || outcome === 'refused' ? outcome : 'refreshing',
    message: message.message,
    nextAttemptAtMs: Number(message.nextAttemptAtMs),
  }
}

/** One stream: two lanes, in which nothing overtakes, and an end that comes once. */
function watch(
  caller: Caller,
  witness: LinkWitness,
  { session, signal }: { readonly session: WatchSession; readonly signal: AbortSignal },
): Promise<AppError> {
  const { life, network, gateway } = caller
  const { schedule } = life.machine
  const method = Delivery.method.watchInferenceBundle
  const { promise, resolve } = Promise.withResolvers<AppError>()
  const up = new Lane(network, schedule, gateway.machine)
  const down = new Lane(network, schedule, life.machine)
  let stream: ServerStream | null = null
  let isOver = false
  const forgets: (() => void)[] = []
  /** Both ends learn of it, each when it can. */
  const close = (error: AppError): void => {
    if (isOver) return
    isOver = true
    for (const forget of forgets) forget()
    up.break()
    down.break()
    gateway.machine.receive(() => stream?.break())
    life.machine.receive(() => {
      if (life.isAlive) resolve(error)
    })
  }
  const say = (): void => {
    const revision = session.revision()
    witness.onAcknowledge(revision)
    const bytes = encodeMessage(method.input, { revision })
    up.send(() => stream?.hear(bytes))
  }
  const hear = (bytes: Buffer, sent: { readonly atMs: number; readonly wallMs: number }): void => {
    if (isOver || !life.isAlive) return
    const message = fromBinary(method.output, bytes)
    if (message.bundle === undefined) return
    const bundle = bundleFromWire(message.bundle)
    witness.onArrival(bundle, sent)
    session.onBundle({ bundle, sentAtMs: Number(message.sentAtMs) })
    say()
  }
  const cancel = (): void => close(unreachable('cancelled'))
  signal.addEventListener('abort', cancel, { once: true })
  forgets.push(() => signal.removeEventListener('abort', cancel))
  forgets.push(life.onDeath(cancel))
  forgets.push(
    network.onCut((one, other, cut) => {
      if (!isBetween([one, other], [life.machine, gateway.machine])) return
      // What was under way is lost; a refused wire says so at once.
      up.break()
      down.break()
      const spanMs = cut === 'refused' ? 1 : KEEPALIVE_MS
      const timer = schedule.after(spanMs, () => close(unreachable('connection lost')))
      forgets.push(() => schedule.cancel(timer))
    }),
  )
  const connect = (): void => {
    const process = gateway.listening
    if (process === null) {
      down.send(() => close(unreachable('connection refused')))
      return
    }
    forgets.push(
      process.onDeath(() => schedule.after(network.spanMs(), () => close(unreachable('reset')))),
    )
    stream = process.table.open(methodPath(method), credentials(caller), {
      message: bytes => {
        const sent = { atMs: schedule.nowMs, wallMs: gateway.nowMs() }
        if (process.life.isAlive) down.send(() => hear(bytes, sent))
      },
      end: error => down.send(() => close(error ?? unreachable('the gateway ended the stream'))),
    })
  }
  if (network.cutOf(life.machine, gateway.machine) === 'silent') {
    const timer = schedule.after(KEEPALIVE_MS, () => close(unreachable('no connection')))
    forgets.push(() => schedule.cancel(timer))
  } else if (network.cutOf(life.machine, gateway.machine) === 'refused') {
    const timer = schedule.after(1, () => close(unreachable('connection refused')))
    forgets.push(() => schedule.cancel(timer))
  } else {
    up.send(connect)
    say()
  }
  if (signal.aborted) cancel()
  return promise
}

function isBetween(cut: readonly [Machine, Machine], wire: readonly [Machine, Machine]): boolean {
  return cut.every(machine => wire.includes(machine))
}
