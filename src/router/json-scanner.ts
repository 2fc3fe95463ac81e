import { RouterError } from './errors.ts'

/** What the scanner tells about the top level. Offsets count in the chunk being scanned. */
export interface TopLevelSink {
  /** `at` is the opening brace. */
  opened(at: number): void
  /** A key that was asked for, '' for any other; `at` is its opening quote, within the chunk. */
  key(name: string, at: number): void
  /** `at` is the value's first byte. */
  valueStarted(at: number): void
  /** `at` is the first byte behind the value. */
  valueEnded(at: number, value: { readonly isTrue: boolean }): void
  comma(at: number): void
  /** `at` is the closing brace. */
  closed(at: number): void
}

/**
 * Where the scanner stands.
 *
 * `start` before the opening brace · `first_key` behind it, where it may also close · `key` behind a
 * comma · `long_key` in a key too long to matter · `colon` behind a key · `value` behind a colon ·
 * `string`, `scalar` in a top-level value · `nested`, `nested_string` below the top level ·
 * `after_value` behind a value · `done` behind the closing brace.
 */
type State =
  | 'start'
  | 'first_key'
  | 'key'
  | 'long_key'
  | 'colon'
  | 'value'
  | 'string'
  | 'scalar'
  | 'nested'
  | 'nested_string'
  | 'after_value'
  | 'done'

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const COMMA = 0x2c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const BOM: readonly number[] = [0xef, 0xbb, 0xbf]

/** A character of a key written as an escape, `\\u006d`, takes this many bytes. */
const ESCAPE_BYTES = 6

/**
 * How far a string's end is sought byte by byte before the native search pays for its call: words
 * and keys end within the first, and behind an escaped quote stands the text of a long string.
 */
const PROBE_BYTES = 24
const LATER_PROBE_BYTES = 8

/** Of a value that is anything but `true`. */
const NOT_TRUE = { isTrue: false } as const

// Classes of the bytes outside strings. What JSON has no use for is refused at every depth: a reader
// more lenient than JSON (comments, single quotes) could see other strings than we do.
// Those that mean nothing below the top level come last.
const REFUSED = 0
const QUOTING = 1
const OPENING = 2
const CLOSING = 3
const BLANK = 4
const SCALAR = 5
const SEPARATING = 6
const CLASS = new Uint8Array(256)
for (const [chars, kind] of [
  [' \t\r\n', BLANK],
  ['+-.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ', SCALAR],
  ['{[', OPENING],
  ['}]', CLOSING],
  ['"', QUOTING],
  [',:', SEPARATING],
] as const) {
  for (const char of chars) CLASS[char.charCodeAt(0)] = kind
}

/**
 * Finds the top-level members of a JSON object in bytes that come in any chunks, without parsing
 * the document: it leaps from quote to quote and counts depth. The top level is held to the grammar,
 * so that no reader can see other members there; what lies deeper is the vendor's to judge.
 *
 * @throws RouterError `bad_request` from `push` and `finish`.
 */
export class TopLevelScanner {
  #state: State = 'start'
  #depth = 0
  /** Whether the chunk before ended on a backslash that escapes the first byte of the next. */
  #isEscaped = false
  #scalar = ''
  #bomBytes = 0
  readonly #names: readonly string[]
  /** A key longer than this can mean none of the names, however it is written. */
  readonly #keyBytesMax: number

  /** `names` are the top-level members that are told by name. */
  constructor(names: readonly string[]) {
    this.#names = names
    let longest = 0
    for (const name of names) longest = Math.max(longest, name.length)
    this.#keyBytesMax = longest * ESCAPE_BYTES
  }

  /**
   * Scans a chunk and returns how many of its bytes are settled. The rest, the beginning of a key,
   * must stand again at the head of the next chunk.
   */
  push(chunk: Uint8Array, sink: TopLevelSink): number {
    let at = 0
    while (at < chunk.length) {
      const next = this.#step(chunk, at, sink)
      if (next === -1) return at
      at = next
    }
    return at
  }

