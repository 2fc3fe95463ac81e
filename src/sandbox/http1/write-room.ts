import type { Writable } from 'node:stream'
import { TLSSocket } from 'node:tls'

/** Up to this size head and body are copied together: one buffer is cheaper than a vector of some. */
const COPIED_BYTES_MAX = 16_384

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

  /** Writes text (latin1) and the bytes behind it in one system call. */
  write(socket: Writable, text: string, pieces: readonly Uint8Array[]): void {
    let size = text.length
    for (const piece of pieces) size += piece.length
    if (size <= COPIED_BYTES_MAX) this.#copy(socket, { front: text, pieces, back: '' }, size)
    else writeVector(socket, { front: text, pieces, back: '' })
  }

  /** Writes one piece of a body: as a chunk (RFC 9112 §7.1) or as it is. */
  writePiece(socket: Writable, piece: Uint8Array, options: PieceFrame): void {
    const { head, isChunked, isBorrowed } = options
    if (!isChunked && head === '' && !isBorrowed) {
      socket.write(piece)
      return
    }
    const front = isChunked ? `${head}${piece.length.toString(16)}${CRLF}` : head
    const back = isChunked ? CRLF : ''
    const size = front.length + piece.length + back.length
    if (size <= COPIED_BYTES_MAX) this.#copy(socket, { front, pieces: [piece], back }, size)
    else writeVector(socket, { front, pieces: [isBorrowed ? Buffer.from(piece) : piece], back })
  }

  /** Writes what is left of a head, and of a chunked body its end. */
  writeEnd(socket: Writable, { head, isChunked }: Frame): void {
    const rest = isChunked ? `${head}${LAST_CHUNK}` : head
    if (rest !== '') this.write(socket, rest, NONE)
  }

  #copy(socket: Writable, { front, pieces, back }: Parts, size: number): void {
    // A TLS socket says only later that it has taken something.
    const isLent = !(socket instanceof TLSSocket)
    const bytes = isLent ? this.#room : Buffer.allocUnsafe(size)
    bytes.write(front, 0, 'latin1')
    let at = front.length
    for (const piece of pieces) {
      bytes.set(piece, at)
      at += piece.length
    }
    if (back !== '') bytes.write(back, at, 'latin1')
    socket.write(isLent ? bytes.subarray(0, size) : bytes)
    if (isLent && socket.writableLength > 0) this.#room = Buffer.allocUnsafeSlow(COPIED_BYTES_MAX)
  }
}

interface Parts {
  readonly front: string
  readonly pieces: readonly Uint8Array[]
  readonly back: string
}

function writeVector(socket: Writable, { front, pieces, back }: Parts): void {
  socket.cork()
  if (front !== '') socket.write(front, 'latin1')
  for (const piece of pieces) socket.write(piece)
  if (back !== '') socket.write(back, 'latin1')
  socket.uncork()
}
