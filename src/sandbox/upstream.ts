import net from 'node:net'
import tls from 'node:tls'
import {
  type Upstream,
  UpstreamError,
  type UpstreamRequest,
  type UpstreamResponse,
  WholeBody,
} from '../router/exchange.ts'
import { OriginPool } from './http1/origin-pool.ts'
import { ReadRoom } from './http1/read-room.ts'
import type { WriteRoom } from './http1/write-room.ts'
import type { Http2Upstream } from './http2-upstream.ts'

const CONNECT_TIMEOUT_MS = 10_000
/** An idle connection is closed before a vendor's load balancer does it (60 s and more). */
const KEEP_ALIVE_MS = 30_000
/** A live one is probed, so that a vendor that vanished is noticed within a long silence. */
const PROBE_AFTER_MS = 60_000
/** A body of known length up to this size is taken whole, to leave in one write with its head. */
const WHOLE_BODY_BYTES_MAX = 65_536

/** How vendors are reached. */
export interface UpstreamOptions {
  /** Certificates trusted besides the system's, PEM; null for none. */
  readonly caPem: string | null
  readonly writeRoom: WriteRoom
}

/** What a transport has done so far. */
interface UpstreamCounts {
  /** Connections that stood. */
  readonly connections: number
  /** Full and resumed TLS handshakes among them. */
  readonly handshakes: number
  readonly resumed: number
}

/** A transport to vendors that owns its connections. */
export interface UpstreamTransport {
  readonly send: Upstream
  /** Over HTTP/1.1. */
  counts(): UpstreamCounts
  /** Breaks what is in flight and closes all connections. */
  close(): Promise<void>
}

/** What is known of an origin. */
interface Origin {
  readonly pool: OriginPool
  speaks: 'http/1.1' | 'h2' | 'unknown'
}

/**
 * The transport over sockets of our own: HTTP/1.1, which is all that is offered where TLS negotiates
 * (RFC 7301), and HTTP/2 for an origin that refuses it. It follows no redirect, decompresses nothing,
 * and has no time limits of its own besides connecting: the router ends what takes too long by its
 * signal.
 */
export function createUpstream(options: UpstreamOptions): UpstreamTransport {
  const origins = new Map<string, Origin>()
  const counts = { connections: 0, handshakes: 0, resumed: 0 }
  const readRoom = new ReadRoom()
  const connector = createConnector({ caPem: options.caPem, readRoom, counts })
  let http2: Promise<Http2Upstream> | null = null
  const sendByHttp2: Upstream = async request => {
    http2 ??= loadHttp2(options)
    return (await http2).send(request)
  }
  const rooms = { room: options.writeRoom, readRoom }
  const originOf = (text: string): Origin => {
    const known = origins.get(text)
    if (known !== undefined) return known
    const { protocol, host } = new URL(text)
    const isTls = protocol === 'https:'
    const open = (receive: (bytes: Buffer) => void): net.Socket => connector(text, receive)
    const pool = new OriginPool({ ...rooms, origin: text, host, isTls, open })
    const origin: Origin = { pool, speaks: isTls ? 'unknown' : 'http/1.1' }
    origins.set(text, origin)
    return origin
  }
  const sendFirst = async (origin: Origin, request: UpstreamRequest): Promise<UpstreamResponse> => {
    const whole = isToBeWhole(request) ? await gathered(request) : request
    if (request.signal.aborted) throw cancelled(request)
    if (origin.speaks === 'h2') return sendByHttp2(whole)
    try {
      const answer = await origin.pool.send(whole)
      origin.speaks = 'http/1.1'
      return answer
    } catch (error) {
      if (!isProtocolRefused(error)) throw error
      origin.speaks = 'h2'
      return sendByHttp2(whole)
    }
  }
  return {
    send(request) {
      const origin = originOf(request.origin)
      const isPlain = origin.speaks === 'http/1.1' && !isToBeWhole(request)
      if (isPlain && !request.signal.aborted) return origin.pool.send(request)
      return sendFirst(origin, request)
    },
    counts: () => ({ ...counts }),
    async close() {
      for (const { pool } of origins.values()) pool.close()
      await (await http2)?.close()
    },
  }
}

