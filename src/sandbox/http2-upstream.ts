import { getCACertificates, TLSSocket } from 'node:tls'
import { Agent, buildConnector, type Dispatcher } from 'undici'
import {
  type Upstream,
  UpstreamError,
  type UpstreamRequest,
  type UpstreamResponse,
  WholeBody,
} from '../router/exchange.ts'
import { ChunkQueue } from './chunk-queue.ts'

const CONNECT_TIMEOUT_MS = 10_000
/** An idle connection is closed before a vendor's load balancer does it (60 s and more). */
const KEEP_ALIVE_MS = 30_000

/** A transport for origins that speak HTTP/2 alone. */
export interface Http2Upstream {
  readonly send: Upstream
  /** Breaks what is in flight and closes all connections. */
  close(): Promise<void>
}

/**
 * The transport by undici's `dispatch`. It is not the fast one: vendors that speak HTTP/1.1 as well
 * are reached by it alone. It follows no redirect, decompresses nothing, and has no time limits of its
 * own besides connecting: the router ends what takes too long by its signal.
 */
export function createHttp2Upstream(options: { readonly caPem: string | null }): Http2Upstream {
  const agent: IterableDispatcher = new Agent({
    connect: sessionKeepingConnector(options.caPem),
    allowH2: true,
    pipelining: 1,
    headersTimeout: 0,
    bodyTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    keepAliveMaxTimeout: KEEP_ALIVE_MS,
    // One stream a request: the peer's own limit counts, not undici's default of 100.
    h2Options: { maxConcurrentStreams: 1_000 },
  })
  return {
    send: async request => send(agent, request, bodyOf(request)),
    close: () => agent.destroy(new Error('The router stops')),
  }
}

/**
 * undici takes any async iterable as a body and says so; its types leave that out. Methods compare
 * bivariantly, so the agent is one of these without an assertion.
 */
interface IterableDispatcher {
  dispatch(options: IterableDispatchOptions, handler: Dispatcher.DispatchHandler): boolean
  destroy(error: Error): Promise<void>
}

type IterableDispatchOptions = Omit<Agent.DispatchOptions, 'body'> & {
  body?: Agent.DispatchOptions['body'] | AsyncIterable<Uint8Array>
}

/**
 * Resolves with the answer's head. Before undici starts to write the request (`onRequestStart`) no
 * byte can have left; from then on one may have.
 */
function send(
  agent: IterableDispatcher,
  request: UpstreamRequest,
  requestBody: IterableDispatchOptions['body'],
): Promise<UpstreamResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<UpstreamResponse>()
  const { signal } = request
  let controller: Dispatcher.DispatchController | null = null
  let body: ChunkQueue | null = null

  const fail = (error: Error) => {
    signal.removeEventListener('abort', abort)
    const kind = controller === null ? 'connect' : 'broken'
    const failure = new UpstreamError(kind, `${described(kind, request)}: ${error.message}`, {
      cause: error,
    })
    if (body === null) reject(failure)
    else body.fail(failure)
  }
  const abort = () => {
    const reason = new Error('the request was cancelled')
    // Not yet on a connection: undici still holds the request and drops it at `onRequestStart`.
    if (controller === null) fail(reason)
    else controller.abort(reason)
  }
  if (signal.aborted) {
    abort()
    return promise
  }
  signal.addEventListener('abort', abort, { once: true })

  const handler: Dispatcher.DispatchHandler = {
    onRequestStart(started) {
      if (signal.aborted) started.abort(new Error('the request was cancelled'))
      else controller = started
    },
    onResponseStart(started, status, headers) {
      if (status < 200) return
      body = new ChunkQueue({
        start() {},
        pause: () => started.pause(),
        resume: () => started.resume(),
        cancel: () => started.abort(new Error('the answer was left unread')),
      })
      resolve({ status, headers: headerList(started.rawHeaders ?? headers), body })
    },
    onResponseData: (_, chunk) => body?.push(chunk),
    onResponseEnd() {
      signal.removeEventListener('abort', abort)
      body?.end()
    },
    onResponseError: (_, error) => fail(error),
  }
  try {
    agent.dispatch(dispatchOptions(request, requestBody), handler)
  } catch (error) {
    fail(error instanceof Error ? error : new Error(String(error)))
  }
  return promise
}

/**
 * What is there whole goes as one buffer: undici may send it again after a GOAWAY that says it was not
 * looked at (RFC 9113 §6.8).
 */
function bodyOf({ body, contentLength }: UpstreamRequest): IterableDispatchOptions['body'] {
  if (body === null || contentLength === 0) return null
  return body instanceof WholeBody ? Buffer.concat(body.pieces) : body
}

function dispatchOptions(
  request: UpstreamRequest,
  body: IterableDispatchOptions['body'],
): IterableDispatchOptions {
  const { contentLength } = request
  const framing =
    body === null || contentLength === null ? [] : ['content-length', `${contentLength}`]
  return {
    origin: request.origin,
    path: request.path,
    method: request.method,
    headers: [...request.headers, ...framing],
    body: body ?? null,
    // A request that was sent may have been charged: undici must not repeat it by itself.
    idempotent: false,
  }
}

function described(kind: UpstreamError['kind'], request: UpstreamRequest): string {
  return kind === 'connect'
    ? `Cannot connect to "${request.origin}"`
    : `The answer of "${request.origin}" broke off`
}

/** HTTP/1.1 hands out the raw pairs, HTTP/2 an object whose repeated names are arrays. */
function headerList(
  raw: readonly (Buffer | string)[] | Readonly<Record<string, string | string[] | undefined>>,
): readonly string[] {
  if (isPairs(raw)) {
    return raw.map(part => (typeof part === 'string' ? part : part.toString('latin1')))
  }
  return Object.entries(raw).flatMap(([name, value]) => {
    if (value === undefined || name.startsWith(':')) return []
    return Array.isArray(value) ? value.flatMap(one => [name, one]) : [name, value]
  })
}

function isPairs(raw: object): raw is readonly (Buffer | string)[] {
  return Array.isArray(raw)
}

/**
 * undici remembers TLS sessions by weak reference, so that a garbage collection costs the next
 * connections a full handshake each. Holding the newest session of each host keeps them.
 */
function sessionKeepingConnector(caPem: string | null): buildConnector.connector {
  const connect = buildConnector({
    timeout: CONNECT_TIMEOUT_MS,
    allowH2: true,
    ...(caPem === null ? {} : { ca: [...getCACertificates('default'), caPem] }),
  })
  const newestSessions = new Map<string, Buffer>()
  return (options, callback) => {
    connect(options, (...outcome) => {
      const [, socket] = outcome
      if (socket instanceof TLSSocket) {
        socket.on('session', session => newestSessions.set(options.hostname, session))
      }
      callback(...outcome)
    })
  }
}
