import { FieldSection } from './field-section.ts'
import { HEAD_BYTES_MAX, MessageError } from './grammar.ts'

/**
 * Reads the start line that begins at `start` and returns where the fields begin, or -1 when the line
 * is not there to its end.
 *
 * @throws MessageError
 */
export type ReadStartLine = (bytes: Uint8Array, start: number) => number

/**
 * Gathers the head of one message after the other from chunks. A head that comes in one chunk, as
 * nearly all do, is read where it stands.
 */
export class HeadReader {
  readonly #readStartLine: ReadStartLine
  readonly #fields = new FieldSection()
  #held: Buffer | null = null
  #bytes: Buffer = EMPTY
  #text = ''
  #hasStartLine = false

  constructor(readStartLine: ReadStartLine) {
    this.#readStartLine = readStartLine
  }

  /**
   * Takes in the chunk from `from` on. Returns where in the chunk the head ends, or -1 when it needs
   * more than there is.
   *
   * @throws MessageError
   */
  push(chunk: Buffer, from: number): number {
    const fresh = from === 0 ? chunk : chunk.subarray(from)
    const held = this.#held
    const all = held === null ? fresh : Buffer.concat([held, fresh])
    // What lies beyond the limit is not looked at, so that it cannot change what is said.
    const bytes = all.length > HEAD_BYTES_MAX ? all.subarray(0, HEAD_BYTES_MAX) : all
    const end = this.#read(bytes)
    if (end === -1) {
      // A copy: the chunk's memory may be used for another one.
      if (bytes.length < HEAD_BYTES_MAX) this.#held = held === null ? Buffer.from(all) : all
      else throw tooLarge()
      return -1
    }
    this.#bytes = bytes
    this.#text = bytes.toString('latin1', 0, this.#fields.at)
    this.#held = null
    this.#hasStartLine = false
    return from + end - (held?.length ?? 0)
  }

  /** Whether a part of a head is there. */
  get isWithin(): boolean {
    return this.#held !== null
  }

  /** A part of the start line that was read last, by its offsets. */
  text(start: number, end: number): string {
    return this.#text.slice(start, end)
  }

  /** The fields of the head that was read last, and lets its bytes go. */
  takeFields(): string[] {
    const fields = this.#fields.list(this.#bytes, this.#text)
    this.#bytes = EMPTY
    this.#text = ''
    return fields
  }

  #read(bytes: Uint8Array): number {
    if (!this.#hasStartLine) {
      const next = this.#readStartLine(bytes, 0)
      if (next === -1) return -1
      this.#hasStartLine = true
      this.#fields.begin(next)
    }
    return this.#fields.read(bytes)
  }
}

const EMPTY = Buffer.alloc(0)

function tooLarge(): MessageError {
  const message = `The message's head is larger than ${HEAD_BYTES_MAX} bytes`
  return new MessageError(431, 'headers_too_large', message)
}
