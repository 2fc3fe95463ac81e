import { BodyEdit, type EditRules } from './body-edit.ts'
import { RouterError } from './errors.ts'
import { WholeBody } from './exchange.ts'
import type { Limits } from './limits.ts'

/** A request's body, edited, as far as it must be known before it can be sent. */
export interface RequestBody {
  /** Its top-level `stream`. */
  readonly isStream: boolean
  /** Bytes when the whole body is known, else null. */
  readonly contentLength: number | null
  /** Whether it was kept and may be sent a second time. */
  readonly isKept: boolean
  /** All of it, when it is there already; then nothing need be opened. */
  readonly whole: WholeBody | null
  /** The bytes to send. Once only, unless it is kept. */
  open(watcher: BodyWatcher): AsyncIterable<Uint8Array>
}

/** Who must know how the sending of a body goes that is still being read. */
export interface BodyWatcher {
  /** The agent's next chunk is awaited. */
  waiting(): void
  /** It is there, and the upstream's turn. */
  sending(): void
  /** Reading failed; said here too because a transport may wrap what its source throws. */
  failed(error: unknown): void
}

/**
 * Reads and edits a body until the head can be sent: to its end, or, when it is too large to be kept
 * for a replay, until what the head depends on is known.
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
}

/**
 * Edits a body that is there already.
 *
 * @throws RouterError as `readBody` does.
 */
export function editWhole({ pieces }: WholeBody, { rules, limits }: ReadOptions): RequestBody {
  const bytes = bytesOf(pieces)
  if (bytes > limits.bodyBytesMax) throw tooLarge(limits)
  const edit = new BodyEdit(rules)
  for (const piece of pieces) edit.push(piece)
  edit.finish()
  const isKept = bytes <= limits.replayBytesMax
  return wholeBody(edit.take(), { isStream: edit.isStream, isKept })
}

async function readPulled(
  source: AsyncIterable<Uint8Array>,
  { rules, limits, isWhole }: ReadOptions,
): Promise<RequestBody> {
  const edit = new BodyEdit(rules)
  const chunks = source[Symbol.asyncIterator]()
  let bytes = 0
  for (;;) {
    const chunk = await nextChunk(chunks)
    if (chunk === null) break
    bytes += chunk.length
    edit.push(chunk)
    if (bytes <= limits.replayBytesMax) continue
    if (edit.isDecided && !isWhole) return streamedBody(edit, chunks)
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
  return { isStream, isKept, contentLength: bytesOf(pieces), whole: body, open: () => body }
}

function bytesOf(pieces: readonly Uint8Array[]): number {
  let bytes = 0
  for (const piece of pieces) bytes += piece.length
  return bytes
}

function streamedBody(edit: BodyEdit, chunks: AsyncIterator<Uint8Array>): RequestBody {
  return {
    isStream: edit.isStream,
    contentLength: null,
    isKept: false,
    whole: null,
    async *open(watcher) {
      try {
        yield* edit.take()
        for (;;) {
          watcher.waiting()
          const chunk = await nextChunk(chunks)
          watcher.sending()
          if (chunk === null) break
          edit.push(chunk)
          yield* edit.take()
        }
        edit.finish()
      } catch (error) {
        watcher.failed(error)
        throw error
      }
    },
  }
}

/** The agent's next chunk; null at the end. */
async function nextChunk(chunks: AsyncIterator<Uint8Array>): Promise<Uint8Array | null> {
  try {
    const next = await chunks.next()
    return next.done === true ? null : next.value
  } catch (error) {
    throw new RouterError('bad_request', 'The request body broke off before its end', {
      cause: error,
    })
  }
}

function tooLarge(limits: Limits): RouterError {
  const megabytes = Math.floor(limits.bodyBytesMax / (1024 * 1024))
  return new RouterError(
    'body_too_large',
    `The request body is larger than ${megabytes} MiB. Send a smaller one`,
  )
}
