import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { WholeBody } from '../../router/exchange.ts'
import { Cancellation, type CancelSignal } from '../../system/cancellation.ts'
import { ChunkQueue } from '../chunk-queue.ts'
import { type AnswerLine, AnswerWriter } from './answer-writer.ts'
import { MessageError } from './grammar.ts'
import type { ReadRoom } from './read-room.ts'
import { type MessageSink, type RequestHead, RequestParser } from './request-parser.ts'
import type { WriteRoom } from './write-room.ts'

/** For a head to arrive whole, from its first byte. */
const HEAD_TIMEOUT_MS = 30_000
/** For a request to arrive whole; answers have no limit here. */
const REQUEST_TIMEOUT_MS = 600_000
/** Above the idle limits of the usual clients, so that they close first. */
const KEEP_ALIVE_MS = 75_000
/** How long a connection that is to end may take to hand over what was written before. */
const LINGER_MS = 5_000
/** What an agent may send ahead of the answer it waits for. */
const AHEAD_BYTES_MAX = 65_536

/** One request of an agent over HTTP/1.1 and where its answer goes. */
export interface Http1Exchange {
  readonly head: RequestHead
  readonly body: AsyncIterable<Uint8Array>
  readonly response: AnswerWriter
  /** Aborts when the agent goes away before its answer is complete. One for all of a connection. */
  readonly signal: CancelSignal
}

/** What a connection needs of its server. */
export interface ConnectionHost {
  readonly room: WriteRoom
  readonly readRoom: ReadRoom
  monotonicMs(): number
  dateLine(): string
  /** Serves one exchange; it may come to its end within the call. */
  serve(exchange: Http1Exchange): void
  /** Takes over the socket of a CONNECT, which holds what followed. */
  connect(head: RequestHead, socket: Duplex): void
  /** Answers, where there is no exchange, and ends the socket's writing side. */
  refuse(socket: Duplex, error: MessageError | 'request_timeout'): void
  closed(connection: ServerConnection): void
}

const NO_BODY = new WholeBody([])
const NOTHING = Buffer.alloc(0)
/** Never written to. */
const NO_PIECES: Buffer[] = []

/**
 * One connection of an agent. Requests are answered one by one and in order: while one is served,
 * what comes behind it waits, and beyond a limit is not read (RFC 9112 §9.3.2).
 *
 * `idle` before a request · `head` while one begins · `body` while it is served and still comes ·
 * `answer` while it is served and is there · `ending` when only what was written must still leave ·
 * `gone` when the socket is closed or another's.
 */
type State = 'idle' | 'head' | 'body' | 'answer' | 'ending' | 'gone'

/** See {@link State}. */
export class ServerConnection implements MessageSink<RequestHead>, AnswerLine {
  readonly socket: Duplex
  readonly room: WriteRoom
  readonly #host: ConnectionHost
  readonly #parser = new RequestParser(this)
  #state: State = 'idle'
  /** When the state ends by itself, on the monotonic clock. */
  #deadlineMs: number
  #head: RequestHead | null = null
  /** Body bytes of a request that is not served yet. */
  #pieces: Buffer[] = NO_PIECES
  #isRead = false
  #body: ChunkQueue | null = null
  #awaitsContinue = false
  #writer: AnswerWriter | null = null
  readonly #departure = new Cancellation()
  /** What came behind the request that is served. */
  #ahead: Buffer | null = null
  #isBroken = false
  #isReset = false
  #isConsuming = false
  readonly #onData = (chunk: Buffer): void => this.#take(chunk)
  readonly #onEnd = (): void => this.#agentEnded()
  readonly #onDrain = (): void => this.#writer?.drained()
  readonly #onError = (): void => void this.socket.destroy()
  readonly #onClose = (): void => this.#close()

