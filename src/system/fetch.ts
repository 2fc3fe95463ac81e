/** A request to a token endpoint or a probe. Redirects are never followed. */
export interface FetchRequest {
  readonly method: 'GET' | 'POST' | 'PUT'
  readonly url: string
  readonly headers: ReadonlyMap<string, string>
  readonly body: Uint8Array | null
  /** Covers everything, from connecting to the last byte of the body. */
  readonly signal: AbortSignal
}

/** An answer whose body is read by the caller, within limits of the caller's. */
export interface FetchResponse {
  readonly status: number
  /** Lower-case names; repeated headers joined with `, `. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: AsyncIterable<Uint8Array>
}

/** HTTP to token endpoints, handed in. Rejects on network trouble and when the signal aborts. */
export type Fetch = (request: FetchRequest) => Promise<FetchResponse>
