import type { Clock } from '../system/clock.ts'

/** How far the time is put ahead at most when nothing bounds how long an answer was on its way. */
const AHEAD_MAX_MS = 5_000

/**
 * The gateway's wall clock, as a router knows it. The router judges by it alone, so a machine whose
 * own clock is wrong neither sends a token that has died nor refuses one that lives. Sleeps and
 * monotonic time are the machine's own.
 */
export interface GatewayClock extends Clock {
  /**
   * Call it when something is asked of the gateway, and what it returns for each answer, with the
   * time that the answer says it was sent at (0 when it says none). That returns by how much the
   * machine's wall clock is ahead of the gateway's, as far as is known.
   */
  ask(): (sentAtMs: number) => number
}

/** The gateway's time at an instant of the machine's two clocks. */
interface Anchor {
  readonly atMs: number
  readonly wallMs: number
  readonly monotonicMs: number
}

/**
 * Builds the clock over the machine's own; until the gateway has said its time it is the machine's.
 *
 * The time is never behind the gateway's, because behind would mean to send a dead token. An answer
 * proves two bounds: the gateway's clock stands at `sentAt` or later, and at most at `sentAt` plus
 * the time since it was asked. The lower bound alone says little, for an answer may have lain in the
 * buffer of a process that was stopped; so the time that is known stays unless it breaks a bound. One
 * that is too late is put back to the upper bound, one that is too early proves that both clocks
 * misled and is put ahead.
 *
 * Between answers it goes on with whichever of the two clocks went further. The monotonic one may
 * stand still while the machine sleeps; the wall clock may be set back. One that was set ahead lasts
 * until the next answer to a poll.
 */
export function createGatewayClock(clock: Clock): GatewayClock {
  let anchor: Anchor | null = null
  const sinceMs = (from: Omit<Anchor, 'atMs'>): number =>
    Math.max(clock.monotonicMs() - from.monotonicMs, clock.nowMs() - from.wallMs)
  const nowMs = (): number =>
    anchor === null ? clock.nowMs() : Math.ceil(anchor.atMs + sinceMs(anchor))
  const here = () => ({ wallMs: clock.nowMs(), monotonicMs: clock.monotonicMs() })

  const hear = (sentAtMs: number, ageMaxMs: number): void => {
    const isTooEarly = anchor === null || nowMs() < sentAtMs
    const atMs = sentAtMs + (isTooEarly ? Math.min(ageMaxMs, AHEAD_MAX_MS) : ageMaxMs)
    if (isTooEarly || atMs < nowMs()) anchor = { ...here(), atMs }
  }

  return {
    nowMs,
    monotonicMs: () => clock.monotonicMs(),
    sleep: (ms, signal) => clock.sleep(ms, signal),
    ask() {
      const asked = here()
      return sentAtMs => {
        if (sentAtMs > 0) hear(sentAtMs, sinceMs(asked))
        return clock.nowMs() - nowMs()
      }
    },
  }
}
