import { BodyDecoder, type BodyLength } from './body-decoder.ts'
import { type Framing, framingOf } from './framing.ts'
import { CR, isOf, malformed, readLineEnd, SPACE, TEXT } from './grammar.ts'
import { HeadReader } from './head-reader.ts'
import type { MessageSink } from './request-parser.ts'
import { readVersion, VERSION_BYTES } from './version.ts'

/** Interim answers (1xx) that may come before one final answer. */
const INTERIM_MAX = 16

const STATUS_DIGITS = 3

/** A final answer's head (RFC 9112 §4), its parts as received. */
export interface ResponseHead {
  readonly status: number
  /** Names and values in turn. */
  readonly headers: readonly string[]
  /** How the body ends; 0 where there is none. */
  readonly body: BodyLength
  /** Whether the connection may be used again behind this answer. */
  readonly isPersistent: boolean
}

/** Takes a server's bytes apart into answers. Interim ones are skipped. */
export class ResponseParser {
  readonly #sink: MessageSink<ResponseHead>
  readonly #give: (bytes: Buffer) => void
  readonly #reader = new HeadReader((bytes, start) => this.#readLine(bytes, start))
  readonly #body = new BodyDecoder()
  #isInBody = false
  #isToHead = false
  #interims = 0
  #status = 0
  #minorVersion = 1

  constructor(sink: MessageSink<ResponseHead>) {
    this.#sink = sink
    this.#give = bytes => sink.body(bytes)
  }

  /** Says what the next answer answers: one to HEAD has no body, whatever its fields say. */
  expect(method: string): void {
    this.#isToHead = method === 'HEAD'
    this.#interims = 0
  }

  /**
   * Takes in the chunk from `from` on and returns where it stopped: behind an answer's end, or at the
   * chunk's.
   *
   * @throws MessageError when nothing that comes can be trusted any more.
   */
  push(chunk: Buffer, from: number): number {
    let at = from
    while (!this.#isInBody) {
      at = this.#reader.push(chunk, at)
      if (at === -1) return chunk.length
      this.#takeHead()
    }
    at = this.#body.push(chunk, at, this.#give)
    if (this.#body.isDone) this.#end()
    return at
  }

  /**
   * Says that the server sends no more. That ends a body without a length of its own.
   *
   * @throws MessageError when something is missing.
   */
  finish(): void {
    if (!this.#body.isUntilClose) throw malformed('The answer stops before its end')
    this.#body.begin(0)
    this.#end()
  }

  #end(): void {
    this.#isInBody = false
    this.#sink.end()
  }

  /**
   * `HTTP-version SP status-code SP [reason-phrase] CRLF` (RFC 9112 §4). Without a reason the second
   * space is often left out, which leaves nothing unclear.
   */
  #readLine(bytes: Uint8Array, start: number): number {
    const minor = readVersion(bytes, start)
    if (minor === -1) return -1
    this.#minorVersion = minor
    let at = start + VERSION_BYTES
    if (at === bytes.length) return -1
    if (bytes[at] !== SPACE) throw malformed('The answer has no status')
    at += 1
    this.#status = 0
    for (const end = at + STATUS_DIGITS; at < end; at += 1) {
      const byte = bytes[at]
      if (byte === undefined) return -1
      if (byte < 0x30 || byte > 0x39) throw malformed('The answer has no status')
      this.#status = this.#status * 10 + byte - 0x30
    }
    if (at < bytes.length && bytes[at] !== SPACE && bytes[at] !== CR) {
      throw malformed('The answer has no status')
    }
    while (isOf(TEXT, bytes[at])) at += 1
    return readLineEnd(bytes, at, 'The reason holds a control character')
  }

  #takeHead(): void {
    const status = this.#status
    const headers = this.#reader.takeFields()
    const framing = framingOf(headers, this.#minorVersion)
    // RFC 9110 §15: there are no others. Nobody here asks for a switch of protocols (§15.2.2).
    if (status < 100 || status > 599 || status === 101) {
      throw malformed(`The answer has the status ${status}`)
    }
    if (status < 200) {
      this.#interims += 1
      if (this.#interims > INTERIM_MAX) throw malformed('The answer does not come to an end')
      return
    }
    const body = this.#bodyOf(framing)
    this.#body.begin(body)
    this.#isInBody = true
    const isPersistent = framing.isPersistent && body !== 'until_close'
    this.#sink.head({ status, headers, body, isPersistent })
  }

  /** RFC 9112 §6.3. */
  #bodyOf(framing: Framing): BodyLength {
    if (this.#isToHead || this.#status === 204 || this.#status === 304) return 0
    return framing.body ?? 'until_close'
  }
}
