import type { CancelSignal } from './cancellation.ts'

/** Time, handed in. Only `real.ts` and the simulation make one. */
export interface Clock {
  /** Wall-clock milliseconds since the epoch; may step. */
  nowMs(): number
  /** Milliseconds on a clock that never steps; only differences mean something. */
  monotonicMs(): number
  /**
   * Resolves after `ms`, or as soon as `signal` aborts; it never rejects. Spans longer than 24 h are
   * cut to 24 h, because a timer beyond 2³¹ ms fires at once; callers re-check what they waited for.
   */
  sleep(ms: number, signal: CancelSignal): Promise<void>
}