  /** Says that no chunk follows. */
  finish(): void {
    if (this.#state === 'done') return
    throw refusal(this.#state === 'start' ? 'it is empty' : 'it ends before its closing brace')
  }

  #step(chunk: Uint8Array, at: number, sink: TopLevelSink): number {
    switch (this.#state) {
      case 'nested':
        return this.#nested(chunk, at, sink)
      case 'nested_string':
        return this.#string(chunk, at, 'nested')
      case 'string':
        return this.#valueString(chunk, at, sink)
      case 'long_key':
        return this.#string(chunk, at, 'colon')
      case 'scalar':
        return this.#inScalar(chunk, at, sink)
      default:
        return CLASS[chunk[at] ?? 0] === BLANK ? at + 1 : this.#token(chunk, at, sink)
    }
  }

  /** One byte of the top level's own grammar, or what begins with it. */
  #token(chunk: Uint8Array, at: number, sink: TopLevelSink): number {
    const byte = chunk[at]
    switch (this.#state) {
      case 'start':
        return this.#start(byte, at, sink)
      case 'first_key':
        if (byte === CLOSE_BRACE) return this.#close(at, sink)
        return this.#key(chunk, at, sink)
      case 'key':
        return this.#key(chunk, at, sink)
      case 'colon':
        if (byte !== COLON) throw refusal('a key has no value')
        this.#state = 'value'
        return at + 1
      case 'value':
        return this.#value(byte, at, sink)
      case 'after_value':
        if (byte === CLOSE_BRACE) return this.#close(at, sink)
        if (byte !== COMMA) throw refusal('its members are not separated by commas')
        sink.comma(at)
        this.#state = 'key'
        return at + 1
      default:
        throw refusal('something follows its closing brace')
    }
  }

  #start(byte: number | undefined, at: number, sink: TopLevelSink): number {
    if (byte === OPEN_BRACE && this.#bomBytes % BOM.length === 0) {
      sink.opened(at)
      this.#state = 'first_key'
      return at + 1
    }
    if (byte !== BOM[this.#bomBytes]) throw refusal('it does not begin with a brace')
    this.#bomBytes += 1
    return at + 1
  }

  #close(at: number, sink: TopLevelSink): number {
    sink.closed(at)
    this.#state = 'done'
    return at + 1
  }

  /** A key is told only as a whole: one that goes on in the next chunk is left for it. */
  #key(chunk: Uint8Array, at: number, sink: TopLevelSink): number {
    if (chunk[at] !== QUOTE) throw refusal('a member does not begin with a key')
    const start = at + 1
    const end = closingQuote(chunk, start)
    if (end !== -1) {
      sink.key(this.#nameOf(chunk, start, end), at)
      this.#state = 'colon'
      return end + 1
    }
    if (chunk.length - start <= this.#keyBytesMax) return -1
    sink.key('', at)
    this.#state = 'long_key'
    this.#isEscaped = endsEscaping(chunk, start)
    return chunk.length
  }

  /** What a key means, written plainly or with escapes, as any JSON reader would take it. */
  #nameOf(chunk: Uint8Array, start: number, end: number): string {
    const length = end - start
    if (length > this.#keyBytesMax) return ''
    for (const name of this.#names) {
      if (name.length === length && standsAt(name, chunk, start)) return name
    }
    // Only an escape can still mean one of them: it is longer than what it stands for.
    if (!hasEscape(chunk, start, end)) return ''
    const text = Buffer.from(chunk.buffer, chunk.byteOffset + start, length).toString('latin1')
    const name = unescaped(text)
    return this.#names.includes(name) ? name : ''
  }

  #value(byte: number | undefined, at: number, sink: TopLevelSink): number {
    sink.valueStarted(at)
    switch (CLASS[byte ?? 0]) {
      case QUOTING:
        this.#state = 'string'
        return at + 1
      case OPENING:
        this.#state = 'nested'
        this.#depth = 1
        return at + 1
      case SCALAR:
        this.#state = 'scalar'
        this.#scalar = ''
        return at
      default:
        throw refusal('a key has no value')
    }
  }

