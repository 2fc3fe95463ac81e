import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'

/** How often the database is asked for its time. */
const SAMPLE_MS = 10_000

/** How soon a machine that slept, or whose wall clock was set, asks again. */
const LOOK_MS = 1_000

/** The two clocks of a machine go apart by this much when it slept, or one of them was set. */
const APART_MS = 2_000

/** An answer that took longer tells the time too vaguely, unless there is none better. */
const VAGUE_MS = 500

/** An answer that is late is asked for once more, so often. */
const ASKED_MAX = 3

/** A machine whose clock is off by more than this is told so. */
const OFFSET_MS = 5_000

/** The time that all gateways on one database share: the database's. */
export interface DatabaseClock extends Clock {
  /** Takes the database's time from now on. Throws `store_unavailable`. */
  sample(): Promise<void>
  /** Asks again and again until the signal aborts. */
  run(log: Log, signal: AbortSignal): Promise<void>
}

/** The database's time at an instant of the machine's two clocks. */
interface Anchor {
  readonly atMs: number
  readonly wallMs: number
  readonly monotonicMs: number
}

/**
 * Builds a clock that shows the database's time: what it said last, and on from there by the machine's
 * monotonic clock. Until it has said anything it is the machine's own. When the machine slept, the
 * monotonic clock stood still, and the database is asked at once; while it is away then, the wall clock
 * is believed if it is later, because a token that seems to live too long is worse than none.
 *
 * Sleeps and monotonic time are the machine's own.
 */
export function createDatabaseClock(clock: Clock, readMs: () => Promise<number>): DatabaseClock {
  let anchor: Anchor | null = null
  let isAway = false
  const sinceMs = ({ wallMs, monotonicMs }: Anchor) => {
    const steadyMs = clock.monotonicMs() - monotonicMs
    const sleptMs = clock.nowMs() - wallMs - steadyMs
    return isAway && sleptMs > APART_MS ? steadyMs + sleptMs : steadyMs
  }
  const isApart = (): boolean => {
    if (anchor === null) return true
    const aheadMs = clock.nowMs() - clock.monotonicMs()
    return Math.abs(aheadMs - (anchor.wallMs - anchor.monotonicMs)) > APART_MS
  }
  const nowMs = (): number =>
    anchor === null ? clock.nowMs() : Math.round(anchor.atMs + sinceMs(anchor))

  /** Whether the answer was taken; one that is late is not, as long as there may be a better one. */
  const ask = async (isLast: boolean): Promise<boolean> => {
    const askedMs = clock.monotonicMs()
    const saidMs = await readMs()
    const monotonicMs = clock.monotonicMs()
    const tookMs = monotonicMs - askedMs
    const isVague = tookMs > VAGUE_MS
    if (isVague && isApart() && !isLast) return false
    if (!isVague || isApart()) {
      anchor = { atMs: saidMs + tookMs / 2, wallMs: clock.nowMs(), monotonicMs }
    }
    isAway = false
    return true
  }

  const sample = async (): Promise<void> => {
    try {
      // A server that hung answers late once, and then at once.
      for (let asked = 1; !(await ask(asked === ASKED_MAX)); ) asked += 1
    } catch (error) {
      isAway = true
      throw error
    }
  }

  return {
    nowMs,
    monotonicMs: () => clock.monotonicMs(),
    sleep: (ms, signal) => clock.sleep(ms, signal),
    sample,
    async run(log, signal) {
      let isOff = false
      let sampledMs = clock.monotonicMs()
      while (!signal.aborted) {
        const offsetMs = nowMs() - clock.nowMs()
        if (Math.abs(offsetMs) > OFFSET_MS && !isOff) {
          log.warn('clock.offset', {
            offsetMs,
            advice: 'This gateway goes by the database’s clock',
          })
        }
        isOff = Math.abs(offsetMs) > OFFSET_MS
        await clock.sleep(LOOK_MS, signal)
        const isDue = clock.monotonicMs() - sampledMs >= SAMPLE_MS
        if (signal.aborted || !(isDue || isAway || isApart())) continue
        sampledMs = clock.monotonicMs()
        // Whoever needs the database speaks of its absence.
        await sample().catch((error: unknown) => log.debug('clock.unsampled', { error }))
      }
    },
  }
}
