import { lowerName } from '../../router/field-names.ts'
import { malformed } from './grammar.ts'

/** Digits of the largest length that a number holds exactly, less one. */
const LENGTH_DIGITS_MAX = 15

/** What a head's fields say about its own message and its connection. */
export interface Framing {
  /** The body's bytes, or that it is chunked; null when the fields do not say. */
  readonly body: number | 'chunked' | null
  /** Whether the connection may serve another message behind this one. */
  readonly isPersistent: boolean
  /** Whether the sender waits for `100 Continue` before it sends the body (RFC 9110 §10.1.1). */
  readonly expectsContinue: boolean
  /** The protocols that the connection may be switched to (RFC 9110 §7.8); '' for none. */
  readonly upgrade: string
}

/**
 * Reads the fields that frame a message (RFC 9112 §6) and rule its connection (§9). Wherever two
 * readers might differ over where the message ends, it is refused.
 *
 * @throws MessageError
 */
export function framingOf(fields: readonly string[], minorVersion: number): Framing {
  let length: number | null = null
  let isChunked = false
  let connection = ''
  let expectsContinue = false
  let upgrade = ''
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const name = fields[at] ?? ''
    const value = fields[at + 1] ?? ''
    // By their lengths the names that matter are told from most others without a comparison.
    switch (name.length) {
      case 6:
        if (lowerName(name) === 'expect') expectsContinue ||= isWord(value, '100-continue')
        break
      case 7:
        if (lowerName(name) === 'upgrade') upgrade = joined(upgrade, value)
        break
      case 10:
        if (lowerName(name) === 'connection') connection = joined(connection, value)
        break
      case 14:
        if (lowerName(name) !== 'content-length') break
        // RFC 9112 §6.3 would let equal ones pass; whoever sends two has lost count.
        if (length !== null) throw malformed('The message has more than one Content-Length')
        length = readLength(value)
        break
      case 17:
        if (lowerName(name) !== 'transfer-encoding') break
        // RFC 9112 §6.1: chunked once and last; other codings are not known here.
        if (isChunked || !isWord(value, 'chunked')) {
          throw malformed('The Transfer-Encoding is not "chunked"')
        }
        isChunked = true
        break
      default:
    }
  }
  if (isChunked && length !== null) {
    throw malformed('The message has both Content-Length and Transfer-Encoding')
  }
  // RFC 9112 §6.1: HTTP/1.0 does not know it, so somebody on the way may not have seen it.
  if (isChunked && minorVersion === 0) throw malformed('HTTP/1.0 has no Transfer-Encoding')
  return {
    body: isChunked ? 'chunked' : length,
    isPersistent: isPersistent(connection, minorVersion),
    expectsContinue: expectsContinue && minorVersion === 1,
    upgrade: names(connection, 'upgrade') ? upgrade : '',
  }
}

/** RFC 9112 §9.3. */
function isPersistent(connection: string, minorVersion: number): boolean {
  if (connection === '') return minorVersion === 1
  return !names(connection, 'close') && (minorVersion === 1 || names(connection, 'keep-alive'))
}

/** Whether a list, such as that of `Connection`, has a member; `member` in lower case. */
function names(list: string, member: string): boolean {
  if (list.length < member.length) return false
  return list.split(',').some(one => one.trim().toLowerCase() === member)
}

function joined(before: string, value: string): string {
  return before === '' ? value : `${before},${value}`
}

function isWord(value: string, word: string): boolean {
  return value.length === word.length && value.toLowerCase() === word
}

/** RFC 9112 §6.2: digits, and nothing else: no sign, no list, no space. */
function readLength(value: string): number {
  if (value.length === 0 || value.length > LENGTH_DIGITS_MAX) throw unreadableLength()
  let length = 0
  for (let at = 0; at < value.length; at += 1) {
    const digit = value.charCodeAt(at) - 0x30
    if (digit < 0 || digit > 9) throw unreadableLength()
    length = length * 10 + digit
  }
  return length
}

function unreadableLength(): Error {
  return malformed('The Content-Length is not a number of bytes')
}
