import type { Socket } from 'node:net'
import {
  UpstreamError,
  type UpstreamRequest,
  type UpstreamResponse,
  WholeBody,
} from '../../router/exchange.ts'
import { ChunkQueue } from '../chunk-queue.ts'
import type { ReadRoom } from './read-room.ts'
import type { MessageSink } from './request-parser.ts'
import { type ResponseHead, ResponseParser } from './response-parser.ts'
import type { WriteRoom } from './write-room.ts'

/** A body up to this size leaves an idle connection in one write. */
const SINGLE_BYTES_MAX = 8_192

/** Never written to. */
const NO_PIECES: Buffer[] = []

/** A request on its way, as its connection sees it. */
export interface Call {
  readonly request: UpstreamRequest
  /** Request line and fields, to the empty line. */
  readonly head: string
  /** null when there is none. */
  readonly body: AsyncIterable<Uint8Array> | null
  readonly resolve: (response: UpstreamResponse) => void
  /**
   * No answer's head came. `isUnsent` if no byte of the request can have left although the connection
   * stood.
   */
  readonly fail: (error: UpstreamError, isUnsent: boolean) => void
}

/** Where connections to one origin live. */
export interface ConnectionHome {
  /** For messages. */
  readonly origin: string
  readonly room: WriteRoom
  readonly readRoom: ReadRoom
  /** Opens a socket; `receive` is called with what is in the read room. */
  readonly open: (receive: (bytes: Buffer) => void) => Socket
  /** The connection may be used again. */
  idle(connection: ClientConnection): void
  closed(connection: ClientConnection): void
}

/** How far a call has come, besides what it is. */
interface Progress {
  readonly call: Call
  /** Whether a byte of the request was written. */
  isBegun: boolean
  isSent: boolean
  /** Whether all of it was given to the system at once. */
  isSingle: boolean
}

/**
 * One connection to a vendor, for one request at a time. Whatever is not exactly an answer to that
 * request (bytes too many, bytes unasked for, an answer before its request's end) ends it.
 */
export class ClientConnection implements MessageSink<ResponseHead> {
  readonly #home: ConnectionHome
  readonly #socket: Socket
  readonly #parser = new ResponseParser(this)
  #isReady = false
  #isReused = false
  #isClosed = false
  /** Whether the connection broke while the whole request still waited to be written. */
  #isHeldBack = false
  #error: Error | null = null
  #progress: Progress | null = null
  #head: ResponseHead | null = null
  /** Body bytes of an answer whose head was not handed out yet. */
  #pieces: Buffer[] = NO_PIECES
  #isAnswered = false
  #isReusable = false
  /** The limit on the socket's idleness, while a streamed answer suspends it; else 0. */
  #idleMs = 0
  #body: ChunkQueue | null = null
  #room: PromiseWithResolvers<void> | null = null
  readonly #onAbort = (): void => this.#break(new Error('the request was cancelled'))

