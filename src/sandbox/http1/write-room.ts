import type { Writable } from 'node:stream'
import { TLSSocket } from 'node:tls'

/** Up to this size head and body are copied together: one buffer is cheaper than a vector of some. */
const COPIED_BYTES_MAX = 16_384

/**
 * What waits for the end of the turn, at most: in sockets, so that no event of a stream waits for many
 * others, and in bytes of their messages together.
 */
const SOON_SOCKETS_MAX = 32
const SOON_BYTES_MAX = 65_536

const CRLF = '\r\n'
const LAST_CHUNK = '0\r\n\r\n'
const NONE: readonly Uint8Array[] = []

/** What stands before a piece of a body, and how the body is framed. */
interface Frame {
  /** A head that has not left yet; latin1. */
  readonly head: string
  readonly isChunked: boolean
}

interface PieceFrame extends Frame {
  /** Whether the piece is there within the call alone. */
  readonly isBorrowed: boolean
}

/**
 * Writes messages to sockets with as few system calls and as little memory as it takes. Small ones are
 * put together in room that is used again at once, because the system nearly always takes them within
 * the call; where it does not, the room is the socket's from then on.
 */
export class WriteRoom {
  #room = Buffer.allocUnsafeSlow(COPIED_BYTES_MAX)
  /** Room of the messages that wait, and how far it is used. */
  #soonRoom = Buffer.allocUnsafeSlow(SOON_BYTES_MAX)
  #soonEnd = 0
  readonly #soon: Writable[] = []
  readonly #atTurnEnd: (listener: () => void) => void

  /** `atTurnEnd` calls a listener once, when this turn of the event loop is over. */
  constructor(atTurnEnd: (listener: () => void) => void) {
    this.#atTurnEnd = atTurnEnd
  }

  /**
   * Writes a whole message when what has come in with this turn of the event loop was looked at. A
   * write wakes whoever waits for it, which costs as much as the write; behind one another, most find
   * their reader awake.
   */
  writeSoon(socket: Writable, text: string, pieces: readonly Uint8Array[]): void {
    const size = text.length + sizeOf(pieces)
    if (size > COPIED_BYTES_MAX) {
      this.write(socket, text, pieces)
      return
    }
    this.#putSoon(socket, { front: text, pieces, back: '' }, size)
  }

  #putSoon(socket: Writable, parts: Parts, size: number): void {
    if (this.#soon.length === SOON_SOCKETS_MAX || this.#soonEnd + size > SOON_BYTES_MAX) {
      this.#writeNow()
    }
    const bytes = isLending(socket) ? this.#takeSoonRoom(size) : Buffer.allocUnsafe(size)
    fill(bytes, parts)
    // The socket keeps its writes in order, also those that come before its turn.
    socket.cork()
    socket.write(bytes)
    this.#soon.push(socket)
    if (this.#soon.length === 1) this.#atTurnEnd(this.#onTurnEnd)
  }

  #takeSoonRoom(size: number): Buffer {
    const start = this.#soonEnd
    this.#soonEnd += size
    return this.#soonRoom.subarray(start, this.#soonEnd)
  }

  readonly #onTurnEnd = (): void => this.#writeNow()

  #writeNow(): void {
    let isTaken = true
    for (const socket of this.#soon) {
      socket.uncork()
      if (socket.writableLength > 0 && !(socket instanceof TLSSocket)) isTaken = false
    }
    this.#soon.length = 0
    this.#soonEnd = 0
    if (!isTaken) this.#soonRoom = Buffer.allocUnsafeSlow(SOON_BYTES_MAX)
  }

  /** Writes text (latin1) and the bytes behind it in one system call. */
  write(socket: Writable, text: string, pieces: readonly Uint8Array[]): void {
    const size = text.length + sizeOf(pieces)
    if (size <= COPIED_BYTES_MAX) this.#copy(socket, { front: text, pieces, back: '' }, size)
    else writeVector(socket, { front: text, pieces, back: '' })
  }

  /**
   * Writes one piece of a body: as a chunk (RFC 9112 §7.1) or as it is. A borrowed one, as streams have
   * them, waits for the end of the turn as whole messages do.
   */
  writePiece(socket: Writable, piece: Uint8Array, options: PieceFrame): void {
    const { head, isChunked, isBorrowed } = options
    if (!isChunked && head === '' && !isBorrowed) {
      socket.write(piece)
      return
    }
    const front = isChunked ? `${head}${piece.length.toString(16)}${CRLF}` : head
    const back = isChunked ? CRLF : ''
    const size = front.length + piece.length + back.length
    if (size > COPIED_BYTES_MAX) {
      writeVector(socket, { front, pieces: [isBorrowed ? Buffer.from(piece) : piece], back })
    } else if (isBorrowed) this.#putSoon(socket, { front, pieces: [piece], back }, size)
    else this.#copy(socket, { front, pieces: [piece], back }, size)
  }

  /** Writes what is left of a head, and of a chunked body its end. */
  writeEnd(socket: Writable, { head, isChunked }: Frame): void {
    const rest = isChunked ? `${head}${LAST_CHUNK}` : head
    if (rest !== '') this.write(socket, rest, NONE)
  }

  #copy(socket: Writable, { front, pieces, back }: Parts, size: number): void {
    const isLent = isLending(socket)
    const bytes = isLent ? this.#room : Buffer.allocUnsafe(size)
    fill(bytes, { front, pieces, back })
    socket.write(isLent ? bytes.subarray(0, size) : bytes)
    if (isLent && socket.writableLength > 0) this.#room = Buffer.allocUnsafeSlow(COPIED_BYTES_MAX)
  }
}

interface Parts {
  readonly front: string
  readonly pieces: readonly Uint8Array[]
  readonly back: string
}

/**
 * Whether a socket will probably have taken something when its write returns: TLS says so only later,
 * and one that has not taken what came before takes no more.
 */
function isLending(socket: Writable): boolean {
  return socket.writableLength === 0 && !(socket instanceof TLSSocket)
}

function sizeOf(pieces: readonly Uint8Array[]): number {
  let size = 0
  for (const piece of pieces) size += piece.length
  return size
}

function fill(bytes: Buffer, { front, pieces, back }: Parts): void {
  bytes.write(front, 0, 'latin1')
  let at = front.length
  for (const piece of pieces) {
    bytes.set(piece, at)
    at += piece.length
  }
  if (back !== '') bytes.write(back, at, 'latin1')
}

function writeVector(socket: Writable, { front, pieces, back }: Parts): void {
  socket.cork()
  if (front !== '') socket.write(front, 'latin1')
  for (const piece of pieces) socket.write(piece)
  if (back !== '') socket.write(back, 'latin1')
  socket.uncork()
}
