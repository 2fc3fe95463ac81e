/** Runs work for a key when one of the key's places is free; others wait in order. */
export interface Limiter {
  run<T>(key: string, work: () => Promise<T>): Promise<T>
}

/** Builds a limiter with `places` per key, so that one slow host holds up no other. */
export function createLimiter(places: number): Limiter {
  const busy = new Map<string, number>()
  const waiting = new Map<string, (() => void)[]>()

  const enter = (key: string): Promise<void> => {
    const taken = busy.get(key) ?? 0
    if (taken < places) {
      busy.set(key, taken + 1)
      return Promise.resolve()
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    const queue = waiting.get(key) ?? []
    queue.push(resolve)
    waiting.set(key, queue)
    return promise
  }

  const leave = (key: string): void => {
    const next = waiting.get(key)?.shift()
    // The place goes straight to the next in line, so the count stays as it is.
    if (next !== undefined) {
      next()
      return
    }
    waiting.delete(key)
    const taken = (busy.get(key) ?? 1) - 1
    if (taken === 0) busy.delete(key)
    else busy.set(key, taken)
  }

  return {
    async run(key, work) {
      await enter(key)
      try {
        return await work()
      } finally {
        leave(key)
      }
    },
  }
}
