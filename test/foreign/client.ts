import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { Received } from './fields.ts'

/** A client that knows method paths and bytes, and nothing of the product. */
export interface ForeignClient {
  /** Calls `Service/Method` of OpenShell; the answer is what was received. */
  call(method: string, request?: Buffer, token?: string): Promise<Received>
  /** Calls and answers the status that it was refused with; `OK` when it was not. */
  statusOf(method: string, request?: Buffer, token?: string): Promise<string>
  /** Opens a stream of answers and waits for its end; answers the status. */
  streamStatusOf(method: string, request: Buffer): Promise<string>
  close(): void
}

const DEADLINE_MS = 20_000

/** Connects over plain HTTP/2, with the keepalive of OpenShell's own command line. */
export function connect(origin: string): ForeignClient {
  const client = new Client(new URL(origin).host, credentials.createInsecure(), {
    'grpc.keepalive_time_ms': 10_000,
  })
  const same = (bytes: Buffer): Buffer => bytes
  const metadataOf = (token: string): Metadata => {
    const metadata = new Metadata()
    if (token !== '') metadata.set('authorization', `Bearer ${token}`)
    return metadata
  }
  const call = (
    method: string,
    request: Buffer = Buffer.alloc(0),
    token = '',
  ): Promise<Received> => {
    const { promise, resolve, reject } = Promise.withResolvers<Received>()
    const options = { deadline: Date.now() + DEADLINE_MS }
    const path = pathOf(method)
    client.makeUnaryRequest(
      path,
      same,
      same,
      request,
      metadataOf(token),
      options,
      (error, answer) => {
        if (error !== null || answer === undefined) reject(error)
        else resolve(new Received(answer))
      },
    )
    return promise
  }
  return {
    call,
    statusOf: (method, request, token) =>
      call(method, request, token).then(
        () => 'OK',
        (error: ServiceError) => status[error.code] ?? String(error.code),
      ),
    async streamStatusOf(method, request) {
      const stream = client.makeServerStreamRequest(pathOf(method), same, same, request)
      const { promise, resolve } = Promise.withResolvers<string>()
      stream.on('error', (error: ServiceError) => resolve(status[error.code] ?? ''))
      stream.on('end', () => resolve('OK'))
      stream.resume()
      return promise
    },
    close: () => client.close(),
  }
}

/** The service goes by the method: inference has one of its own. */
function pathOf(method: string): string {
  return method.includes('Inference')
    ? `/openshell.inference.v1.Inference/${method}`
    : `/openshell.v1.OpenShell/${method}`
}
