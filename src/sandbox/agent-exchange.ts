import type { ServerHttp2Stream } from 'node:http2'
import type { Readable, Writable } from 'node:stream'
import type { AgentRequest, AgentResponse } from '../router/exchange.ts'
import { ChunkQueue } from './chunk-queue.ts'
import type { Http1Exchange } from './http1/server-connection.ts'

/** How long a broken answer may take to hand over what was written before it broke. */
const BREAK_LINGER_MS = 5_000
/** RFC 9113 §7. */
const NO_ERROR = 0

/** Header fields that HTTP/2 forbids, because they speak of one connection (RFC 9113 §8.2.2). */
const CONNECTION_HEADERS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

/** One request of an agent and where its answer goes, whatever HTTP it came by. */
export interface AgentExchange {
  readonly request: AgentRequest
  readonly response: AgentResponse
}

/** An exchange over HTTP/1.1. `target` is the path and query, also of an absolute-form request. */
export function http1Exchange(
  { head, body, response, signal }: Http1Exchange,
  target: string,
): AgentExchange {
  const { method, headers } = head
  return { request: { method, target, headers, body, signal }, response }
}

/** An exchange over one HTTP/2 stream. */
export function http2Exchange(
  stream: ServerHttp2Stream,
  rawHeaders: readonly string[],
): AgentExchange {
  // A reset makes Node end the stream's writable side, so that `finish` alone proves nothing.
  const signal = departureSignal(stream, () => stream.aborted || !stream.writableFinished)
  const { method, target, headers } = http2Head(rawHeaders)
  stream.once('finish', () => {
    // RFC 9113 §8.1: a complete answer may ask the agent to stop sending.
    if (!stream.readableEnded && !stream.aborted) stream.close(NO_ERROR)
  })
  return {
    request: { method, target, headers, body: chunksOf(stream), signal },
    response: answerInto({
      writable: stream,
      start: (status, answer) => stream.respond(http2AnswerHead(status, answer)),
      lingerThenBreak: breakOff => stream.setTimeout(BREAK_LINGER_MS, breakOff),
      // Not `close(code)`, which sends the end of the stream before its reset: a complete answer.
      breakOff: () => stream.destroy(new Error('The answer broke off')),
    }),
  }
}

/** Aborts when the agent went away before its answer was complete. */
function departureSignal(writable: Writable, isIncomplete: () => boolean): AbortSignal {
  const departure = new AbortController()
  writable.once('close', () => {
    if (isIncomplete()) departure.abort(new Error('The agent is gone'))
  })
  // The connection's own trouble ends in `close` as well; unheard it would end the program.
  writable.on('error', () => writable.destroy())
  return departure.signal
}

/** The body as it is pulled; nothing is read before the first pull. */
function chunksOf(readable: Readable): ChunkQueue {
  const queue: ChunkQueue = new ChunkQueue({
    start() {
      if (readable.destroyed && !readable.readableEnded) return queue.fail(departed())
      readable.on('error', error => queue.fail(error))
      readable.once('close', () => {
        if (!readable.readableEnded) queue.fail(departed())
      })
      readable.once('end', () => queue.end())
      readable.on('data', chunk => queue.push(chunk))
    },
    pause: () => readable.pause(),
    resume: () => readable.resume(),
    cancel: () => readable.pause(),
  })
  return queue
}

interface AnswerSink {
  readonly writable: Writable
  start(status: number, headers: readonly string[]): void
  /** Arms a timer that calls `breakOff` when the rest is not taken in time. */
  lingerThenBreak(breakOff: () => void): void
  breakOff(): void
}

const DONE = Promise.resolve()

function answerInto(sink: AnswerSink): AgentResponse {
  const { writable } = sink
  let unwritten = 0
  let isBroken = false
  let room: PromiseWithResolvers<void> | null = null
  const takeRoom = () => {
    const waiting = room
    room = null
    return waiting
  }
  writable.on('drain', () => takeRoom()?.resolve())
  writable.once('close', () => takeRoom()?.reject(departed()))
  const onWritten = () => {
    unwritten -= 1
    if (isBroken && unwritten === 0) sink.breakOff()
  }

  return {
    start: sink.start,
    write(chunk) {
      if (writable.destroyed || isBroken) return Promise.reject(departed())
      // An answer without a body (HEAD, 204, 304) ended with its head.
      if (writable.writableEnded) return DONE
      unwritten += 1
      if (writable.write(chunk, onWritten)) return DONE
      room ??= Promise.withResolvers()
      return room.promise
    },
    end() {
      if (writable.destroyed || isBroken) return Promise.reject(departed())
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      writable.once('finish', resolve)
      writable.once('close', () => {
        if (!writable.writableFinished) reject(departed())
      })
      writable.end()
      return promise
    },
    destroy() {
      if (isBroken || writable.destroyed) return
      isBroken = true
      takeRoom()?.reject(departed())
      // What was written before, an error event above all, still reaches the agent.
      if (unwritten === 0) sink.breakOff()
      else sink.lingerThenBreak(sink.breakOff)
    },
  }
}

function departed(): Error {
  return new Error('The agent is gone')
}

function http2Head(
  rawHeaders: readonly string[],
): Pick<AgentRequest, 'method' | 'target' | 'headers'> {
  let method = 'GET'
  let target = '/'
  const headers: string[] = []
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    const value = rawHeaders[index + 1] ?? ''
    if (name === ':method') method = value
    else if (name === ':path') target = value
    else if (name === ':authority') headers.push('host', value)
    else if (!name.startsWith(':')) headers.push(name, value)
  }
  return { method, target, headers }
}

function http2AnswerHead(
  status: number,
  headers: readonly string[],
): Record<string, number | string | string[]> {
  const head: Record<string, number | string | string[]> = { ':status': status }
  for (let index = 0; index < headers.length; index += 2) {
    const name = (headers[index] ?? '').toLowerCase()
    const value = headers[index + 1] ?? ''
    if (CONNECTION_HEADERS.has(name)) continue
    const before = head[name]
    head[name] = before === undefined ? value : [before, value].flat().map(String)
  }
  return head
}
