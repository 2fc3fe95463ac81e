import { once } from 'node:events'
import { createServer as createHttp2Server, type Http2Server } from 'node:http2'
import { createServer } from 'node:net'
import type { Duplex } from 'node:stream'
import { AppError } from '../core/errors.ts'
import type { ServerCertificate } from '../pki/authority.ts'
import type { AgentRequest, AgentResponse } from '../router/exchange.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import { type AgentExchange, http1Exchange, http2Exchange } from './agent-exchange.ts'
import {
  INFERENCE_HOST,
  isOwnHost,
  readAbsoluteTarget,
  type TunnelAllowList,
} from './destination.ts'
import { FIELDS_MAX, HEAD_BYTES_MAX, type MessageError } from './http1/grammar.ts'
import { createHttp1Server } from './http1/server.ts'
import type { Http1Exchange } from './http1/server-connection.ts'
import type { WriteRoom } from './http1/write-room.ts'
import { answerConnect, createTlsInterceptor } from './interceptor.ts'
import { malformed, type Refusal, refuse, refuseSocket } from './refusal.ts'

const CONNECTIONS_MAX = 4_096
const STREAMS_PER_CONNECTION_MAX = 256
const BODY_WINDOW_BYTES = 262_144
/** Pseudo-header fields of an HTTP/2 request (RFC 9113 §8.3.1), which count as pairs. */
const PSEUDO_HEADERS = 4

/** What the agents' port is made of. */
export interface ListenerOptions {
  readonly host: string
  /** 0 takes any free port. */
  readonly port: number
  readonly allowList: TunnelAllowList
  /** For `inference.local`. */
  readonly certificate: ServerCertificate
  /** Answers one request; an answer that it leaves open when it rejects is broken. */
  readonly serve: (request: AgentRequest, response: AgentResponse) => Promise<void>
  readonly writeRoom: WriteRoom
  readonly clock: Clock
  readonly log: Log
}

/** The agents' port, open. */
export interface Listener {
  readonly host: string
  readonly port: number
  /** Stops accepting and breaks what is in flight. */
  close(): Promise<void>
}

/**
 * Opens the one port that agents use: as an HTTP proxy (`CONNECT inference.local:443`, answered with
 * our own certificate over HTTP/2 or HTTP/1.1; absolute-form requests) and directly, in plain HTTP.
 *
 * @throws AppError `port_taken` when the address is in use or not this machine's.
 */
