import type { Clock } from '../system/clock.ts'
import type { ClockWatch } from './clock-watch.ts'

/** Nothing is due before it: while the task is awake nobody need wake it. */
const AWAKE = Number.NEGATIVE_INFINITY

/** What the refresh task is woken by. */
export interface Alarm {
  /** A turn begins; from now on nothing that is told is missed by the sleep after it. */
  begin(): void
  /** Something is due at this instant: ends a sleep that would last longer, and no other. */
  due(atMs: number): void
  /** Ends the sleep, whatever is due. */
  ring(): void
  /** Sleeps until `nextAtMs` or something earlier that was told of; at most `sweepMs`. */
  sleep(nextAtMs: number, signal: AbortSignal): Promise<void>
}

/** Makes the alarm. What is due after the sleep anyway does not end it, however often it is told. */
export function createAlarm(
  deps: { readonly clock: Clock; readonly watch: ClockWatch },
  options: { readonly sweepMs: number },
): Alarm {
  let ringing = new AbortController()
  let wakesAtMs = AWAKE
  let soonestAtMs = Infinity
  return {
    begin() {
      ringing = new AbortController()
      wakesAtMs = AWAKE
      soonestAtMs = Infinity
    },
    due(atMs) {
      soonestAtMs = Math.min(soonestAtMs, atMs)
      if (soonestAtMs < wakesAtMs) ringing.abort()
    },
    ring: () => ringing.abort(),
    async sleep(nextAtMs, signal) {
      const nowMs = deps.clock.nowMs()
      wakesAtMs = Math.min(nextAtMs, soonestAtMs, nowMs + options.sweepMs)
      await deps.watch.sleep(wakesAtMs - nowMs, AbortSignal.any([signal, ringing.signal]))
    },
  }
}
