import { MessageError } from '../../src/sandbox/http1/grammar.ts'
import {
  type MessageSink,
  type RequestHead,
  RequestParser,
} from '../../src/sandbox/http1/request-parser.ts'
import { type ResponseHead, ResponseParser } from '../../src/sandbox/http1/response-parser.ts'
import type { Reading, ReadMessage } from './http1-reference.ts'

/** What our parsers make of some bytes, in the reference's form. */
class Parsed<Head extends Pick<RequestHead, 'headers' | 'isPersistent'>>
  implements MessageSink<Head>
{
  readonly messages: { -readonly [Key in keyof ReadMessage]: ReadMessage[Key] }[] = []
  readonly #startOf: (head: Head) => string
  status = 0

  constructor(startOf: (head: Head) => string) {
    this.#startOf = startOf
  }

  get reading(): Reading {
    return { messages: this.messages, status: this.status }
  }

  head(head: Head): void {
    const { headers, isPersistent } = head
    const start = this.#startOf(head)
    this.messages.push({ start, headers, isPersistent, body: '', isWhole: false })
  }

  body(bytes: Buffer): void {
    const last = this.messages.at(-1)
    if (last === undefined || last.isWhole || bytes.length === 0) throw new Error('out of turn')
    last.body += bytes.toString('latin1')
  }

  end(): void {
    const last = this.messages.at(-1)
    if (last === undefined || last.isWhole) throw new Error('out of turn')
    last.isWhole = true
  }

  /** Does what may refuse. */
  attempt(act: () => void): void {
    if (this.status !== 0) return
    try {
      act()
    } catch (error) {
      if (!(error instanceof MessageError)) throw error
      this.status = error.status
    }
  }
}

/** Parses requests out of chunks. */
export function parseRequests(chunks: readonly Buffer[]): Reading {
  const parsed = new Parsed<RequestHead>(
    head => `${head.method} ${head.target} HTTP/1.${head.minorVersion}`,
  )
  const parser = new RequestParser(parsed)
  const isTunnel = (): boolean =>
    parsed.messages.at(-1)?.start.startsWith('CONNECT ') === true && !parser.isWithin
  for (const chunk of chunks) {
    parsed.attempt(() => {
      for (let at = 0; at < chunk.length && !isTunnel(); ) at = parser.push(chunk, at)
    })
  }
  return parsed.reading
}

/** Parses the answers to requests of the given methods out of chunks. */
export function parseResponses(
  chunks: readonly Buffer[],
  methods: readonly string[],
  isClosed: boolean,
): Reading {
  const parsed = new Parsed<ResponseHead>(head => `${head.status}`)
  const parser = new ResponseParser(parsed)
  let answered = 0
  parser.expect(methods[0] ?? '')
  const advance = (): void => {
    if (parsed.messages.filter(one => one.isWhole).length === answered) return
    answered += 1
    parser.expect(methods[answered] ?? '')
  }
  for (const chunk of chunks) {
    parsed.attempt(() => {
      for (let at = 0; at < chunk.length && answered < methods.length; ) {
        at = parser.push(chunk, at)
        advance()
      }
    })
  }
  if (isClosed && answered < methods.length) parsed.attempt(() => parser.finish())
  return parsed.reading
}
