import type { Duplex } from 'node:stream'
import type { FlowingResponse } from '../../router/exchange.ts'
import { fieldLines, statusLine } from './head-text.ts'
import type { RequestHead } from './request-parser.ts'
import type { WriteRoom } from './write-room.ts'

/** How the body of an answer is framed (RFC 9112 §6.3); `none` where there can be no body. */
type Framing = 'none' | 'length' | 'chunked' | 'until_close'

/** What a writer needs of the connection that it writes to. */
export interface AnswerLine {
  readonly socket: Duplex
  readonly room: WriteRoom
  /** `Date: …`, with its end of line. */
  dateLine(): string
  /** The answer was written to its end; `isLast` if the connection ends with it. */
  answerEnded(isLast: boolean): void
  /**
   * The answer is broken, and the connection with it, as soon as what was written has left. Where its
   * end would be the answer's (`isUntilClose`), it must not look like one.
   */
  answerBroken(isUntilClose: boolean): void
}

const DONE = Promise.resolve()

/** Writes the answer to one request of an agent. */
export class AnswerWriter implements FlowingResponse {
  readonly #line: AnswerLine
  readonly #request: RequestHead
  #framing: Framing = 'length'
  /** The head, while it waits for a first chunk to go with; null before `start` and once it is out. */
  #head: string | null = null
  #state: 'unstarted' | 'open' | 'ended' | 'broken' = 'unstarted'
  /** Bytes that a `Content-Length` still promises. */
  #left = 0
  #room: PromiseWithResolvers<void> | null = null
  #onRoom: (() => void) | null = null
  #isLast: boolean

  constructor(line: AnswerLine, request: RequestHead) {
    this.#line = line
    this.#request = request
    this.#isLast = !request.isPersistent
  }

  /** Whether something of the answer was given already. */
  get isStarted(): boolean {
    return this.#state !== 'unstarted'
  }

  get isFinished(): boolean {
    return this.#state === 'ended' || this.#state === 'broken'
  }

  /** Ends the connection with this answer. */
  makeLast(): void {
    this.#isLast = true
  }

  start(status: number, headers: readonly string[]): void {
    if (this.#state === 'broken') return
    if (this.#state !== 'unstarted') throw new Error('An answer begins once')
    this.#begin(status, headers)
    // After the microtasks of this turn: a first chunk that is already here joins the head.
    process.nextTick(flushHead, this)
  }

  complete(status: number, headers: readonly string[], pieces: readonly Uint8Array[]): boolean {
    const { socket, room } = this.#line
    if (socket.writableNeedDrain) return false
    if (this.#state !== 'unstarted') throw departed()
    this.#begin(status, headers)
    if (this.#framing === 'length') {
      for (const piece of pieces) this.#count(piece)
      this.#demandAll()
      room.writeSoon(socket, this.#takeHead(), pieces)
    } else for (const piece of pieces) this.#put(piece, false)
    this.#finish()
    return true
  }

  write(chunk: Uint8Array): Promise<void> {
    if (this.#state !== 'open') return Promise.reject(departed())
    this.#put(chunk, false)
    if (!this.#line.socket.writableNeedDrain) return DONE
    this.#room ??= Promise.withResolvers()
    return this.#room.promise
  }

  push(bytes: Uint8Array): boolean {
    // An agent that is gone ends its request by its signal.
    if (this.#state === 'open') this.#put(bytes, true)
    return !this.#line.socket.writableNeedDrain
  }

  onRoom(listener: () => void): void {
    this.#onRoom = listener
  }

  #put(chunk: Uint8Array, isBorrowed: boolean): void {
    if (this.#framing === 'none' || chunk.length === 0) return
    if (this.#framing === 'length') this.#count(chunk)
    const isChunked = this.#framing === 'chunked'
    const { socket, room } = this.#line
    room.writePiece(socket, chunk, { head: this.#takeHead(), isChunked, isBorrowed })
  }

  end(): Promise<void> {
    if (this.#state !== 'open') return Promise.reject(departed())
    this.#demandAll()
    this.#finish()
    return DONE
  }

  #begin(status: number, headers: readonly string[]): void {
    this.#state = 'open'
    const { text, contentLength, hasDate } = fieldLines(headers)
    this.#frame(status, contentLength)
    const date = hasDate ? '' : this.#line.dateLine()
    this.#head = `${statusLine(status)}${text}${date}${this.#connectionLines()}\r\n`
  }

  #count(chunk: Uint8Array): void {
    this.#left -= chunk.length
    if (this.#left < 0) throw new Error('An answer is longer than its Content-Length')
  }

  #demandAll(): void {
    if (this.#framing === 'length' && this.#left > 0) {
      throw new Error('An answer is shorter than its Content-Length')
    }
  }

  #finish(): void {
    this.#state = 'ended'
    const isChunked = this.#framing === 'chunked'
    const { socket, room } = this.#line
    room.writeEnd(socket, { head: this.#takeHead(), isChunked })
    this.#line.answerEnded(this.#isLast)
  }

  destroy(): void {
    if (this.isFinished) return
    this.#state = 'broken'
    this.#flushHead()
    this.#leaveRoom()
    this.#line.answerBroken(this.#framing === 'until_close')
  }

  /** The socket takes more. */
  drained(): void {
    const room = this.#room
    this.#room = null
    room?.resolve()
    if (this.#state === 'open') this.#onRoom?.()
  }

  /** The agent is gone. */
  depart(): void {
    if (this.#state !== 'ended') this.#state = 'broken'
    this.#leaveRoom()
  }

  /** Sends the head alone, for an agent that waits for it. */
  flush(): void {
    if (this.#state === 'open') this.#flushHead()
  }

  #flushHead(): void {
    const { socket, room } = this.#line
    room.writeEnd(socket, { head: this.#takeHead(), isChunked: false })
  }

  #frame(status: number, contentLength: number | null): void {
    if (this.#request.method === 'HEAD' || status === 204 || status === 304) this.#framing = 'none'
    else if (contentLength !== null) {
      this.#framing = 'length'
      this.#left = contentLength
    } else if (this.#request.minorVersion === 1) this.#framing = 'chunked'
    else {
      this.#framing = 'until_close'
      this.#isLast = true
    }
  }

  #connectionLines(): string {
    const coding = this.#framing === 'chunked' ? 'Transfer-Encoding: chunked\r\n' : ''
    if (this.#isLast) return `${coding}Connection: close\r\n`
    return this.#request.minorVersion === 1 ? coding : `${coding}Connection: keep-alive\r\n`
  }

  #takeHead(): string {
    const head = this.#head ?? ''
    this.#head = null
    return head
  }

  #leaveRoom(): void {
    const room = this.#room
    this.#room = null
    room?.reject(departed())
  }
}

function flushHead(writer: AnswerWriter): void {
  writer.flush()
}

function departed(): Error {
  return new Error('The agent is gone')
}
