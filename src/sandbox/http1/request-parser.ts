import { BodyDecoder } from './body-decoder.ts'
import { type Framing, framingOf } from './framing.ts'
import { CR, isOf, malformed, readLineEnd, SPACE, TARGET, TOKEN } from './grammar.ts'
import { HeadReader } from './head-reader.ts'
import { readVersion, VERSION_BYTES } from './version.ts'

/** A request's head (RFC 9112 §3), its parts as received. */
export interface RequestHead extends Framing {
  readonly method: string
  readonly target: string
  /** Of HTTP/1.x. */
  readonly minorVersion: number
  /** Names and values in turn. */
  readonly headers: readonly string[]
}

/** What a parser tells about a message, in this order. */
export interface MessageSink<Head> {
  head(head: Head): void
  /** A view of a chunk that was pushed. */
  body(bytes: Buffer): void
  end(): void
}

/** Takes an agent's bytes apart into requests. */
export class RequestParser {
  readonly #sink: MessageSink<RequestHead>
  readonly #give: (bytes: Buffer) => void
  readonly #reader = new HeadReader((bytes, start) => this.#readLine(bytes, start))
  readonly #body = new BodyDecoder()
  #isInBody = false
  #methodStart = 0
  #methodEnd = 0
  #targetEnd = 0
  #minorVersion = 1

  constructor(sink: MessageSink<RequestHead>) {
    this.#sink = sink
    this.#give = bytes => sink.body(bytes)
  }

  /** Whether a request has begun to come and is not there to its end. */
  get isWithin(): boolean {
    return this.#isInBody || this.#reader.isWithin
  }

  /**
   * Takes in the chunk from `from` on and returns where it stopped: behind a request's end, or at the
   * chunk's. After a `CONNECT` nothing more may be pushed.
   *
   * @throws MessageError when nothing that comes can be trusted any more.
   */
  push(chunk: Buffer, from: number): number {
    let at = from
    if (!this.#isInBody) {
      at = this.#reader.push(chunk, at)
      if (at === -1) return chunk.length
      const head = this.#takeHead()
      this.#body.begin(head.body ?? 0)
      this.#isInBody = true
      this.#sink.head(head)
    }
    at = this.#body.push(chunk, at, this.#give)
    if (this.#body.isDone) {
      this.#isInBody = false
      this.#sink.end()
    }
    return at
  }

  /** `method SP request-target SP HTTP-version CRLF`, each space one (RFC 9112 §3). */
  #readLine(bytes: Uint8Array, start: number): number {
    let at = start
    // RFC 9112 §2.2: one empty line before a request is ignored.
    if (bytes[at] === CR) {
      at = readLineEnd(bytes, at, '')
      if (at === -1) return -1
    }
    this.#methodStart = at
    while (isOf(TOKEN, bytes[at])) at += 1
    if (at === bytes.length) return -1
    if (bytes[at] !== SPACE || at === this.#methodStart) {
      throw malformed('The request has no proper method')
    }
    this.#methodEnd = at
    at += 1
    while (isOf(TARGET, bytes[at])) at += 1
    if (at === bytes.length) return -1
    if (bytes[at] !== SPACE || at === this.#methodEnd + 1) {
      throw malformed('The request target holds a character that must be percent-encoded')
    }
    this.#targetEnd = at
    const minor = readVersion(bytes, at + 1)
    if (minor === -1) return -1
    this.#minorVersion = minor
    return readLineEnd(bytes, at + 1 + VERSION_BYTES, 'Something follows the HTTP version')
  }

  #takeHead(): RequestHead {
    const method = this.#reader.text(this.#methodStart, this.#methodEnd)
    const target = this.#reader.text(this.#methodEnd + 1, this.#targetEnd)
    const minorVersion = this.#minorVersion
    const headers = this.#reader.takeFields()
    const { body, isPersistent, expectsContinue, upgrade } = framingOf(headers, minorVersion)
    // RFC 9110 §9.3.6: what follows a CONNECT is the tunnel's.
    if (method === 'CONNECT' && (body ?? 0) !== 0) throw malformed('A CONNECT has no body')
    return { method, target, minorVersion, headers, body, isPersistent, expectsContinue, upgrade }
  }
}
