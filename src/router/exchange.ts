import type { CancelSignal } from '../system/cancellation.ts'

/**
 * An agent's request as an ordinary value, so that the data path is tested without a socket.
 * Header lists alternate name and value, as received and in order, repeated names kept.
 */
export interface AgentRequest {
  readonly method: string
  /** Path and query as sent, beginning with `/`. */
  readonly target: string
  readonly headers: readonly string[]
  /** Chunks as they come; iterating pulls, so backpressure reaches the agent. */
  readonly body: AsyncIterable<Uint8Array>
  /** Aborts when the agent is gone. */
  readonly signal: CancelSignal
}

/**
 * A body of which every byte is there already. Whoever sees that it is one may take the pieces at once
 * instead of pulling them one by one; it can be read more than once.
 */
export class WholeBody implements AsyncIterable<Uint8Array> {
  readonly pieces: readonly Uint8Array[]

  constructor(pieces: readonly Uint8Array[]) {
    this.pieces = pieces
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, undefined> {
    yield* this.pieces
  }
}

/** Who is told of a body's bytes as they come. */
export interface BodySink {
  /** The bytes are there within the call alone. */
  bytes(bytes: Uint8Array): void
  end(): void
  /** The body broke off. */
  fail(error: Error): void
}

/**
 * A body that can be pushed as well as pulled: without a promise, a copy and a place to wait for each
 * piece, which is what thousands of slow streams are made of.
 */
export interface FlowingBody extends AsyncIterable<Uint8Array> {
  /** Tells `sink` of all that comes, instead of an iterator; once, and before anything was pulled. */
  flowInto(sink: BodySink): void
  /** Asks the source to wait. */
  pause(): void
  resume(): void
}

/** Where the answer to an agent goes. `start` comes first and once. */
export interface AgentResponse {
  start(status: number, headers: readonly string[]): void
  /** Resolves when the next chunk may be written; rejects when the agent is gone. */
  write(chunk: Uint8Array): Promise<void>
  /** Ends cleanly; resolves when the end was handed to the socket. */
  end(): Promise<void>
  /** Breaks the answer, so that the agent can never take it for a complete one. */
  destroy(): void
}

/** A response that can be pushed to. */
export interface FlowingResponse extends AgentResponse {
  /**
   * Writes bytes that are there within the call alone. False asks for a pause until `onRoom`'s
   * listener is called; what is pushed nevertheless is taken.
   */
  push(bytes: Uint8Array): boolean
  /**
   * Gives all of an answer at once, from `start` to its clean end. False, and nothing is done, when
   * the agent must first take what was written before; then the other ways are open.
   *
   * @throws Error when the agent is gone, or the answer is not as long as it says.
   */
  complete(status: number, headers: readonly string[], pieces: readonly Uint8Array[]): boolean
  onRoom(listener: () => void): void
}

/** A request to a vendor's API. */
export interface UpstreamRequest {
  /** Scheme, host and port, for example `https://us-east1-aiplatform.googleapis.com`. */
  readonly origin: string
  readonly method: string
  readonly path: string
  /** Alternating names and values; `host` and framing headers are the transport's. */
  readonly headers: readonly string[]
  /** null when there is no body. */
  readonly body: AsyncIterable<Uint8Array> | null
  /** Bytes of the body when known, else null (chunked). */
  readonly contentLength: number | null
  /** Aborting cancels the request at once, also in the middle of the answer. */
  readonly signal: CancelSignal
}

/** A vendor's answer, status and bytes untouched. */
export interface UpstreamResponse {
  readonly status: number
  /** Alternating names and values as received. */
  readonly headers: readonly string[]
  /** Rejects when the answer breaks off before its end. */
  readonly body: AsyncIterable<Uint8Array> | FlowingBody
}

/**
 * The transport to vendors, handed in. Resolves when the answer's head is there.
 *
 * @throws UpstreamError when no answer came.
 */
export type Upstream = (request: UpstreamRequest) => Promise<UpstreamResponse>

/** Why no answer came. `connect`: no request byte can have arrived. `broken`: one may have. */
export class UpstreamError extends Error {
  readonly kind: 'connect' | 'broken'

  constructor(kind: 'connect' | 'broken', message: string, options?: { readonly cause: unknown }) {
    super(message, options)
    this.name = 'UpstreamError'
    this.kind = kind
  }
}
