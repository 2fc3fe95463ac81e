import {
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf'
import { Metadata } from '@grpc/grpc-js'
import { AppError } from '../../src/core/errors.ts'
import { encodeMessage, methodPath } from '../../src/wire/grpc.ts'
import type { GatewayHost } from './gateway-host.ts'
import type { Life } from './machine.ts'
import type { Network } from './network.ts'

/** Given as a reason because an abort without one makes an exception, with its stack, per call. */
const OVER = 'over'

/** Who calls a gateway, and over what. */
export interface Caller {
  readonly life: Life
  readonly network: Network
  readonly gateway: GatewayHost
  /** What the gateway knows it by: `admin`, or a sandbox's id. */
  readonly token: string
}

/** How one call is made. */
interface CallOptions {
  readonly timeoutMs: number
  readonly signal?: AbortSignal
  /** Whether the network may deliver the call twice. */
  readonly mayDouble?: boolean
  /** Called when the call reaches the gateway; what it answers, when the gateway is through with it. */
  readonly onArrival?: () => () => unknown
}

/** An answer, with the gateway's true and wall time when it left. */
export interface Answer<T> {
  readonly message: T
  readonly sentAtMs: number
  readonly sentWallMs: number
}

/** Calls a unary method over the pretend network. Rejects with an `AppError`, as the real one does. */
export function callGateway<I extends DescMessage, O extends DescMessage>(
  caller: Caller,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  options: CallOptions,
): Promise<Answer<MessageShape<O>>> {
  const { life, network, gateway } = caller
  const { promise, resolve, reject } = Promise.withResolvers<Answer<MessageShape<O>>>()
  const over = new AbortController()
  const settle = (end: () => void): void => {
    if (over.signal.aborted || !life.isAlive) return
    over.abort(OVER)
    options.signal?.removeEventListener('abort', cancel)
    end()
  }
  const fail = (error: unknown): void => settle(() => reject(error))
  const cancel = (): void => fail(unreachable('cancelled'))
  const arrive = (): void => {
    const process = gateway.listening
    if (process === null) {
      network.send(gateway.machine, life.machine, () => fail(unreachable('connection refused')))
      return
    }
    const onDone = options.onArrival?.()
    if (onDone !== undefined) process.onDeath(onDone)
    const forget = process.onDeath(() =>
      network.send(gateway.machine, life.machine, () => fail(unreachable('connection reset'))),
    )
    const back = (deliver: () => void): void => {
      forget()
      onDone?.()
      network.send(gateway.machine, life.machine, deliver)
    }
    process.life
      .while(
        process.table.call(
          methodPath(method),
          encodeMessage(method.input, request),
          credentials(caller),
        ),
      )
      .then(
        bytes => {
          const sentAtMs = gateway.machine.schedule.nowMs
          const sentWallMs = process.life.judgesBy.nowMs()
          back(() => {
            const message = fromBinary(method.output, bytes)
            settle(() => resolve({ message, sentAtMs, sentWallMs }))
          })
        },
        (error: unknown) => back(() => fail(error)),
      )
  }
  void life.sleep(options.timeoutMs, over.signal).then(() => {
    if (!over.signal.aborted) fail(unreachable('deadline exceeded'))
  })
  options.signal?.addEventListener('abort', cancel, { once: true })
  if (options.signal?.aborted) cancel()
  if (network.send(life.machine, gateway.machine, arrive) === 'refused') {
    life.machine.schedule.after(1, () => life.machine.receive(() => fail(unreachable('refused'))))
  }
  if (options.mayDouble === true && network.isDoubled()) {
    network.send(life.machine, gateway.machine, arrive)
  }
  return promise
}

/** What the caller sends with each call. */
export function credentials({ token }: Pick<Caller, 'token'>): Metadata {
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${token}`)
  return metadata
}

/** The gateway cannot be reached. */
export function unreachable(why: string): AppError {
  return new AppError('gateway_unreachable', `Cannot reach the gateway: ${why}`)
}