/** Loaded when a vendor asks for it: it brings as much code as all the rest of the router. */
async function loadHttp2(options: UpstreamOptions): Promise<Http2Upstream> {
  const { createHttp2Upstream } = await import('./http2-upstream.ts')
  return createHttp2Upstream(options)
}

interface ConnectorOptions {
  readonly caPem: string | null
  readonly readRoom: ReadRoom
  readonly counts: { connections: number; handshakes: number; resumed: number }
}

/** Opens connections; of TLS ones to the same host, later ones resume the session of earlier ones. */
function createConnector({
  caPem,
  readRoom,
  counts,
}: ConnectorOptions): (origin: string, receive: (bytes: Buffer) => void) => net.Socket {
  let secureContext: tls.SecureContext | null = null
  // Made once: reading all certificates of the system takes longer than a handshake.
  const contextOf = (): tls.SecureContext => {
    secureContext ??= tls.createSecureContext({
      minVersion: 'TLSv1.2',
      ...(caPem === null ? {} : { ca: [...tls.getCACertificates('default'), caPem] }),
    })
    return secureContext
  }
  const sessions = new Map<string, Buffer>()

  const openTls = (origin: string, address: Address): net.Socket => {
    const session = sessions.get(origin)
    const socket = tls.connect({
      ...SOCKET_OPTIONS,
      ...address,
      // RFC 6066 §3: names only.
      servername: net.isIP(address.host) === 0 ? address.host : '',
      ALPNProtocols: ['http/1.1'],
      secureContext: contextOf(),
      ...(session === undefined ? {} : { session }),
    })
    socket.on('session', newest => sessions.set(origin, newest))
    socket.once('secureConnect', () => {
      counts.handshakes += 1
      if (socket.isSessionReused()) counts.resumed += 1
    })
    return socket
  }

  return (origin, receive) => {
    const { protocol, hostname, port } = new URL(origin)
    const isTls = protocol === 'https:'
    const onread: net.OnReadOpts = {
      buffer: readRoom.buffer,
      callback(length) {
        receive(readRoom.buffer.subarray(0, length))
        return true
      },
    }
    const host = hostname.replace(/^\[|\]$/g, '')
    const address = { host, port: port === '' ? (isTls ? 443 : 80) : Number(port), onread }
    const socket = isTls ? openTls(origin, address) : net.connect({ ...SOCKET_OPTIONS, ...address })
    const ready = isTls ? 'secureConnect' : 'connect'
    let isReady = false
    socket.once(ready, () => {
      counts.connections += 1
      isReady = true
      socket.setTimeout(KEEP_ALIVE_MS)
    })
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => {
      if (!isReady)
        socket.destroy(new Error(`no connection within ${CONNECT_TIMEOUT_MS / 1_000} s`))
    })
    return socket
  }
}

interface Address {
  readonly host: string
  readonly port: number
  readonly onread: net.OnReadOpts
}

const SOCKET_OPTIONS = {
  noDelay: true,
  keepAlive: true,
  keepAliveInitialDelay: PROBE_AFTER_MS,
  highWaterMark: 65_536,
} as const

function isToBeWhole({ body, contentLength }: UpstreamRequest): boolean {
  const isSmall = contentLength !== null && contentLength <= WHOLE_BODY_BYTES_MAX
  return body !== null && isSmall && !(body instanceof WholeBody)
}

async function gathered(request: UpstreamRequest): Promise<UpstreamRequest> {
  try {
    const pieces: Uint8Array[] = []
    for await (const piece of request.body ?? []) pieces.push(piece)
    return { ...request, body: new WholeBody(pieces) }
  } catch (error) {
    throw new UpstreamError('connect', 'The request broke off before it was sent', { cause: error })
  }
}

function cancelled({ origin }: UpstreamRequest): UpstreamError {
  const cause = new Error('the request was cancelled')
  return new UpstreamError('connect', `Cannot connect to "${origin}": ${cause.message}`, { cause })
}

/** Whether a server did not take the one protocol that it was offered (RFC 7301 §3.2). */
function isProtocolRefused(error: unknown): boolean {
  if (!(error instanceof UpstreamError && error.kind === 'connect')) return false
  const { cause } = error
  return (
    cause instanceof Error &&
    'code' in cause &&
    cause.code === 'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL'
  )
}
