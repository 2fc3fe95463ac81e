import { crc32 } from 'node:zlib'
import { UpstreamError } from '../exchange.ts'

/** One message of an AWS event stream (`application/vnd.amazon.eventstream`). */
export interface AwsEvent {
  /** Those of its headers that are text, `:event-type` for example. */
  readonly headers: ReadonlyMap<string, string>
  readonly payload: Uint8Array
}

const MESSAGE_BYTES_MAX = 24 * 1024 * 1024
/** Total length, length of the headers, checksum of both. */
const PRELUDE_BYTES = 12
const CHECKSUM_BYTES = 4

/** How many bytes a header's value takes, by its type; null for one that begins with its length. */
const VALUE_BYTES: readonly (number | null)[] = [0, 0, 1, 2, 4, 8, null, null, 8, 16]
const TEXT = 7

/**
 * Reads messages from bytes that come in pieces, cut anywhere.
 *
 * @throws UpstreamError `broken` for a wrong checksum, an impossible length, or an end too soon.
 */
export async function* readAwsEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<AwsEvent> {
  let waiting: Uint8Array[] = []
  let bytes = 0
  /** How much there must be before another look is worth it. */
  let needed = PRELUDE_BYTES
  for await (const chunk of body) {
    waiting.push(chunk)
    bytes += chunk.length
    if (bytes < needed) continue
    let rest = Buffer.concat(waiting)
    needed = neededBytes(rest)
    while (rest.length >= needed) {
      yield readMessage(rest.subarray(0, needed))
      rest = rest.subarray(needed)
      needed = neededBytes(rest)
    }
    waiting = [rest]
    bytes = rest.length
  }
  if (bytes > 0) throw new UpstreamError('broken', 'The event stream ended within a message')
}

/** The length of the message that the bytes begin with, or of the prelude that is to tell it. */
function neededBytes(bytes: Buffer): number {
  if (bytes.length < PRELUDE_BYTES) return PRELUDE_BYTES
  if (crc32(bytes.subarray(0, 8)) !== bytes.readUInt32BE(8)) throw corrupt()
  const total = bytes.readUInt32BE(0)
  const least = PRELUDE_BYTES + bytes.readUInt32BE(4) + CHECKSUM_BYTES
  if (total < least || total > MESSAGE_BYTES_MAX) throw corrupt()
  return total
}

function readMessage(message: Buffer): AwsEvent {
  const end = message.length - CHECKSUM_BYTES
  if (crc32(message.subarray(0, end)) !== message.readUInt32BE(end)) throw corrupt()
  const payloadAt = PRELUDE_BYTES + message.readUInt32BE(4)
  return {
    headers: readHeaders(message.subarray(PRELUDE_BYTES, payloadAt)),
    payload: message.subarray(payloadAt, end),
  }
}

function readHeaders(bytes: Buffer): ReadonlyMap<string, string> {
  const headers = new Map<string, string>()
  let at = 0
  const take = (count: number): Buffer => {
    if (at + count > bytes.length) throw corrupt()
    at += count
    return bytes.subarray(at - count, at)
  }
  while (at < bytes.length) {
    const name = take(take(1).readUInt8()).toString()
    const type = take(1).readUInt8()
    const size = VALUE_BYTES[type]
    if (size === undefined) throw corrupt()
    const value = take(size ?? take(2).readUInt16BE())
    if (type === TEXT) headers.set(name, value.toString())
  }
  return headers
}

function corrupt(): UpstreamError {
  return new UpstreamError('broken', 'The event stream is corrupt')
}
