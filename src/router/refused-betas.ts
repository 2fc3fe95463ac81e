import type { Clock } from '../system/clock.ts'

/** After this time a value is tried again: vendors learn new ones. */
const REMEMBERED_MS = 60 * 60 * 1_000
/** More are forgotten from the oldest on. */
const REMEMBERED_MAX = 1_000

/** The betas that vendors refused a while ago, so that not every request has to find out. */
export class RefusedBetas {
  readonly #clock: Pick<Clock, 'monotonicMs'>
  /** Until when, by place and value. */
  readonly #untilMs = new Map<string, number>()

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#clock = clock
  }

  /** `place` is whatever the refusal holds for: an operation of a model of a provider. */
  has(place: string, value: string): boolean {
    const untilMs = this.#untilMs.get(keyOf(place, value))
    return untilMs !== undefined && untilMs > this.#clock.monotonicMs()
  }

  add(place: string, values: readonly string[]): void {
    for (const value of values) {
      const key = keyOf(place, value)
      this.#untilMs.delete(key)
      this.#untilMs.set(key, this.#clock.monotonicMs() + REMEMBERED_MS)
    }
    for (const oldest of this.#untilMs.keys()) {
      if (this.#untilMs.size <= REMEMBERED_MAX) break
      this.#untilMs.delete(oldest)
    }
  }
}

function keyOf(place: string, value: string): string {
  return JSON.stringify([place, value])
}