  #inScalar(chunk: Uint8Array, from: number, sink: TopLevelSink): number {
    let at = from
    while (at < chunk.length && CLASS[chunk[at] ?? 0] === SCALAR) {
      // Five characters are enough to tell `true` from everything else.
      if (this.#scalar.length < 5) this.#scalar += String.fromCharCode(chunk[at] ?? 0)
      at += 1
    }
    if (at < chunk.length) {
      sink.valueEnded(at, { isTrue: this.#scalar === 'true' })
      this.#state = 'after_value'
    }
    return at
  }

  #valueString(chunk: Uint8Array, at: number, sink: TopLevelSink): number {
    const end = this.#string(chunk, at, 'after_value')
    if (this.#state === 'after_value') sink.valueEnded(end, NOT_TRUE)
    return end
  }

  /** Goes on in a string that an earlier step has entered; `next` says what comes behind it. */
  #string(chunk: Uint8Array, at: number, next: State): number {
    const start = this.#isEscaped ? at + 1 : at
    const quote = closingQuote(chunk, start)
    if (quote === -1) {
      this.#isEscaped = endsEscaping(chunk, start)
      return chunk.length
    }
    this.#isEscaped = false
    this.#state = next
    return quote + 1
  }

  /** The hot loop. `#depth` counts what is open below the top level. */
  #nested(chunk: Uint8Array, from: number, sink: TopLevelSink): number {
    const { length } = chunk
    let depth = this.#depth
    let at = from
    while (at < length) {
      let kind = BLANK
      while (kind >= BLANK && at < length) kind = CLASS[chunk[at++] ?? 0] ?? REFUSED
      if (kind === QUOTING) {
        const quote = closingQuote(chunk, at)
        if (quote === -1) {
          this.#state = 'nested_string'
          this.#isEscaped = endsEscaping(chunk, at)
          at = length
        } else {
          at = quote + 1
        }
      } else if (kind === OPENING) {
        depth += 1
      } else if (kind === CLOSING) {
        depth -= 1
        if (depth === 0) {
          sink.valueEnded(at, NOT_TRUE)
          this.#state = 'after_value'
          break
        }
      } else if (kind === REFUSED) {
        throw refusal('it holds a character that JSON does not know')
      }
    }
    this.#depth = depth
    return at
  }
}

/** The quote that ends a string whose text begins at `start`, or -1 when it is not in the chunk. */
function closingQuote(chunk: Uint8Array, start: number): number {
  const { length } = chunk
  let at = start
  let probeBytes = PROBE_BYTES
  for (;;) {
    for (const probeEnd = Math.min(at + probeBytes, length); at < probeEnd; at += 1) {
      const byte = chunk[at]
      if (byte === QUOTE) return at
      if (byte === BACKSLASH) at += 1
    }
    const quote = chunk.indexOf(QUOTE, at)
    if (quote === -1 || !endsEscaping(chunk, at, quote)) return quote
    at = quote + 1
    probeBytes = LATER_PROBE_BYTES
  }
}

/** Whether the string text in `[start, end)` ends on a backslash that escapes what follows. */
function endsEscaping(chunk: Uint8Array, start: number, end = chunk.length): boolean {
  let at = end
  while (at > start && chunk[at - 1] === BACKSLASH) at -= 1
  return (end - at) % 2 === 1
}

function hasEscape(bytes: Uint8Array, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) if (bytes[at] === BACKSLASH) return true
  return false
}

function standsAt(text: string, bytes: Uint8Array, start: number): boolean {
  for (let at = 0; at < text.length; at += 1) {
    if (bytes[start + at] !== text.charCodeAt(at)) return false
  }
  return true
}

function unescaped(text: string): string {
  try {
    return String(JSON.parse(`"${text}"`))
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw refusal('a key holds an escape that JSON does not know')
  }
}

function refusal(reason: string): RouterError {
  return new RouterError(
    'bad_request',
    `The request body must be one JSON object, but ${reason}. Send a JSON object`,
  )
}
