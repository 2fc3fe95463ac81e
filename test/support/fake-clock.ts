import { setImmediate as turn } from 'node:timers/promises'
import type { Clock } from '../../src/system/clock.ts'

/** How long a test may wait for sleepers in turns of the event loop. */
const TURNS_MAX = 100_000

interface Sleeper {
  readonly wakeAtMs: number
  readonly wake: () => void
}

/** A clock that moves only when the test moves it. */
export class FakeClock implements Clock {
  readonly #sleeping = new Set<Sleeper>()
  readonly #settle: () => Promise<void>
  #wallMs: number
  #monotonicMs = 0
  #longestSleepMs = 0

  /**
   * `settle` waits until all that was woken has come to rest; by default that is one turn of the
   * event loop, enough where nothing leaves the thread.
   */
  constructor(startMs = 1_800_000_000_000, settle = () => turn()) {
    this.#wallMs = startMs
    this.#settle = settle
  }

  nowMs(): number {
    return this.#wallMs
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }

  /** How many wait now. */
  get sleepers(): number {
    return this.#sleeping.size
  }

  /** The longest span that anybody asked to sleep. */
  get longestSleepMs(): number {
    return this.#longestSleepMs
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    this.#longestSleepMs = Math.max(this.#longestSleepMs, ms)
    if (signal.aborted) return
    await new Promise<void>(resolve => {
      const sleeper: Sleeper = {
        wakeAtMs: this.#monotonicMs + Math.min(Math.max(ms, 0), 86_400_000),
        wake: () => {
          this.#sleeping.delete(sleeper)
          signal.removeEventListener('abort', sleeper.wake)
          resolve()
        },
      }
      this.#sleeping.add(sleeper)
      signal.addEventListener('abort', sleeper.wake, { once: true })
    })
  }

  /** Waits until at least `count` sleep. */
  async waitForSleepers(count: number): Promise<void> {
    for (let turns = 0; this.#sleeping.size < count; turns += 1) {
      if (turns > TURNS_MAX) throw new Error(`${this.#sleeping.size} sleep, expected ${count}`)
      await turn()
    }
  }

  /** Moves the wall clock alone, as an administrator or NTP does. */
  stepWall(ms: number): void {
    this.#wallMs += ms
  }

  /** Moves both faces on, wakes whom it passes in order, and lets each finish before the next. */
  async advance(ms: number): Promise<void> {
    const targetMs = this.#monotonicMs + ms
    for (;;) {
      await this.#settle()
      const next = this.#earliest()
      if (next === null || next.wakeAtMs > targetMs) break
      this.#moveTo(Math.max(next.wakeAtMs, this.#monotonicMs))
      next.wake()
    }
    this.#moveTo(targetMs)
    await this.#settle()
  }

  #earliest(): Sleeper | null {
    let first: Sleeper | null = null
    for (const one of this.#sleeping)
      if (first === null || one.wakeAtMs < first.wakeAtMs) first = one
    return first
  }

  #moveTo(monotonicMs: number): void {
    this.#wallMs += monotonicMs - this.#monotonicMs
    this.#monotonicMs = monotonicMs
  }
}
