/** A program to run for a subject token. */
interface ExecuteRequest {
  /** Absolute path and arguments; no shell reads it. */
  readonly command: readonly string[]
  /** The whole environment that the program gets. */
  readonly environment: ReadonlyMap<string, string>
  /** Ends the program when it aborts. */
  readonly signal: AbortSignal
  readonly outputBytesMax: number
}

/** How a program ended. `code` is null when a signal or the limit on its output ended it. */
export interface ExecuteResult {
  readonly code: number | null
  readonly stdout: Uint8Array
}

/** Runs a program, handed in. Rejects when it cannot be started. */
export type Execute = (request: ExecuteRequest) => Promise<ExecuteResult>