  constructor(host: ConnectionHost, socket: Duplex) {
    this.#host = host
    this.room = host.room
    this.socket = socket
    this.#deadlineMs = host.monotonicMs() + HEAD_TIMEOUT_MS
    socket.on('data', this.#onData)
    socket.on('end', this.#onEnd)
    socket.on('drain', this.#onDrain)
    socket.on('error', this.#onError)
    socket.on('close', this.#onClose)
    socket.resume()
  }

  /** Ends what has taken too long. */
  expire(nowMs: number): void {
    if (nowMs < this.#deadlineMs) return
    if (this.#state === 'head') {
      this.#host.refuse(this.socket, 'request_timeout')
      this.#wait('ending', LINGER_MS)
    } else if (this.#state !== 'ending') this.socket.destroy()
    // A whole answer may leave as slowly as the agent takes it.
    else if (this.#isBroken || this.socket.writableFinished) this.#cutOff()
  }

  head(head: RequestHead): void {
    this.#head = head
  }

  body(bytes: Buffer): void {
    const kept = this.#host.readRoom.keepSmall(bytes)
    if (this.#state === 'body') this.#body?.push(kept)
    // One is the rule, and an array that grows takes room for many.
    else if (this.#pieces.length === 0) this.#pieces = [kept]
    else this.#pieces.push(kept)
  }

  end(): void {
    this.#isRead = true
  }

  #take(chunk: Buffer): void {
    if (this.#state === 'ending' || this.#state === 'gone') return
    if (this.#state === 'answer') this.#hold(chunk)
    else this.#consume(chunk)
  }

  #consume(chunk: Buffer): void {
    this.#isConsuming = true
    try {
      let at = 0
      while (at < chunk.length && this.#mayParse()) {
        if (this.#state === 'idle') this.#wait('head', HEAD_TIMEOUT_MS)
        at = this.#parser.push(chunk, at)
        if (this.#head !== null) this.#begin(this.#head, chunk, at)
        else if (this.#isRead) this.#bodyEnded()
      }
      if (at < chunk.length && this.#state === 'answer') this.#hold(chunk.subarray(at))
    } catch (error) {
      if (!(error instanceof MessageError)) throw error
      this.#refuse(error)
    } finally {
      this.#isConsuming = false
    }
  }

  #mayParse(): boolean {
    return this.#state === 'idle' || this.#state === 'head' || this.#state === 'body'
  }

  /** A request's head is there, perhaps all of it. `at` is where the rest of the chunk begins. */
  #begin(head: RequestHead, chunk: Buffer, at: number): void {
    this.#head = null
    if (head.method === 'CONNECT') {
      this.#handOver(head, chunk.subarray(at))
      return
    }
    const pieces = this.#pieces
    if (pieces.length > 0) this.#pieces = NO_PIECES
    const writer = new AnswerWriter(this, head)
    this.#writer = writer
    let body: AsyncIterable<Uint8Array> = NO_BODY
    if (this.#isRead) {
      this.#isRead = false
      this.#wait('answer', Number.POSITIVE_INFINITY)
      if (pieces.length > 0) body = new WholeBody(pieces)
    } else {
      this.#wait('body', REQUEST_TIMEOUT_MS)
      this.#awaitsContinue = head.expectsContinue && pieces.length === 0
      body = this.#queueOf(pieces)
    }
    this.#host.serve({ head, body, response: writer, signal: this.#departure })
  }

  /** The body as it is pulled. */
  #queueOf(pieces: readonly Buffer[]): ChunkQueue {
    const queue = new ChunkQueue({
      start: () => {
        // RFC 9110 §10.1.1: the body is asked for once somebody wants it.
        if (this.#awaitsContinue && this.#body === queue) {
          this.#awaitsContinue = false
          this.socket.write('HTTP/1.1 100 Continue\r\n\r\n', 'latin1')
        }
      },
      pause: () => this.socket.pause(),
      resume: () => this.socket.resume(),
      cancel: () => this.socket.resume(),
    })
    this.#body = queue
    for (const piece of pieces) queue.push(piece)
    return queue
  }

  #bodyEnded(): void {
    this.#isRead = false
    this.#body?.end()
    this.#body = null
    if (this.#writer === null) this.#wait('idle', KEEP_ALIVE_MS)
    else this.#wait('answer', Number.POSITIVE_INFINITY)
  }

  dateLine(): string {
    return this.#host.dateLine()
  }

  answerEnded(isLast: boolean): void {
    this.#writer = null
    const isCut = this.#state === 'body'
    if (isCut) {
      // Whoever still reads must not take what is left out for the end.
      this.#body?.fail(new Error('The request was answered before its end'))
      this.#body = null
    }
    // An agent that was never told to continue may send the body or not: nobody knows what follows.
    if (isLast || this.#awaitsContinue) {
      this.socket.end()
      this.#wait('ending', LINGER_MS)
    } else if (!isCut) {
      this.#wait('idle', KEEP_ALIVE_MS)
      if (!this.#isConsuming) this.#consumeAhead()
    }
    if (this.socket.isPaused()) this.socket.resume()
  }

  answerBroken(isUntilClose: boolean): void {
    this.#isBroken = true
    this.#isReset = isUntilClose
    this.#wait('ending', LINGER_MS)
    if (!isUntilClose) this.socket.end()
    else this.socket.write(NOTHING, () => this.#cutOff())
    if (this.socket.isPaused()) this.socket.resume()
  }

  /** Without the end that an HTTP/1.0 agent would take for the answer's. */
  #cutOff(): void {
    if (this.#isReset && this.socket instanceof Socket && !(this.socket instanceof TLSSocket)) {
      this.socket.resetAndDestroy()
    }
    this.socket.destroy()
  }

  #consumeAhead(): void {
    const ahead = this.#ahead
    if (ahead === null) return
    this.#ahead = null
    this.#consume(ahead)
  }

  #hold(bytes: Buffer): void {
    this.#ahead = this.#ahead === null ? bytes : Buffer.concat([this.#ahead, bytes])
    if (this.#ahead.length > AHEAD_BYTES_MAX) this.socket.pause()
  }

  /** What comes from now on cannot be trusted. */
  #refuse(error: MessageError): void {
    if (this.#writer !== null) {
      // The router answers, in the agent's dialect.
      this.#writer.makeLast()
      this.#wait('answer', Number.POSITIVE_INFINITY)
      this.#body?.fail(error)
      this.#body = null
      return
    }
    if (this.#state === 'body') this.socket.end()
    else this.#host.refuse(this.socket, error)
    this.#wait('ending', LINGER_MS)
  }

  #handOver(head: RequestHead, rest: Buffer): void {
    this.#state = 'gone'
    const { socket } = this
    socket.pause()
    socket.off('data', this.#onData)
    socket.off('end', this.#onEnd)
    socket.off('drain', this.#onDrain)
    socket.off('error', this.#onError)
    socket.off('close', this.#onClose)
    if (rest.length > 0) socket.unshift(rest)
    this.#host.closed(this)
    this.#host.connect(head, socket)
  }

  /** An agent that ends its half does not wait for an answer: so it is with all that end at once. */
  #agentEnded(): void {
    if (this.#state === 'body' || this.#state === 'answer') this.socket.destroy()
    else this.socket.end()
  }

  #close(): void {
    this.#state = 'gone'
    this.#host.closed(this)
    const writer = this.#writer
    if (writer === null) return
    this.#writer = null
    this.#departure.abort(departed())
    this.#body?.fail(departed())
    writer.depart()
  }

  #wait(state: State, limitMs: number): void {
    this.#state = state
    this.#deadlineMs =
      limitMs === Number.POSITIVE_INFINITY ? limitMs : this.#host.monotonicMs() + limitMs
  }
}

function departed(): Error {
  return new Error('The agent is gone')
}
