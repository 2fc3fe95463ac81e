import { setImmediate as turn } from 'node:timers/promises'
import type { Clock } from '../../src/system/clock.ts'

/** A clock that moves only when the test moves it. */
export interface FakeClock extends Clock {
  /** How many wait now. */
  readonly sleepers: number
  /** The longest span that anybody asked to sleep. */
  readonly longestSleepMs: number
  /** Moves both faces on, wakes whom it passes in order, and lets each finish before the next. */
  advance(ms: number): Promise<void>
  /** Moves the wall clock alone, as an administrator or NTP does. */
  stepWall(ms: number): void
}

interface Sleeper {
  readonly wakeAtMs: number
  readonly wake: () => void
}

/**
 * Makes a clock that starts at `startMs`. `settle` waits until all that was woken has come to rest;
 * the default gives promises one turn of the event loop, which is enough where nothing leaves the
 * thread.
 */
export function createFakeClock(
  options: { readonly startMs?: number; readonly settle?: () => Promise<void> } = {},
): FakeClock {
  const settle = options.settle ?? (() => turn())
  const sleepers = new Set<Sleeper>()
  let wallMs = options.startMs ?? Date.UTC(2026, 10, 25, 12)
  let monotonicMs = 5_000
  let longestSleepMs = 0

  const moveTo = (targetMs: number) => {
    wallMs += targetMs - monotonicMs
    monotonicMs = targetMs
  }

  return {
    nowMs: () => wallMs,
    monotonicMs: () => monotonicMs,
    sleep(ms, signal) {
      longestSleepMs = Math.max(longestSleepMs, ms)
      if (signal.aborted) return Promise.resolve()
      return new Promise(resolve => {
        const sleeper: Sleeper = {
          wakeAtMs: monotonicMs + Math.min(Math.max(ms, 0), 86_400_000),
          wake() {
            sleepers.delete(sleeper)
            signal.removeEventListener('abort', sleeper.wake)
            resolve()
          },
        }
        sleepers.add(sleeper)
        signal.addEventListener('abort', sleeper.wake, { once: true })
      })
    },
    get sleepers() {
      return sleepers.size
    },
    get longestSleepMs() {
      return longestSleepMs
    },
    stepWall(ms) {
      wallMs += ms
    },
    async advance(ms) {
      const targetMs = monotonicMs + ms
      for (;;) {
        await settle()
        const next = [...sleepers].reduce<Sleeper | null>(
          (first, one) => (first === null || one.wakeAtMs < first.wakeAtMs ? one : first),
          null,
        )
        if (next === null || next.wakeAtMs > targetMs) break
        moveTo(Math.max(next.wakeAtMs, monotonicMs))
        next.wake()
      }
      moveTo(targetMs)
      await settle()
    },
  }
}
