import type { Duplex } from 'node:stream'
import type { Clock } from '../../system/clock.ts'
import type { MessageError } from './grammar.ts'
import { ReadRoom } from './read-room.ts'
import type { RequestHead } from './request-parser.ts'
import { type ConnectionHost, type Http1Exchange, ServerConnection } from './server-connection.ts'
import type { WriteRoom } from './write-room.ts'

/** How often connections are asked whether they have outlived their time. */
const SWEEP_MS = 5_000

/** What an HTTP/1.1 server needs. */
export interface Http1ServerOptions {
  readonly clock: Clock
  readonly writeRoom: WriteRoom
  /** Serves one exchange. It never throws. */
  readonly serve: (exchange: Http1Exchange) => void
  /** Takes over the socket of a CONNECT, which is paused and holds what followed. */
  readonly connect: (head: RequestHead, socket: Duplex) => void
  /** Answers where there is no exchange, and ends the socket's writing side. */
  readonly refuse: (socket: Duplex, error: MessageError | 'request_timeout') => void
}

/** A server that is handed its connections, plain or decrypted. */
export interface Http1Server {
  accept(socket: Duplex): void
  /** Breaks what is in flight. */
  close(): void
}

/** An HTTP/1.1 server (RFC 9112) without a port of its own. */
export function createHttp1Server(options: Http1ServerOptions): Http1Server {
  const { clock, serve, connect, refuse } = options
  const connections = new Set<ServerConnection>()
  const stop = new AbortController()
  const host: ConnectionHost = {
    ...{ serve, connect, refuse, room: options.writeRoom, readRoom: new ReadRoom() },
    monotonicMs: () => clock.monotonicMs(),
    dateLine: dateWriter(clock),
    closed: connection => connections.delete(connection),
  }
  void sweep(connections, clock, stop.signal)
  return {
    accept(socket) {
      connections.add(new ServerConnection(host, socket))
    },
    close() {
      stop.abort()
      for (const { socket } of connections) socket.destroy()
    },
  }
}

async function sweep(
  connections: ReadonlySet<ServerConnection>,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(SWEEP_MS, signal)
    const nowMs = clock.monotonicMs()
    for (const connection of connections) connection.expire(nowMs)
  }
}

/** RFC 9110 §6.6.1. Written once a second. */
function dateWriter(clock: Clock): () => string {
  let second = 0
  let line = ''
  return () => {
    const now = Math.floor(clock.nowMs() / 1_000)
    if (now !== second) {
      second = now
      line = `Date: ${new Date(now * 1_000).toUTCString()}\r\n`
    }
    return line
  }
}
