// An independent reading of HTTP/1.1: slow, by regular expressions over the whole text, where what is
// there so far is either a message, the beginning of one, or neither.

/** One message as read: what its head says, its body so far, and whether it is complete. */
export interface ReadMessage {
  readonly start: string
  readonly headers: readonly string[]
  readonly isPersistent: boolean
  readonly body: string
  readonly isWhole: boolean
}

/** What a text holds. `status` is 0 unless it was refused. */
export interface Reading {
  readonly messages: readonly ReadMessage[]
  readonly status: number
}

const T = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]"
const X = '[\\t\\x20-\\x7e\\x80-\\xff]'
const U = "[-._~:/?[\\]@!$&'()*+,;=%0-9A-Za-z]"
const FIELD = `${T}+:${X}*\\r\\n`

/** All beginnings of the given parts in a row. */
function beginning(...parts: readonly string[]): string {
  return parts.reduceRight((rest, part) => `(?:$|${part}${rest})`, '')
}

const FIELDS_BEGUN = `(?:${FIELD})*(?:${beginning('\\r', '\\n')}|${beginning(`${T}+`, ':', `${X}*`, '\\r', '\\n')})`
const VERSION = ['H', 'T', 'T', 'P', '/', '1', '\\.', '[01]']

const GRAMMARS = {
  request: {
    whole: new RegExp(`^(?:\\r\\n)?(${T}+ ${U}+ HTTP/1\\.([01]))\\r\\n((?:${FIELD})*)\\r\\n`),
    begun: new RegExp(
      `^(?:${beginning('\\r', '\\n')})?${beginning(`${T}+`, ' ', `${U}+`, ' ', ...VERSION, '\\r', '\\n', FIELDS_BEGUN)}$`,
    ),
    otherVersion: new RegExp(`^(?:\\r\\n)?${T}+ ${U}+ HTTP/(?!1\\.[01])\\d\\.\\d`),
    otherVersionBegun: new RegExp(`^(?:\\r\\n)?${T}+ ${U}+ HTTP/\\d\\.?$`),
    crowded: new RegExp(`^(?:\\r\\n)?${T}+ ${U}+ HTTP/1\\.[01]\\r\\n(?:${FIELD}){100}[^\\r]`),
  },
  response: {
    whole: new RegExp(`^(HTTP/1\\.([01]) \\d\\d\\d)(?: ${X}*)?\\r\\n((?:${FIELD})*)\\r\\n`),
    begun: new RegExp(
      `^${beginning(...VERSION, ' ', '\\d', '\\d', '\\d', `(?: ${X}*)?`, '\\r', '\\n', FIELDS_BEGUN)}$`,
    ),
    otherVersion: /^HTTP\/(?!1\.[01])\d\.\d/,
    otherVersionBegun: /^HTTP\/\d\.?$/,
    crowded: new RegExp(`^HTTP/1\\.[01] \\d\\d\\d(?: ${X}*)?\\r\\n(?:${FIELD}){100}[^\\r]`),
  },
} as const

const HEAD_MAX = 32_768
const TRAILER_MAX = 8_192
const LAST_CHUNK = /^0{1,12}(?:;[\t\x20-\x7e\x80-\xff]{0,256})?\r\n/
const CHUNK_HEAD = /^([0-9a-f]{1,12})(?:;[\t\x20-\x7e\x80-\xff]{0,256})?\r\n/i
const CHUNK_BEGUN = /^(?:$|[0-9a-f]{1,12}(?:;[\t\x20-\x7e\x80-\xff]{0,256})?(?:$|\r$))/i
const TRAILERS = new RegExp(`^(?:${FIELD}){0,100}\\r\\n`)
const TRAILERS_BEGUN = new RegExp(`^${FIELDS_BEGUN}$`)
const TRAILERS_CROWDED = new RegExp(`^(?:${FIELD}){100}[^\\r]`)

interface Body {
  readonly text: string
  /** What stands behind it; null while it is not whole. */
  readonly rest: string | null
  readonly status: number
}

/** Reads the requests in a connection's bytes so far, each byte a character. */
export function readRequests(text: string): Reading {
  return readMessages(text, 'request', () => 'POST')
}

/**
 * Reads the answers in a connection's bytes so far; `methods` are those of the requests, and
 * `isClosed` says that nothing follows.
 */
export function readResponses(
  text: string,
  methods: readonly string[],
  isClosed: boolean,
): Reading {
  const { messages, status } = readMessages(
    text,
    'response',
    index => methods[index] ?? '',
    methods,
  )
  if (!isClosed || status !== 0) return { messages, status }
  const last = messages.at(-1)
  if (messages.length === methods.length && last?.isWhole !== false) return { messages, status }
  const isLasting = last !== undefined && !last.isWhole && isUntilClose(last)
  if (!isLasting) return { messages, status: 400 }
  return { messages: [...messages.slice(0, -1), { ...last, isWhole: true }], status: 0 }
}

function isUntilClose({ headers }: ReadMessage): boolean {
  return (
    valuesOf(headers, 'content-length').length + valuesOf(headers, 'transfer-encoding').length === 0
  )
}

