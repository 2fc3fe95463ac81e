import { Server, ServerCredentials } from '@grpc/grpc-js'

/** What a method of a foreign gateway answers: bytes, or a status with its words. */
type Answer = Buffer | { readonly code: number; readonly details: string }

/** A gateway of someone else's: it answers recorded bytes, and knows no field that is ours. */
export interface ForeignGateway extends AsyncDisposable {
  readonly origin: string
  /** The methods that were called, in order. */
  readonly calls: readonly string[]
}

/** Starts one on a free loopback port; keys are `Service/Method`. */
export async function startForeignGateway(
  answers: Readonly<Record<string, Answer>>,
): Promise<ForeignGateway> {
  const server = new Server()
  const calls: string[] = []
  const same = (bytes: Buffer): Buffer => bytes
  for (const [method, answer] of Object.entries(answers)) {
    server.register<Buffer, Buffer>(
      `/openshell.${method}`,
      (_call: unknown, respond: (error: object | null, bytes?: Buffer) => void) => {
        calls.push(method.split('/')[1] ?? '')
        if (Buffer.isBuffer(answer)) respond(null, answer)
        else respond(answer)
      },
      same,
      same,
      'unary',
    )
  }
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
    error === null ? resolve(port) : reject(error),
  )
  return {
    origin: `http://127.0.0.1:${await promise}`,
    calls,
    async [Symbol.asyncDispose]() {
      server.forceShutdown()
    },
  }
}
