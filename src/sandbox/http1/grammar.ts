/**
 * The whole head of a message, from its first byte to the empty line behind its fields, and each
 * field section may not be larger.
 */
export const HEAD_BYTES_MAX = 32_768
/** Header fields of one message. */
export const FIELDS_MAX = 100

/** Carriage return. */
export const CR = 0x0d
/** Line feed. */
export const LF = 0x0a
/** The one space of a start line. */
export const SPACE = 0x20

const TAB = 0x09
const COLON = 0x3a

/** Of a method or a field name: `tchar` (RFC 9110 §5.6.2). */
export const TOKEN = 1
/**
 * Of a field value or a reason phrase: visible characters, space, tab and `obs-text` (RFC 9110 §5.5).
 * All other controls are refused, not only CR, LF and NUL.
 */
export const TEXT = 2
/** Of a request target: what a URI may hold (RFC 3986 §2), and nothing that must be encoded there. */
export const TARGET = 4
/** Of a chunk's size: `HEXDIG` (RFC 9112 §7.1). */
export const HEX = 8

const CLASSES = new Uint8Array(256)

/** Whether a byte is of a class; `undefined`, which is beyond the end, is of none. */
export function isOf(kind: number, byte: number | undefined): boolean {
  return byte !== undefined && ((CLASSES[byte] ?? 0) & kind) !== 0
}

/** Optional whitespace (RFC 9110 §5.6.3). */
function isBlank(byte: number | undefined): boolean {
  return byte === SPACE || byte === TAB
}

const DIGITS = '0123456789'
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
for (const [kind, characters] of [
  [TOKEN, `!#$%&'*+-.^_\`|~${DIGITS}${LETTERS}`],
  [TARGET, `-._~:/?[]@!$&'()*+,;=%${DIGITS}${LETTERS}`],
  [HEX, `${DIGITS}ABCDEFabcdef`],
] as const) {
  for (const character of characters) mark(character.charCodeAt(0), kind)
}
mark(TAB, TEXT)
for (let byte = SPACE; byte <= 0x7e; byte += 1) mark(byte, TEXT)
for (let byte = 0x80; byte <= 0xff; byte += 1) mark(byte, TEXT)

function mark(byte: number, kind: number): void {
  CLASSES[byte] = (CLASSES[byte] ?? 0) | kind
}

/** Where one field line stands in its bytes, without the whitespace around its value. */
export interface FieldSpan {
  nameEnd: number
  valueStart: number
  valueEnd: number
}

/**
 * Reads the field line that begins at `start` into `span` and returns where the next line begins, or
 * -1 when the line is not there to its end. What is wrong is refused as soon as it is there, so that
 * the outcome does not depend on how the bytes were cut.
 *
 * @throws MessageError
 */
export function readField(bytes: Uint8Array, start: number, span: FieldSpan): number {
  const { length } = bytes
  let at = start
  while (at < length && isOf(TOKEN, bytes[at])) at += 1
  if (at === length) return -1
  // RFC 9112 §5.1: no whitespace before the colon. §5.2: a line that begins with whitespace would
  // continue the one before; §2.2 forbids it behind the start line too.
  if (bytes[at] !== COLON || at === start) throw malformed('A header field has no proper name')
  span.nameEnd = at
  at += 1
  while (at < length && isBlank(bytes[at])) at += 1
  span.valueStart = at
  while (at < length && isOf(TEXT, bytes[at])) at += 1
  const next = readLineEnd(bytes, at, 'A header field holds a control character')
  if (next === -1) return -1
  while (at > span.valueStart && isBlank(bytes[at - 1])) at -= 1
  span.valueEnd = at
  return next
}

/**
 * Reads the CRLF at `at` and returns where the next line begins, or -1 when it is not there yet.
 * Neither a bare LF, which RFC 9112 §2.2 would allow, nor a bare CR ends a line.
 *
 * @throws MessageError saying `otherwise`.
 */
export function readLineEnd(bytes: Uint8Array, at: number, otherwise: string): number {
  if (at >= bytes.length) return -1
  if (bytes[at] !== CR) throw malformed(otherwise)
  if (at + 1 === bytes.length) return -1
  if (bytes[at + 1] !== LF) throw malformed('A line ends without CRLF')
  return at + 2
}

/** Why a message is refused. Its connection can be used no more: nobody knows where the next begins. */
export class MessageError extends Error {
  readonly status: 400 | 431 | 505
  /** For the `x-openshell-error` header. */
  readonly code: string

  constructor(status: 400 | 431 | 505, code: string, message: string) {
    super(message)
    this.name = 'MessageError'
    this.status = status
    this.code = code
  }
}

/** The refusal of what no HTTP peer should send. */
export function malformed(message: string): MessageError {
  return new MessageError(400, 'bad_request', message)
}
