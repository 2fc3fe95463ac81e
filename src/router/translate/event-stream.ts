import { UpstreamError } from '../exchange.ts'

/** One server-sent event (WHATWG HTML §9.2.6). */
export interface ServerSentEvent {
  /** '' where none is named. */
  readonly name: string
  readonly data: string
}

/** A stream's translation: what it has seen is its own. */
export interface EventTranslation {
  /** The text that stands for an event; '' for none. */
  event(event: ServerSentEvent): string
  /** The text at the stream's clean end. @throws UpstreamError `broken` when it came too soon. */
  end(): string
}

/** No vendor's event comes near; beyond, something else than an event stream is sent. */
const EVENT_CHARS_MAX = 4 * 1024 * 1024

/** Servers send comments to show that they are alive; so must we, to whoever waits for them. */
const COMMENT = ':\n\n'

/**
 * Translates a stream event by event. Each chunk's complete events go out before the next chunk is
 * asked for, so nothing waits and the reader's pace reaches the upstream.
 */
export async function* translateEvents(
  body: AsyncIterable<Uint8Array>,
  translation: EventTranslation,
): AsyncGenerator<Uint8Array> {
  const decoder = new TextDecoder()
  const parser = new EventParser()
  const translated = (events: readonly (ServerSentEvent | null)[]): string =>
    events.map(event => (event === null ? COMMENT : translation.event(event))).join('')
  for await (const chunk of body) {
    const text = translated(parser.push(decoder.decode(chunk, { stream: true })))
    if (text !== '') yield Buffer.from(text)
  }
  // Some servers leave the blank line behind the last event out.
  const text = translated(parser.push(`${decoder.decode()}\n\n`)) + translation.end()
  if (text !== '') yield Buffer.from(text)
}

/** An event without a name, of JSON data. */
export function eventText(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`
}

/** Reads server-sent events from text that comes in pieces, cut anywhere. */
class EventParser {
  /** The unfinished line. */
  #line = ''
  #name = ''
  #data: string[] = []
  #chars = 0

  /** The events that the text completes; null stands for a comment. */
  push(text: string): readonly (ServerSentEvent | null)[] {
    const events: (ServerSentEvent | null)[] = []
    const lines = (this.#line + text).split(/\r\n|\n|\r(?!$)/)
    this.#line = lines.pop() ?? ''
    for (const line of lines) {
      this.#chars += line.length
      if (line.startsWith(':')) events.push(null)
      else if (line !== '') this.#field(line)
      else if (this.#data.length > 0) events.push(this.#take())
      else this.#reset()
    }
    if (this.#chars + this.#line.length > EVENT_CHARS_MAX) {
      throw new UpstreamError('broken', 'An event of the stream is too large')
    }
    return events
  }

  #field(line: string): void {
    const colon = line.indexOf(':')
    const name = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(colon + 1).replace(/^ /, '')
    if (name === 'event') this.#name = value
    if (name === 'data') this.#data.push(value)
  }

  #take(): ServerSentEvent {
    const event = { name: this.#name, data: this.#data.join('\n') }
    this.#reset()
    return event
  }

  #reset(): void {
    this.#name = ''
    this.#data = []
    this.#chars = 0
  }
}
