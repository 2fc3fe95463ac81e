import { CR, FIELDS_MAX, type FieldSpan, MessageError, readField, readLineEnd } from './grammar.ts'
import { usualName } from './usual-names.ts'

/** Offsets kept of each field: its name's start and end, its value's start and end. */
const OFFSETS = 4

/**
 * The fields of a head or of a trailer section (RFC 9112 §5, §7.1.2), read line by line from bytes
 * that grow at their end between the reads. Strings are made once, when all is there.
 */
export class FieldSection {
  readonly #offsets: number[] = []
  readonly #span: FieldSpan = { nameEnd: 0, valueStart: 0, valueEnd: 0 }
  #count = 0
  #at = 0

  /** Begins anew, at the first byte of the first line. */
  begin(at: number): void {
    this.#at = at
    this.#count = 0
  }

  /**
   * Reads on. Returns where the section ends, behind its empty line, or -1 when more is needed.
   *
   * @throws MessageError
   */
  read(bytes: Uint8Array): number {
    while (this.#at < bytes.length) {
      if (bytes[this.#at] === CR) return readLineEnd(bytes, this.#at, '')
      if (this.#count === FIELDS_MAX) {
        const message = `The message has more than ${FIELDS_MAX} header fields`
        throw new MessageError(431, 'too_many_headers', message)
      }
      const next = readField(bytes, this.#at, this.#span)
      if (next === -1) return -1
      this.#note(next)
    }
    return -1
  }

  /** Where the section's first byte that was not read stands. */
  get at(): number {
    return this.#at
  }

  /**
   * Names and values in turn, as received and in order. `text` is the bytes as latin1: slices of one
   * string cost next to nothing.
   */
  list(bytes: Buffer, text: string): string[] {
    const offsets = this.#offsets
    const fields = new Array<string>(this.#count * 2)
    for (let at = 0; at < this.#count * OFFSETS; at += OFFSETS) {
      const start = offsets[at] ?? 0
      const end = offsets[at + 1] ?? 0
      const name = usualName(bytes, start, end)
      fields[at / 2] = name === '' ? text.slice(start, end) : name
      fields[at / 2 + 1] = text.slice(offsets[at + 2], offsets[at + 3])
    }
    return fields
  }

  #note(next: number): void {
    const { nameEnd, valueStart, valueEnd } = this.#span
    const offsets = this.#offsets
    const to = this.#count * OFFSETS
    offsets[to] = this.#at
    offsets[to + 1] = nameEnd
    offsets[to + 2] = valueStart
    offsets[to + 3] = valueEnd
    this.#count += 1
    this.#at = next
  }
}
