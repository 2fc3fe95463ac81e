import type { Clock } from '../system/clock.ts'

/** A step back of less is what time servers do all day. */
const STEP_MS_MIN = 2_000

/** How long a jump of the wall clock may go unnoticed. */
const CHECK_MS = 5_000

/** Holds the wall clock against the monotonic one. */
export interface ClockWatch {
  /** Whether the wall clock was set back since this was last asked. */
  wasSetBack(): boolean
  /**
   * Sleeps until either clock has moved on by `waitMs`, in slices, so that it ends soon after a wall
   * clock was stepped in either direction, or the machine slept.
   */
  sleep(waitMs: number, signal: AbortSignal): Promise<void>
}

/** Watches a clock from now on. */
export function watchClock(clock: Clock): ClockWatch {
  const aheadMs = () => clock.nowMs() - clock.monotonicMs()
  let lastMs = aheadMs()
  const isSetBack = () => aheadMs() < lastMs - STEP_MS_MIN
  return {
    wasSetBack() {
      const answer = isSetBack()
      lastMs = aheadMs()
      return answer
    },
    async sleep(waitMs, signal) {
      const wallEndMs = clock.nowMs() + waitMs
      const endMs = clock.monotonicMs() + waitMs
      for (;;) {
        const leftMs = Math.min(wallEndMs - clock.nowMs(), endMs - clock.monotonicMs())
        if (signal.aborted || leftMs <= 0 || isSetBack()) return
        lastMs = Math.max(lastMs, aheadMs())
        await clock.sleep(Math.min(CHECK_MS, leftMs), signal)
      }
    },
  }
}
