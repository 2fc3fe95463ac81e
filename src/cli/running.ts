/** A program at work in this process. Disposing of it stops it and waits for its end. */
export interface Running<T> extends AsyncDisposable {
  /** What it said when it was ready. */
  readonly ready: T
  /** Settles when the program ends; rejects when it fails. */
  readonly ended: Promise<number>
}

/**
 * Starts a program and waits until it is ready.
 *
 * @throws whatever the program throws before it is ready.
 */
export async function startProgram<T>(
  run: (stop: AbortSignal, onReady: (ready: T) => void) => Promise<number>,
): Promise<Running<T>> {
  const stop = new AbortController()
  const { promise, resolve } = Promise.withResolvers<T>()
  const ended = run(stop.signal, resolve)
  const endedEarly = ended.then(code => {
    throw new Error(`A program ended with ${code} before it was ready`)
  })
  return {
    ready: await Promise.race([promise, endedEarly]),
    ended,
    async [Symbol.asyncDispose]() {
      stop.abort()
      // Its failure is told by whoever waits for `ended`, and must not hide another one here.
      await Promise.allSettled([ended])
    },
  }
}