function readMessages(
  text: string,
  kind: 'request' | 'response',
  methodOf: (index: number) => string,
  limit: readonly string[] | null = null,
): Reading {
  const messages: ReadMessage[] = []
  let rest = text
  let interims = 0
  while (rest !== '' && (limit === null || messages.length < limit.length)) {
    const head = readHead(rest, kind)
    if (typeof head === 'number') return { messages, status: head }
    rest = rest.slice(head.length)
    const status = kind === 'request' ? 200 : Number(head.start.slice(-3))
    if (!isFramed(head) || status < 100 || status > 599 || status === 101) {
      return { messages, status: 400 }
    }
    if (
      kind === 'request' &&
      head.start.startsWith('CONNECT ') &&
      lengthOf(head.headers, 0) !== 0
    ) {
      return { messages, status: 400 }
    }
    if (status < 200) {
      interims += 1
      if (interims > 16) return { messages, status: 400 }
      continue
    }
    interims = 0
    const isBodiless =
      kind === 'response' &&
      (methodOf(messages.length) === 'HEAD' || status === 204 || status === 304)
    const length = isBodiless ? 0 : lengthOf(head.headers, kind === 'request' ? 0 : 'until_close')
    const body = readBody(rest, length)
    const isPersistent = head.isPersistent && (kind === 'request' || length !== 'until_close')
    const { headers } = head
    const start = kind === 'request' ? head.start : `${status}`
    messages.push({ start, headers, isPersistent, body: body.text, isWhole: body.rest !== null })
    if (body.status !== 0) return { messages, status: body.status }
    if (body.rest === null) break
    rest = body.rest
    if (start.startsWith('CONNECT ')) break
  }
  return { messages, status: 0 }
}

interface Head {
  readonly start: string
  readonly minor: string
  readonly headers: readonly string[]
  readonly isPersistent: boolean
  readonly length: number
}

/** The head at the beginning, or 0 when it is not whole, or the status of its refusal. */
function readHead(text: string, kind: keyof typeof GRAMMARS): Head | number {
  const grammar = GRAMMARS[kind]
  const seen = text.slice(0, HEAD_MAX)
  const match = grammar.whole.exec(seen)
  if (grammar.crowded.test(seen)) return 431
  if (match === null) {
    if (grammar.begun.test(seen) || grammar.otherVersionBegun.test(seen)) {
      return seen.length === HEAD_MAX ? 431 : 0
    }
    return grammar.otherVersion.test(seen) ? 505 : 400
  }
  const [{ length }, start = '', minor = '', lines = ''] = match
  const headers = lines
    .split('\r\n')
    .slice(0, -1)
    .flatMap(line => {
      const [, name = '', value = ''] = /^([^:]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? []
      return [name, value]
    })
  const tokens = valuesOf(headers, 'connection').flatMap(value =>
    value.split(',').map(one => one.trim().toLowerCase()),
  )
  const isPersistent = !tokens.includes('close') && (minor === '1' || tokens.includes('keep-alive'))
  return { start, minor, headers, isPersistent, length }
}

function isFramed({ headers, minor }: Head): boolean {
  const lengths = valuesOf(headers, 'content-length')
  const codings = valuesOf(headers, 'transfer-encoding')
  if (lengths.length + codings.length > 1) return false
  if (codings.length === 1) return minor === '1' && /^chunked$/i.test(codings[0] ?? '')
  return lengths.every(value => /^\d{1,15}$/.test(value))
}

function valuesOf(headers: readonly string[], name: string): readonly string[] {
  return headers.filter((_, at) => at % 2 === 1 && headers[at - 1]?.toLowerCase() === name)
}

function lengthOf<Otherwise>(
  headers: readonly string[],
  otherwise: Otherwise,
): number | 'chunked' | Otherwise {
  if (valuesOf(headers, 'transfer-encoding').length > 0) return 'chunked'
  const [length] = valuesOf(headers, 'content-length')
  return length === undefined ? otherwise : Number(length)
}

function readBody(text: string, length: number | 'chunked' | 'until_close'): Body {
  if (length === 'chunked') return readChunks(text)
  if (length === 'until_close') return { text, rest: null, status: 0 }
  const body = text.slice(0, length)
  return { text: body, rest: body.length === length ? text.slice(length) : null, status: 0 }
}

function readChunks(text: string): Body {
  let body = ''
  let rest = text
  for (;;) {
    const last = LAST_CHUNK.exec(rest)
    if (last !== null) return { text: body, ...readTrailers(rest.slice(last[0].length)) }
    const head = CHUNK_HEAD.exec(rest)
    if (head === null) return { text: body, rest: null, status: CHUNK_BEGUN.test(rest) ? 0 : 400 }
    const size = Number.parseInt(head[1] ?? '', 16)
    rest = rest.slice(head[0].length)
    body += rest.slice(0, size)
    if (rest.length < size) return { text: body, rest: null, status: 0 }
    rest = rest.slice(size)
    if (!rest.startsWith('\r\n')) {
      return { text: body, rest: null, status: '\r\n'.startsWith(rest) ? 0 : 400 }
    }
    rest = rest.slice(2)
  }
}

function readTrailers(text: string): Pick<Body, 'rest' | 'status'> {
  const seen = text.slice(0, TRAILER_MAX)
  const match = TRAILERS.exec(seen)
  if (match !== null) return { rest: text.slice(match[0].length), status: 0 }
  if (TRAILERS_CROWDED.test(seen)) return { rest: null, status: 431 }
  if (!TRAILERS_BEGUN.test(seen)) return { rest: null, status: 400 }
  return { rest: null, status: seen.length === TRAILER_MAX ? 431 : 0 }
}
