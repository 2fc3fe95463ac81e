import { FieldSection } from './field-section.ts'
import { CR, HEX, isOf, LF, MessageError, malformed, TEXT } from './grammar.ts'

/** A chunk's size in digits, leading zeros included; more would not fit a number exactly. */
const SIZE_DIGITS_MAX = 12
/** Extensions mean nothing here and are dropped, so a chunk may carry few of them. */
const EXTENSION_BYTES_MAX = 256
/** Trailer fields are checked and dropped. */
const TRAILER_BYTES_MAX = 8_192

const SEMICOLON = 0x3b

/** How a body ends: after some bytes, with its last chunk, or with the connection. */
export type BodyLength = number | 'chunked' | 'until_close'

/**
 * Where the decoder stands in a body.
 *
 * `bytes` of a known number that are still to come · `until_close` all that comes · and within a
 * chunked one (RFC 9112 §7.1) the `size` of a chunk, its `extension`, the LF behind either
 * (`size_lf`), its `chunk`'s bytes, the CRLF behind them (`chunk_cr`, `chunk_lf`) and the `trailers` ·
 * `done`.
 */
type State =
  | 'bytes'
  | 'until_close'
  | 'size'
  | 'extension'
  | 'size_lf'
  | 'chunk'
  | 'chunk_cr'
  | 'chunk_lf'
  | 'trailers'
  | 'done'

/** Finds the bytes of one body after the other. */
export class BodyDecoder {
  readonly #trailers = new FieldSection()
  #state: State = 'done'
  /** Bytes of the body or of the chunk that are still to come; while its size is read, that size. */
  #left = 0
  /** Digits of a size or bytes of an extension so far. */
  #count = 0
  #heldTrailers: Buffer | null = null

  get isDone(): boolean {
    return this.#state === 'done'
  }

  /** Whether the body ends with the connection. */
  get isUntilClose(): boolean {
    return this.#state === 'until_close'
  }

  begin(length: BodyLength): void {
    this.#count = 0
    this.#left = 0
    if (length === 'chunked') this.#state = 'size'
    else if (length === 'until_close') this.#state = 'until_close'
    else {
      this.#left = length
      this.#state = length === 0 ? 'done' : 'bytes'
    }
  }

  /**
   * Takes in the chunk from `from` on, gives out views of it, and returns where it stopped: at the
   * body's end or the chunk's.
   *
   * @throws MessageError
   */
  push(chunk: Buffer, from: number, give: (bytes: Buffer) => void): number {
    let at = from
    while (at < chunk.length && this.#state !== 'done') {
      switch (this.#state) {
        case 'bytes':
        case 'chunk':
          at = this.#bytes(chunk, at, give)
          break
        case 'until_close':
          give(at === 0 ? chunk : chunk.subarray(at))
          return chunk.length
        case 'trailers':
          return this.#readTrailers(chunk, at)
        default:
          this.#framing(chunk[at] ?? 0)
          at += 1
      }
    }
    return at
  }

  #bytes(chunk: Buffer, from: number, give: (bytes: Buffer) => void): number {
    const end = Math.min(chunk.length, from + this.#left)
    give(from === 0 && end === chunk.length ? chunk : chunk.subarray(from, end))
    this.#left -= end - from
    if (this.#left === 0) this.#state = this.#state === 'bytes' ? 'done' : 'chunk_cr'
    return end
  }

  /** One byte of what stands around the chunks. No byte of it may be another than the grammar's. */
  #framing(byte: number): void {
    switch (this.#state) {
      case 'size':
        if (isOf(HEX, byte) && this.#count < SIZE_DIGITS_MAX) {
          this.#left = this.#left * 16 + hexValue(byte)
          this.#count += 1
        } else if (this.#count === 0) throw malformed('A chunk has no proper size')
        else if (byte === CR) this.#state = 'size_lf'
        // RFC 9112 §7.1.1 knows space before the semicolon as bad; it stays so.
        else if (byte === SEMICOLON) {
          this.#count = 0
          this.#state = 'extension'
        } else throw malformed('A chunk has no proper size')
        break
      case 'extension':
        this.#count += 1
        if (byte === CR) this.#state = 'size_lf'
        else if (!isOf(TEXT, byte) || this.#count > EXTENSION_BYTES_MAX) {
          throw malformed('A chunk has no proper extension')
        }
        break
      case 'size_lf':
        demand(byte, LF)
        this.#count = 0
        this.#state = this.#left === 0 ? 'trailers' : 'chunk'
        if (this.#left === 0) this.#trailers.begin(0)
        break
      case 'chunk_cr':
        demand(byte, CR)
        this.#state = 'chunk_lf'
        break
      default:
        demand(byte, LF)
        this.#state = 'size'
    }
  }

  #readTrailers(chunk: Buffer, from: number): number {
    const held = this.#heldTrailers
    const fresh = chunk.subarray(from)
    const all = held === null ? fresh : Buffer.concat([held, fresh])
    const bytes = all.subarray(0, TRAILER_BYTES_MAX)
    const end = this.#trailers.read(bytes)
    if (end === -1) {
      if (bytes.length === TRAILER_BYTES_MAX) {
        throw new MessageError(431, 'headers_too_large', 'The trailer section is too large')
      }
      // A copy: the chunk's memory may be used for another one.
      this.#heldTrailers = held === null ? Buffer.from(all) : all
      return chunk.length
    }
    this.#heldTrailers = null
    this.#state = 'done'
    return from + end - (held?.length ?? 0)
  }
}

function demand(byte: number, expected: number): void {
  if (byte !== expected) throw malformed('A chunk does not end with CRLF')
}

function hexValue(digit: number): number {
  return digit <= 0x39 ? digit - 0x30 : (digit | 0x20) - 0x57
}
