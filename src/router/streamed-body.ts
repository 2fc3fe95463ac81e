import { type BodyEdit, sizeOf } from './body-edit.ts'
import { RouterError } from './errors.ts'
import { WholeBody } from './exchange.ts'

/** Who must know how the sending of a body goes that is still being read. */
export interface BodyWatcher {
  /** The agent's next chunk is awaited. */
  waiting(): void
  /** It is there, and the upstream's turn. */
  sending(): void
  /** Reading failed; said here too because a transport may wrap what its source throws. */
  failed(error: unknown): void
}

/** What is known of a body besides its edit. */
interface StreamedOptions {
  /** The body's bytes as the agent sends it; null when it does not say. */
  readonly contentLength: number | null
  /** A larger body is not kept for a second sending. */
  readonly keptBytesMax: number
}

/**
 * A body that is sent while it still comes. What was sent is kept as long as it may have to be sent
 * again, which may begin before all of it is there.
 */
export class StreamedBody {
  readonly isStream: boolean
  readonly contentLength: number | null
  readonly #edit: BodyEdit
  readonly #chunks: AsyncIterator<Uint8Array>
  readonly #keptBytesMax: number
  /** From the `#first` of all on; those before it were sent and are not kept. */
  #pieces: Uint8Array[] = []
  #first = 0
  #bytes = 0
  #isKept = true
  #isRead = false
  #reading: Promise<void> | null = null

  /** Takes over an edit that is decided, and the rest of its source. */
  constructor(edit: BodyEdit, chunks: AsyncIterator<Uint8Array>, options: StreamedOptions) {
    const { contentLength, keptBytesMax } = options
    const bytes = edit.begin(contentLength ?? 0)
    this.isStream = edit.isStream
    this.contentLength = contentLength === null ? null : bytes
    this.#edit = edit
    this.#chunks = chunks
    this.#keptBytesMax = keptBytesMax
    if (contentLength !== null && bytes > keptBytesMax) this.#isKept = false
    this.#add(edit.take())
  }

  /** Whether all that was sent so far is still there. */
  get isKept(): boolean {
    return this.#isKept
  }

  /** All of it, once it has come and if it was kept. */
  get whole(): WholeBody | null {
    return this.#isRead && this.#isKept ? new WholeBody(this.#pieces) : null
  }

  async *open(watcher: BodyWatcher): AsyncGenerator<Uint8Array, undefined> {
    let at = 0
    try {
      for (;;) {
        for (;;) {
          const piece = this.#pieces[at - this.#first]
          if (piece === undefined) break
          at += 1
          this.#letGo(at)
          yield piece
        }
        if (this.#isRead) return
        watcher.waiting()
        // A try that was given up may have begun to read what comes next: it comes to both.
        this.#reading ??= this.#read()
        await this.#reading
        watcher.sending()
      }
    } catch (error) {
      watcher.failed(error)
      throw error
    }
  }

  async #read(): Promise<void> {
    const chunk = await nextChunk(this.#chunks)
    this.#reading = null
    if (chunk === null) {
      this.#edit.finish()
      this.#isRead = true
    } else {
      this.#edit.push(chunk)
      this.#add(this.#edit.take())
    }
  }

  #add(pieces: readonly Uint8Array[]): void {
    this.#pieces.push(...pieces)
    this.#bytes += sizeOf(pieces)
    if (this.#bytes > this.#keptBytesMax) this.#isKept = false
  }

  #letGo(end: number): void {
    if (this.#isKept) return
    this.#pieces.splice(0, end - this.#first)
    this.#first = end
  }
}

/**
 * The agent's next chunk; null at the end.
 *
 * @throws RouterError `bad_request` when the body broke off.
 */
export async function nextChunk(chunks: AsyncIterator<Uint8Array>): Promise<Uint8Array | null> {
  try {
    const next = await chunks.next()
    return next.done === true ? null : next.value
  } catch (error) {
    throw new RouterError('bad_request', 'The request body broke off before its end', {
      cause: error,
    })
  }
}
