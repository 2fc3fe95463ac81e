import { EventEmitter } from 'node:events'
import { type Metadata, Server, type ServiceError } from '@grpc/grpc-js'
import type { AppError } from '../../src/core/errors.ts'
import { fromServiceError, type StatusAnswer } from '../../src/wire/errors.ts'

type Respond = (error: StatusAnswer | null, value: never) => void
type Accept = (call: object, respond: Respond) => void

interface Method {
  readonly accept: Accept
  readonly serialize: (value: never) => Buffer
  readonly deserialize: (bytes: Buffer) => unknown
}

/**
 * The methods of a gateway, called without a socket. What passes is encoded and decoded by the code
 * that does it on the wire.
 */
export class RpcTable extends Server {
  readonly #methods = new Map<string, Method>()

  override register(
    path: string,
    accept: Accept,
    serialize: Method['serialize'],
    deserialize: Method['deserialize'],
  ): boolean {
    this.#methods.set(path, { accept, serialize, deserialize })
    return true
  }

  /** Rejects with the `AppError` that the caller would see. */
  call(path: string, request: Buffer, metadata: Metadata): Promise<Buffer> {
    const { accept, serialize, deserialize } = this.#method(path)
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    accept({ request: deserialize(request), metadata }, (error, value) => {
      if (error === null) resolve(serialize(value))
      else reject(toCaller(error))
    })
    return promise
  }

  /** Opens a stream. Answers the gateway's end of it. */
  open(path: string, metadata: Metadata, client: StreamClient): ServerStream {
    const { accept, serialize, deserialize } = this.#method(path)
    const stream = new ServerStream(metadata, client, { serialize, deserialize })
    accept(stream, () => {})
    return stream
  }

  #method(path: string): Method {
    const method = this.#methods.get(path)
    if (method === undefined) throw new TypeError(`No method ${path}`)
    return method
  }
}

/** Where a stream's messages and its end go. */
interface StreamClient {
  readonly message: (bytes: Buffer) => void
  readonly end: (error: AppError | null) => void
}

/** The gateway's end of a bidirectional stream, as its handlers know it from grpc-js. */
export class ServerStream extends EventEmitter {
  readonly metadata: Metadata
  cancelled = false
  readonly #client: StreamClient
  readonly #codec: Pick<Method, 'serialize' | 'deserialize'>
  /** What came before a handler listened. */
  readonly #early: unknown[] = []

  constructor(
    metadata: Metadata,
    client: StreamClient,
    codec: Pick<Method, 'serialize' | 'deserialize'>,
  ) {
    super()
    this.metadata = metadata
    this.#client = client
    this.#codec = codec
    super.on('error', (error: StatusAnswer) => client.end(toCaller(error)))
  }

  override on(event: string, listener: (...args: never[]) => void): this {
    // As Node does it: the listener type of an event is the emitter's business.
    const listen: (...args: unknown[]) => void = (...args) => Reflect.apply(listener, this, args)
    super.on(event, listen)
    if (event === 'data') for (const message of this.#early.splice(0)) this.emit('data', message)
    return this
  }

  write(message: never): boolean {
    this.#client.message(this.#codec.serialize(message))
    return true
  }

  end(): this {
    this.#client.end(null)
    return this
  }

  /** The router says something. */
  hear(bytes: Buffer): void {
    const message = this.#codec.deserialize(bytes)
    if (this.listenerCount('data') === 0) this.#early.push(message)
    else this.emit('data', message)
  }

  /** The router, or the way to it, is gone. */
  break(): void {
    if (this.cancelled) return
    this.cancelled = true
    this.emit('cancelled')
    this.emit('close')
  }
}

function toCaller({ code, details, metadata }: StatusAnswer): AppError {
  const error: ServiceError = Object.assign(new Error(details), { code, details, metadata })
  return fromServiceError(error)
}
