import { STATUS_CODES } from 'node:http'
import { isUsualName, lowerName } from '../../router/field-names.ts'

/** What no field value may hold (RFC 9110 §5.5), and what latin1 cannot write. */
const NOT_TEXT = /[^\t\x20-\x7e\x80-\xff]/
const NOT_TOKEN = /[^!#$%&'*+\-.^_`|~0-9A-Za-z]/
/** What a URI may not hold (RFC 3986 §2). */
const NOT_TARGET = /[^-._~:/?[\]@!$&'()*+,;=%0-9A-Za-z]/

/** Fields of one connection, which whoever frames the message writes itself (RFC 9110 §7.6.1). */
const OWN_FIELDS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
])

/** The fields of a message as text, and what they say of its length. */
export interface FieldLines {
  readonly text: string
  /** The `Content-Length`; null without one. */
  readonly contentLength: number | null
  readonly hasDate: boolean
}

/**
 * Writes fields as lines, without those of the connection.
 *
 * @throws TypeError for a name or value that would break the message open.
 */
export function fieldLines(fields: readonly string[]): FieldLines {
  let text = ''
  let contentLength: number | null = null
  let hasDate = false
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const name = fields[at] ?? ''
    const value = fields[at + 1] ?? ''
    if (!(isUsualName(name) || isToken(name)) || NOT_TEXT.test(value)) {
      throw new TypeError(`The header field "${name}" cannot be written`)
    }
    // By their lengths the names that matter are told from most others without a comparison.
    const { length } = name
    if (length === 4 && lowerName(name) === 'date') hasDate = true
    else if (length === 14 && lowerName(name) === 'content-length') {
      contentLength = Number(value)
    } else if ((length === 7 || length >= 10) && length <= 17) {
      if (OWN_FIELDS.has(lowerName(name))) continue
    }
    text += `${name}: ${value}\r\n`
  }
  return { text, contentLength, hasDate }
}

function isToken(name: string): boolean {
  return name !== '' && !NOT_TOKEN.test(name)
}

/** `HTTP/1.1 200 OK`, with its end of line (RFC 9112 §4). */
export function statusLine(status: number): string {
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`
}

/**
 * `POST /path HTTP/1.1`, with its end of line (RFC 9112 §3).
 *
 * @throws TypeError for a method or path that would break the message open.
 */
export function requestLine(method: string, path: string): string {
  if (method === '' || NOT_TOKEN.test(method)) throw new TypeError('The method cannot be written')
  if (path === '' || NOT_TARGET.test(path)) throw new TypeError('The path cannot be written')
  return `${method} ${path} HTTP/1.1\r\n`
}
