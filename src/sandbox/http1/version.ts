import { MessageError, malformed } from './grammar.ts'

/** Bytes of `HTTP/1.1`. */
export const VERSION_BYTES = 8

const NAME = Buffer.from('HTTP/')
const DOT = 0x2e
const MAJOR_AT = NAME.length

/**
 * Reads the HTTP version at `start` (RFC 9112 §2.3) and returns its minor part, 0 or 1, or -1 when it
 * is not there to its end.
 *
 * @throws MessageError of status 505 for a version other than 1.0 and 1.1.
 */
export function readVersion(bytes: Uint8Array, start: number): number {
  for (let at = 0; at < VERSION_BYTES; at += 1) {
    const byte = bytes[start + at]
    if (byte === undefined) return -1
    const isRight =
      at < MAJOR_AT ? byte === NAME[at] : at === MAJOR_AT + 1 ? byte === DOT : isDigit(byte)
    if (!isRight) throw malformed('The message has no HTTP version')
  }
  const major = (bytes[start + MAJOR_AT] ?? 0) - 0x30
  const minor = (bytes[start + MAJOR_AT + 2] ?? 0) - 0x30
  if (major === 1 && minor <= 1) return minor
  throw new MessageError(505, 'version_unsupported', 'The HTTP version is neither 1.0 nor 1.1')
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39
}