export async function openListener(options: ListenerOptions): Promise<Listener> {
  const sockets = new Set<Duplex>()
  let ownPort = options.port
  const http1 = createHttp1Server({
    clock: options.clock,
    writeRoom: options.writeRoom,
    serve: exchange => answerHttp1(options, ownPort, exchange),
    connect: ({ target }, socket) => answerConnect({ tls, http1 }, options, target, socket),
    refuse: (socket, error) => refuseSocket(socket, refusalOf(error)),
  })
  const http2 = createStreamServer(options)
  const tls = createTlsInterceptor(options.certificate, { http1, http2, log: options.log })
  const server = createServer(SOCKET_OPTIONS, socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    http1.accept(socket)
  })
  server.maxConnections = CONNECTIONS_MAX
  server.listen({ host: options.host, port: options.port })
  await once(server, 'listening').catch((error: unknown) => {
    http1.close()
    throw new AppError('port_taken', `Cannot listen on "${options.host}:${options.port}"`, {
      hint: 'Choose another address with --listen HOST:PORT (port 0 takes any free one)',
      cause: error,
    })
  })
  const address = server.address()
  if (address !== null && typeof address === 'object') ownPort = address.port
  server.on('error', error => options.log.error('listener.failed', { error }))
  return {
    host: options.host,
    port: ownPort,
    async close() {
      const closed = once(server, 'close')
      server.close()
      http1.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** A tunnel carries each half by itself, so that no end of a half ends the other. */
const SOCKET_OPTIONS = { allowHalfOpen: true, noDelay: true, highWaterMark: 65_536 }

function refusalOf(error: MessageError | 'request_timeout'): Refusal {
  if (error !== 'request_timeout') {
    return { status: error.status, code: error.code, text: error.message }
  }
  return { status: 408, code: error, text: 'The request did not arrive in time' }
}

function createStreamServer(options: ListenerOptions): Http2Server {
  const server = createHttp2Server({
    maxHeaderListPairs: FIELDS_MAX + PSEUDO_HEADERS,
    settings: {
      maxConcurrentStreams: STREAMS_PER_CONNECTION_MAX,
      maxHeaderListSize: HEAD_BYTES_MAX,
      initialWindowSize: BODY_WINDOW_BYTES,
    },
  })
  server.on('stream', (stream, headers, _flags, rawHeaders) => {
    stream.on('error', error => options.log.debug('stream.broken', { error }))
    if (headers.expect?.toLowerCase() === '100-continue')
      stream.additionalHeaders({ ':status': 100 })
    const exchange = http2Exchange(stream, rawHeaders)
    const refusal = refusalFor(exchange.request, options)
    if (refusal === null) serve(options, exchange)
    else void refuse(exchange, refusal)
  })
  server.on('sessionError', error => options.log.debug('session.broken', { error }))
  return server
}

/** At this status Codex goes on over plain HTTP at once; at any other it first tries some times more. */
const UPGRADE_REFUSAL: Refusal = {
  status: 426,
  code: 'upgrade_unsupported',
  text: 'WebSocket upgrades are not supported; send plain HTTP requests, answers stream as server-sent events',
}

function answerHttp1(options: ListenerOptions, ownPort: number, incoming: Http1Exchange): void {
  const { head, response } = incoming
  const url = head.target
  const absolute =
    url.startsWith('/') || url === '*' ? { path: url } : readAbsoluteTarget(url, ownPort)
  const target = absolute !== null && 'path' in absolute ? absolute.path : '/'
  const exchange = http1Exchange(incoming, target)
  const refusal =
    absolute === null
      ? malformed('The request target is neither a path nor an http URL')
      : 'host' in absolute
        ? plainForwardRefusal(absolute.host)
        : refusalFor(exchange.request, options, url === target ? 'own' : 'absolute')
  // Of upgrades only a WebSocket is refused; others, such as h2c, may be ignored (RFC 9110 §7.8).
  const isWebSocket = head.upgrade !== '' && /websocket/i.test(head.upgrade)
  if (isWebSocket) response.makeLast()
  if (refusal !== null) void refuse(exchange, refusal)
  else if (isWebSocket) void refuse(exchange, UPGRADE_REFUSAL)
  else serve(options, exchange)
}

/** RFC 9112 §3.2.2: with an absolute target the `Host` field does not count. */
function refusalFor(
  request: AgentRequest,
  options: ListenerOptions,
  form: 'own' | 'absolute' = 'own',
): Refusal | null {
  const { headers, method } = request
  if (headers.length > FIELDS_MAX * 2) {
    const text = `The request has more than ${FIELDS_MAX} header fields`
    return { status: 431, code: 'too_many_headers', text }
  }
  if (method === 'CONNECT') return malformed('CONNECT is not possible inside a tunnel')
  const host = onlyHost(headers)
  if (host === null) return malformed('The request must name one Host')
  if (form === 'absolute' || isOwnHost(host, options.host)) return null
  const text = `The Host "${host}" is not this router's; use https://${INFERENCE_HOST}`
  return { status: 403, code: 'host_forbidden', text }
}

/** The `Host` (RFC 9112 §3.2); null unless there is exactly one. */
function onlyHost(headers: readonly string[]): string | null {
  let host: string | null = null
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] ?? ''
    if (name.length !== 4 || name.toLowerCase() !== 'host') continue
    if (host !== null) return null
    host = headers[at + 1] ?? ''
  }
  return host
}

function plainForwardRefusal(host: string): Refusal {
  const text = `Plain HTTP is not forwarded to "${host}"; only CONNECT to hosts named with --allow is`
  return { status: 403, code: 'host_forbidden', text }
}

function serve(options: ListenerOptions, { request, response }: AgentExchange): void {
  options.serve(request, response).catch((error: unknown) => {
    // An agent that left breaks its own answer; all else is a fault of ours.
    if (!request.signal.aborted) options.log.error('request.failed', { error })
    response.destroy()
  })
}
