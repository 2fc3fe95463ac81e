import { createServer as createHttpServer, type RequestListener } from 'node:http'
import { createServer, type Socket } from 'node:net'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { AppError } from '../core/errors.ts'
import { MESSAGE_BYTES_MAX } from '../wire/client.ts'

/** A connection that says nothing for this long is no client. */
const FIRST_BYTES_MS = 5_000

/** How often slow HTTP/1.1 requests are looked for. */
const SLOW_CHECK_MS = 1_000

/** How long calls under way may take to finish when the gateway stops. */
const DRAIN_MS = 5_000

/** HTTP/2 begins with this preface (RFC 9113 §3.4); nothing in HTTP/1.1 does. */
const PREFACE = Buffer.from('PRI * HTTP/2.0')

/** The gateway's one port, open. */
export interface Port {
  /** `http://host:port` as it was bound. */
  readonly origin: string
  /** Takes no more connections, lets calls finish, then closes. */
  close(): Promise<void>
}

/**
 * Opens one port for gRPC over h2c and for HTTP/1.1: the first bytes of a connection tell which.
 *
 * @throws AppError `port_taken` when the address cannot be bound.
 */
export async function openPort(
  address: { readonly host: string; readonly port: number },
  serve: { readonly register: (server: Server) => void; readonly http: RequestListener },
): Promise<Port> {
  const grpc = new Server({
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.keepalive_time_ms': 20_000,
    'grpc.keepalive_timeout_ms': 10_000,
    'grpc.max_concurrent_streams': 1_000,
    // Its books about each call are read by nobody here.
    'grpc.enable_channelz': 0,
  })
  serve.register(grpc)
  const injector = grpc.createConnectionInjector(ServerCredentials.createInsecure())
  const http = createHttpServer(
    {
      requestTimeout: 30_000,
      headersTimeout: FIRST_BYTES_MS,
      connectionsCheckingInterval: SLOW_CHECK_MS,
    },
    serve.http,
  )
  // It gets its connections from the port and never listens itself, so it is told to keep its limits.
  http.emit('listening')
  const sockets = new Set<Socket>()
  /** The HTTP/2 connections, each until it ends. */
  const calling = new Set<Promise<void>>()
  const net = createServer({ noDelay: true, pauseOnConnect: false }, socket => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => socket.destroy())
    sniff(socket, isHttp2 => {
      if (!isHttp2) {
        http.emit('connection', socket)
        return
      }
      const ended = new Promise<void>(resolve => socket.once('close', () => resolve()))
      calling.add(ended)
      void ended.then(() => calling.delete(ended))
      injector.injectConnection(socket)
    })
  })
  const bound = await listen(net, address)
  return {
    origin: `http://${bound}`,
    async close() {
      const closed = new Promise<void>(resolve => net.close(() => resolve()))
      http.close()
      // Not `tryShutdown`: it calls back while calls are still under way, because Node closes the
      // sessions together with their server.
      injector.drain(DRAIN_MS)
      await Promise.all(calling)
      for (const socket of sockets) socket.destroy()
      await closed
      grpc.forceShutdown()
    },
  }
}

function sniff(socket: Socket, decide: (isHttp2: boolean) => void): void {
  let begin = Buffer.alloc(0)
  socket.setTimeout(FIRST_BYTES_MS, () => socket.destroy())
  const read = (): void => {
    const chunk: Buffer | null = socket.read()
    if (chunk === null) return
    begin = Buffer.concat([begin, chunk])
    const length = Math.min(begin.length, PREFACE.length)
    const isPreface = begin.subarray(0, length).equals(PREFACE.subarray(0, length))
    if (isPreface && begin.length < PREFACE.length) return
    socket.off('readable', read)
    socket.setTimeout(0)
    socket.removeAllListeners('timeout')
    socket.unshift(begin)
    decide(isPreface)
  }
  socket.on('readable', read)
}

async function listen(
  net: ReturnType<typeof createServer>,
  address: { readonly host: string; readonly port: number },
): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  net.once('error', reject)
  net.listen({ ...address, backlog: 4_096 }, resolve)
  try {
    await promise
  } catch (cause) {
    throw cannotBind(address, cause)
  }
  const bound = net.address()
  if (bound === null || typeof bound === 'string') throw new TypeError('A port has an address')
  const host = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address
  return `${host}:${bound.port}`
}

function cannotBind(address: { readonly host: string; readonly port: number }, cause: unknown) {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown reason'
  const reason = code === 'EADDRINUSE' ? 'the port is taken' : code
  return new AppError('port_taken', `Cannot listen on ${address.host}:${address.port}: ${reason}`, {
    cause,
    hint: 'Stop the program that holds it, or choose another address with --listen',
  })
}
