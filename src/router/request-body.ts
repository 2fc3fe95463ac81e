import { BodyEdit, type EditRules, sizeOf } from './body-edit.ts'
import { RouterError } from './errors.ts'
import { WholeBody } from './exchange.ts'
import type { Limits } from './limits.ts'
import { type BodyWatcher, nextChunk, StreamedBody } from './streamed-body.ts'

/** A request's body, edited, as far as it must be known before it can be sent. */
export interface RequestBody {
  /** Its top-level `stream`. */
  readonly isStream: boolean
  /** Bytes when the whole body is known, else null. */
  readonly contentLength: number | null
  /** Whether it was kept and may be sent a second time. */
  readonly isKept: boolean
  /** All of it, when all is there and kept; then nothing need be opened. */
  readonly whole: WholeBody | null
  /** The bytes to send. Once only, unless it is kept. */
  open(watcher: BodyWatcher): AsyncIterable<Uint8Array>
}

/**
 * Reads and edits a body until the head can be sent: to its end when it is small, else until what the
 * head depends on is known.
 * What is left unread is the listener's to drain or to cut off: ending the source here could take the
 * agent's connection down before its answer is out.
 *
 * @throws RouterError `bad_request`, `body_too_large`.
 */
export async function readBody(
  source: AsyncIterable<Uint8Array>,
  options: ReadOptions,
): Promise<RequestBody> {
  return source instanceof WholeBody ? editWhole(source, options) : readPulled(source, options)
}

/** How a body is read. */
export interface ReadOptions {
  readonly rules: EditRules
  readonly limits: Limits
  /** Whether the head depends on all of it, as a signature does. */
  readonly isWhole: boolean
  /** The body's bytes as the agent sends it; null when it does not say. */
  readonly contentLength: number | null
}

/**
 * Edits a body that is there already.
 *
 * @throws RouterError as `readBody` does.
 */
export function editWhole(
  { pieces }: WholeBody,
  { rules, limits }: Pick<ReadOptions, 'rules' | 'limits'>,
): RequestBody {
  const bytes = sizeOf(pieces)
  if (bytes > limits.bodyBytesMax) throw tooLarge(limits)
  const edit = new BodyEdit(rules)
  for (const piece of pieces) edit.push(piece)
  edit.finish()
  const isKept = bytes <= limits.replayBytesMax
  return wholeBody(edit.take(), { isStream: edit.isStream, isKept })
}

async function readPulled(
  source: AsyncIterable<Uint8Array>,
  { rules, limits, isWhole, contentLength }: ReadOptions,
): Promise<RequestBody> {
  const edit = new BodyEdit(rules)
  const chunks = source[Symbol.asyncIterator]()
  let bytes = 0
  for (;;) {
    const chunk = await nextChunk(chunks)
    if (chunk === null) break
    bytes += chunk.length
    edit.push(chunk)
    const isLarge = (contentLength ?? bytes) > limits.gatheredBytesMax && bytes !== contentLength
    if (isLarge && !isWhole && edit.isDecided) {
      return new StreamedBody(edit, chunks, { contentLength, keptBytesMax: limits.replayBytesMax })
    }
    if (bytes > limits.bodyBytesMax) throw tooLarge(limits)
  }
  edit.finish()
  const isKept = bytes <= limits.replayBytesMax
  return wholeBody(edit.take(), { isStream: edit.isStream, isKept })
}

/**
 * Reads a body to its end, for what must see all of it.
 *
 * @throws RouterError `bad_request`, `body_too_large`.
 */
export async function readWhole(
  source: AsyncIterable<Uint8Array>,
  limits: Limits,
): Promise<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]()
  const pieces: Uint8Array[] = []
  let bytes = 0
  for (;;) {
    const chunk = await nextChunk(chunks)
    if (chunk === null) return Buffer.concat(pieces)
    bytes += chunk.length
    if (bytes > limits.bodyBytesMax) throw tooLarge(limits)
    pieces.push(chunk)
  }
}

/** A body of which every byte is known. */
export function wholeBody(
  pieces: readonly Uint8Array[],
  options: { readonly isStream: boolean; readonly isKept: boolean },
): RequestBody {
  const body = new WholeBody(pieces)
  const { isStream, isKept } = options
  return { isStream, isKept, contentLength: sizeOf(pieces), whole: body, open: () => body }
}

function tooLarge(limits: Limits): RouterError {
  const megabytes = Math.floor(limits.bodyBytesMax / (1024 * 1024))
  return new RouterError(
    'body_too_large',
    `The request body is larger than ${megabytes} MiB. Send a smaller one`,
  )
}
