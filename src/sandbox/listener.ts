import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createHttp2Server, type Http2Server } from 'node:http2'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { AppError } from '../core/errors.ts'
import type { ServerCertificate } from '../pki/authority.ts'
import type { AgentRequest, AgentResponse } from '../router/exchange.ts'
import type { Log } from '../system/log.ts'
import { type AgentExchange, http1Exchange, http2Exchange } from './agent-exchange.ts'
import {
  INFERENCE_HOST,
  isOwnHost,
  readAbsoluteTarget,
  type TunnelAllowList,
} from './destination.ts'
import { answerConnect, createTlsInterceptor } from './interceptor.ts'
import { malformed, type Refusal, refuse, refuseSocket } from './refusal.ts'

const HEAD_BYTES_MAX = 32_768
const HEADERS_MAX = 100
const CONNECTIONS_MAX = 4_096
const STREAMS_PER_CONNECTION_MAX = 256
const BODY_WINDOW_BYTES = 262_144
/** Above the idle limits of the usual clients, so that they close first. */
const KEEP_ALIVE_MS = 75_000
const HEAD_TIMEOUT_MS = 30_000
/** For a request to arrive whole; answers have no limit here. */
const REQUEST_TIMEOUT_MS = 600_000
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
  const http1 = createHttp1Server()
  const http2 = createStreamServer(options)
  const tls = createTlsInterceptor(options.certificate, { http1, http2, log: options.log })
  let ownPort = options.port

  // TLS sockets arrive here a second time, decrypted; both are destroyed at the end.
  http1.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  http1.on('request', (incoming, outgoing) => answerHttp1(options, ownPort, incoming, outgoing))
  http1.on('upgrade', (_, socket) => refuseSocket(socket, UPGRADE_REFUSAL))
  http1.on('connect', (incoming, _, head) => answerConnect({ tls, http1 }, options, incoming, head))

  http1.listen({ host: options.host, port: options.port })
  await once(http1, 'listening').catch((error: unknown) => {
    throw new AppError('port_taken', `Cannot listen on "${options.host}:${options.port}"`, {
      hint: 'Choose another address with --listen HOST:PORT (port 0 takes any free one)',
      cause: error,
    })
  })
  const address = http1.address()
  if (address !== null && typeof address === 'object') ownPort = address.port
  http1.on('error', error => options.log.error('listener.failed', { error }))
  return {
    host: options.host,
    port: ownPort,
    async close() {
      const closed = once(http1, 'close')
      http1.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

/** Node's parser is strict: it refuses both framings at once, folded lines and bad chunks. */
function createHttp1Server(): Server {
  const server = createServer({
    insecureHTTPParser: false,
    maxHeaderSize: HEAD_BYTES_MAX,
    headersTimeout: HEAD_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    noDelay: true,
    highWaterMark: 65_536,
    // Of upgrades only a WebSocket is refused; others, such as h2c, may be ignored (RFC 9110 §7.8).
    shouldUpgradeCallback: incoming => /websocket/i.test(incoming.headers.upgrade ?? ''),
  })
  // Node would drop what is beyond a count in silence; `answerHttp1` counts and refuses.
  server.maxHeadersCount = 0
  server.maxConnections = CONNECTIONS_MAX
  return server
}

function createStreamServer(options: ListenerOptions): Http2Server {
  const server = createHttp2Server({
    maxHeaderListPairs: HEADERS_MAX + PSEUDO_HEADERS,
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
    if (refusal === null) void serve(options, exchange)
    else void refuse(exchange, refusal)
  })
  server.on('sessionError', error => options.log.debug('session.broken', { error }))
  return server
}

const UPGRADE_REFUSAL: Refusal = {
  status: 400,
  code: 'upgrade_unsupported',
  text: 'WebSocket upgrades are not supported; send plain HTTP requests, answers stream as server-sent events',
}

function answerHttp1(
  options: ListenerOptions,
  ownPort: number,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): void {
  const url = incoming.url ?? '/'
  const absolute =
    url.startsWith('/') || url === '*' ? { path: url } : readAbsoluteTarget(url, ownPort)
  const target = absolute !== null && 'path' in absolute ? absolute.path : '/'
  const exchange = http1Exchange(incoming, outgoing, target)
  const refusal =
    absolute === null
      ? malformed('The request target is neither a path nor an http URL')
      : 'host' in absolute
        ? plainForwardRefusal(absolute.host)
        : refusalFor(exchange.request, options, url === target ? 'own' : 'absolute')
  if (refusal === null) void serve(options, exchange)
  else void refuse(exchange, refusal)
}

/** RFC 9112 §3.2.2: with an absolute target the `Host` field does not count. */
function refusalFor(
  request: AgentRequest,
  options: ListenerOptions,
  form: 'own' | 'absolute' = 'own',
): Refusal | null {
  const { headers, method } = request
  if (headers.length > HEADERS_MAX * 2) {
    const text = `The request has more than ${HEADERS_MAX} header fields`
    return { status: 431, code: 'too_many_headers', text }
  }
  if (method === 'CONNECT') return malformed('CONNECT is not possible inside a tunnel')
  const hosts = headers.filter((_, index) => index % 2 === 1 && isHostName(headers[index - 1]))
  const [host] = hosts
  if (host === undefined || hosts.length > 1) return malformed('The request must name one Host')
  if (form === 'absolute' || isOwnHost(host, options.host)) return null
  const text = `The Host "${host}" is not this router's; use https://${INFERENCE_HOST}`
  return { status: 403, code: 'host_forbidden', text }
}

function isHostName(name: string | undefined): boolean {
  return name?.length === 4 && name.toLowerCase() === 'host'
}

function plainForwardRefusal(host: string): Refusal {
  const text = `Plain HTTP is not forwarded to "${host}"; only CONNECT to hosts named with --allow is`
  return { status: 403, code: 'host_forbidden', text }
}

async function serve(options: ListenerOptions, exchange: AgentExchange): Promise<void> {
  try {
    await options.serve(exchange.request, exchange.response)
  } catch (error) {
    // An agent that left breaks its own answer; all else is a fault of ours.
    if (!exchange.request.signal.aborted) options.log.error('request.failed', { error })
    exchange.response.destroy()
  }
}