  /** `ready` is the event of a socket that may be written to. */
  constructor(home: ConnectionHome, ready: 'connect' | 'secureConnect') {
    this.#home = home
    const socket = home.open(bytes => this.#take(bytes))
    this.#socket = socket
    socket.once(ready, () => this.#becomeReady())
    socket.on('drain', () => this.#leaveRoom())
    socket.on('end', () => this.#serverEnded())
    socket.on('error', error => {
      this.#error ??= error
      this.#noteHeldBack()
    })
    socket.on('close', () => this.#close())
    // The limit on its idleness, set by whoever opened it; a silent stream has none here.
    socket.on('timeout', () => {
      if (this.#isReady && this.#progress === null) socket.destroy()
    })
  }

  /** Whether a request may still be sent here; a server may have gone at any moment. */
  get isAlive(): boolean {
    return !this.#isClosed && this.#socket.writable && this.#socket.readable
  }

  /** Sends a request, as soon as the connection stands. */
  send(call: Call): void {
    this.#progress = { call, isBegun: false, isSent: false, isSingle: false }
    this.#parser.expect(call.request.method)
    call.request.signal.addEventListener('abort', this.#onAbort)
    if (this.#isReady) this.#write(this.#progress)
  }

  destroy(error: Error): void {
    this.#break(error)
  }

  head(head: ResponseHead): void {
    this.#head = head
  }

  body(bytes: Buffer): void {
    const { readRoom } = this.#home
    if (this.#body === null) {
      // One is the rule, and an array that grows takes room for many.
      if (this.#pieces.length === 0) this.#pieces = [readRoom.keep(bytes)]
      else this.#pieces.push(readRoom.keep(bytes))
    } else this.#body.push(this.#body.isFlowing ? bytes : readRoom.keep(bytes))
  }

  end(): void {
    this.#isAnswered = true
  }

  #becomeReady(): void {
    this.#isReady = true
    if (this.#progress !== null) this.#write(this.#progress)
  }

  #write(progress: Progress): void {
    const { head, body } = progress.call
    progress.isBegun = true
    if (body instanceof WholeBody) {
      this.#home.room.writeSoon(this.#socket, head, body.pieces)
      progress.isSent = true
      progress.isSingle = (progress.call.request.contentLength ?? 0) <= SINGLE_BYTES_MAX
    } else if (body === null) {
      this.#home.room.write(this.#socket, head, [])
      progress.isSent = true
      progress.isSingle = true
    } else void this.#pump(progress, body)
  }

  /** Sends a body as it comes, as fast as the vendor takes it. */
  async #pump(progress: Progress, body: AsyncIterable<Uint8Array>): Promise<void> {
    const { contentLength } = progress.call.request
    const isChunked = contentLength === null
    let { head } = progress.call
    let bytes = 0
    try {
      for await (const piece of body) {
        if (this.#progress !== progress) return
        if (piece.length === 0) continue
        bytes += piece.length
        if (contentLength !== null && bytes > contentLength) break
        const frame = { head, isChunked, isBorrowed: false }
        this.#home.room.writePiece(this.#socket, piece, frame)
        head = ''
        if (this.#socket.writableNeedDrain) await this.#drain()
      }
      if (this.#progress !== progress) return
      if (contentLength !== null && bytes !== contentLength) {
        throw new Error('the request is not as long as it says')
      }
      this.#home.room.writeEnd(this.#socket, { head, isChunked })
      progress.isSent = true
    } catch (error) {
      // What the source throws, its reader knows better; here it only ends the request.
      if (this.#progress === progress) this.#break(asError(error))
    }
  }

  #take(chunk: Buffer): void {
    if (this.#progress === null || this.#socket.writableCorked > 0) {
      this.#break(new Error('the server speaks unasked'))
      return
    }
    try {
      const end = this.#parser.push(chunk, 0)
      if (end < chunk.length) this.#isReusable = false
      this.#told(end === chunk.length)
    } catch (error) {
      this.#break(asError(error))
    }
  }

  /** Hands out what the parser has told; `isClean` if nothing stands behind it. */
  #told(isClean: boolean): void {
    const progress = this.#progress
    if (progress === null) return
    if (this.#head !== null) this.#answer(progress, this.#head)
    if (!this.#isAnswered) return
    this.#isAnswered = false
    this.#body?.end()
    this.#finish(progress, isClean && this.#isReusable && progress.isSent)
  }

  #answer(progress: Progress, { status, headers, isPersistent }: ResponseHead): void {
    const pieces = this.#pieces
    this.#head = null
    this.#pieces = NO_PIECES
    this.#isReusable = isPersistent
    if (this.#isAnswered) {
      progress.call.resolve({ status, headers, body: new WholeBody(pieces) })
      return
    }
    const body = new ChunkQueue({
      start() {},
      pause: () => this.#socket.pause(),
      resume: () => this.#socket.resume(),
      cancel: () => this.#break(new Error('the answer was left unread')),
    })
    // Its timer would be set anew with each event of a stream.
    this.#idleMs = this.#socket.timeout ?? 0
    this.#socket.setTimeout(0)
    this.#body = body
    for (const piece of pieces) body.push(piece)
    progress.call.resolve({ status, headers, body })
  }

  #finish(progress: Progress, isReusable: boolean): void {
    this.#release(progress)
    if (isReusable && this.isAlive) {
      this.#isReused = true
      if (this.#idleMs > 0) this.#socket.setTimeout(this.#idleMs)
      this.#idleMs = 0
      if (this.#socket.isPaused()) this.#socket.resume()
      this.#home.idle(this)
    } else this.#socket.destroy()
  }

  #release(progress: Progress): void {
    progress.call.request.signal.removeEventListener('abort', this.#onAbort)
    this.#progress = null
    this.#body = null
    this.#leaveRoom()
  }

  #serverEnded(): void {
    try {
      if (this.#progress === null) this.#socket.destroy()
      else {
        this.#parser.finish()
        this.#told(false)
      }
    } catch (error) {
      this.#break(asError(error))
    }
  }

  #break(error: Error): void {
    this.#error ??= error
    this.#noteHeldBack()
    this.#socket.destroy()
    this.#close()
  }

  /** Only a message that waits for its turn is held back in the socket. */
  #noteHeldBack(): void {
    if (this.#socket.writableCorked > 0) this.#isHeldBack = true
  }

  #close(): void {
    if (!this.#isClosed) {
      this.#isClosed = true
      this.#home.closed(this)
    }
    const progress = this.#progress
    if (progress === null) return
    const body = this.#body
    this.#release(progress)
    const cause = this.#error ?? new Error('the connection was closed')
    // A write that the system refuses took nothing with it.
    const isRefused = progress.isSingle && isWriteError(cause)
    const isUnsent = this.#isReused && (isRefused || this.#isHeldBack)
    const error = upstreamError(progress.isBegun ? 'broken' : 'connect', this.#home.origin, cause)
    if (body === null) progress.call.fail(error, isUnsent)
    else body.fail(error)
  }

  #drain(): Promise<void> {
    this.#room ??= Promise.withResolvers()
    return this.#room.promise
  }

  #leaveRoom(): void {
    const room = this.#room
    this.#room = null
    room?.resolve()
  }
}

/** The failure of a request to an origin, in words. */
function upstreamError(kind: UpstreamError['kind'], origin: string, cause: Error): UpstreamError {
  const what =
    kind === 'connect' ? `Cannot connect to "${origin}"` : `The answer of "${origin}" broke off`
  return new UpstreamError(kind, `${what}: ${cause.message}`, { cause })
}

function isWriteError(error: Error): boolean {
  return 'syscall' in error && error.syscall === 'write'
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}
