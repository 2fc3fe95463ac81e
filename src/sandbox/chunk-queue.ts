import type { BodySink, FlowingBody } from '../router/exchange.ts'

/** Bytes that may wait in a queue before its source is asked to pause. */
const QUEUE_BYTES_MAX = 65_536

/** What feeds a queue: it starts with the first pull, pauses when the queue is full. */
export interface ChunkSource {
  /** Called once, at the first pull. */
  start(): void
  pause(): void
  resume(): void
  /** Called once when the reader leaves before the end. */
  cancel(): void
}

/**
 * Turns pushed chunks into an iterable with backpressure, for one reader. It is what a stream's own
 * async iterator does, without that iterator's habit of destroying the stream when the reader stops
 * (which, on an HTTP/1.1 request, would take the unsent answer with it).
 */
export class ChunkQueue implements FlowingBody {
  readonly #source: ChunkSource
  readonly #chunks: Uint8Array[] = []
  #bytes = 0
  #isPaused = false
  #isStarted = false
  #isEnded = false
  #failure: Error | null = null
  #reader: PromiseWithResolvers<IteratorResult<Uint8Array>> | null = null
  #sink: BodySink | null = null

  constructor(source: ChunkSource) {
    this.#source = source
  }

  /** Whether bytes pass on within `push`, so that nobody needs them behind it. */
  get isFlowing(): boolean {
    return this.#sink !== null
  }

  push(chunk: Uint8Array): void {
    if (this.#isEnded || this.#failure !== null) return
    if (this.#sink !== null) {
      this.#sink.bytes(chunk)
      return
    }
    if (this.#reader !== null) {
      this.#takeReader()?.resolve({ done: false, value: chunk })
      return
    }
    this.#chunks.push(chunk)
    this.#bytes += chunk.byteLength
    if (this.#bytes >= QUEUE_BYTES_MAX && !this.#isPaused) {
      this.#isPaused = true
      this.#source.pause()
    }
  }

  /** The source ended well; what still waits is read first. */
  end(): void {
    if (this.#isEnded || this.#failure !== null) return
    this.#isEnded = true
    this.#sink?.end()
    this.#takeReader()?.resolve({ done: true, value: undefined })
  }

  /** The source broke; what still waits is read first, then the reader gets the error. */
  fail(error: Error): void {
    if (this.#isEnded || this.#failure !== null) return
    this.#failure = error
    this.#sink?.fail(error)
    this.#takeReader()?.reject(error)
  }

  flowInto(sink: BodySink): void {
    this.#isStarted = true
    this.#sink = sink
    for (const chunk of this.#chunks.splice(0)) sink.bytes(chunk)
    if (this.#failure !== null) sink.fail(this.#failure)
    else if (this.#isEnded) sink.end()
    else this.#source.start()
  }

  pause(): void {
    this.#source.pause()
  }

  resume(): void {
    this.#source.resume()
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array, undefined> {
    return { next: () => this.#next(), return: () => this.#leave() }
  }

  #next(): Promise<IteratorResult<Uint8Array, undefined>> {
    if (!this.#isStarted) {
      this.#isStarted = true
      this.#source.start()
    }
    const value = this.#chunks.shift()
    if (value !== undefined) {
      this.#bytes -= value.byteLength
      this.#resumeWhenLow()
      return Promise.resolve({ done: false, value })
    }
    if (this.#failure !== null) return Promise.reject(this.#failure)
    if (this.#isEnded) return Promise.resolve({ done: true, value: undefined })
    this.#reader = Promise.withResolvers()
    return this.#reader.promise
  }

  #leave(): Promise<IteratorResult<Uint8Array, undefined>> {
    const isFinished = this.#isEnded || this.#failure !== null
    this.#chunks.length = 0
    this.#bytes = 0
    this.#isEnded = true
    if (!isFinished) this.#source.cancel()
    return Promise.resolve({ done: true, value: undefined })
  }

  #resumeWhenLow(): void {
    if (!this.#isPaused || this.#bytes > QUEUE_BYTES_MAX / 2) return
    this.#isPaused = false
    this.#source.resume()
  }

  #takeReader(): PromiseWithResolvers<IteratorResult<Uint8Array>> | null {
    const reader = this.#reader
    this.#reader = null
    return reader
  }
}
