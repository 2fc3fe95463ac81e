import { Cancellation, type CancelSignal } from '../system/cancellation.ts'
import type { Clock } from '../system/clock.ts'
import { RouterError } from './errors.ts'

const STOPPED = 'stopped'

/** Says that a limit has passed, given its milliseconds; called then alone. */
export type LateMessage = (ms: number) => string

/**
 * One try at the upstream: the signal that cancels it, and the time limit that runs at the moment.
 * Setting a later limit wakes nobody, so that a limit per chunk of an answer costs two assignments.
 *
 * `close` it, whatever became of it.
 */
export class Attempt {
  readonly #clock: Clock
  readonly #watch: Watch
  readonly #agentSignal: CancelSignal
  readonly #cancellation = new Cancellation()
  readonly #onAgentGone = (): void => this.abort(this.#agentSignal.reason)
  #deadlineMs = Number.POSITIVE_INFINITY
  #limitMs = 0
  #isClosed = false
  #lateMessage: LateMessage = () => ''

  constructor(clock: Clock, agentSignal: CancelSignal) {
    this.#clock = clock
    this.#watch = watchOf(clock)
    this.#agentSignal = agentSignal
    agentSignal.addEventListener('abort', this.#onAgentGone, { once: true })
    if (agentSignal.aborted) this.#onAgentGone()
  }

  /** Aborts when the agent is gone, when a limit has passed, and on `abort`. */
  get signal(): CancelSignal {
    return this.#cancellation
  }

  get isAgentGone(): boolean {
    return this.#agentSignal.aborted
  }

  /** When the limit passes, on the monotonic clock; infinite without one. */
  get deadlineMs(): number {
    return this.#deadlineMs
  }

  /** From now on the upstream has `ms` before the try ends with `upstream_timeout`. */
  limit(ms: number, lateMessage: LateMessage): void {
    if (this.#isClosed) return
    this.#deadlineMs = this.#clock.monotonicMs() + ms
    this.#limitMs = ms
    this.#lateMessage = lateMessage
    this.#watch.keep(this)
  }

  /** From now on the wait is not the upstream's fault. */
  unlimit(): void {
    this.#deadlineMs = Number.POSITIVE_INFINITY
  }

  /** Says that the limit has passed. */
  expire(): void {
    this.unlimit()
    this.abort(new RouterError('upstream_timeout', this.#lateMessage(this.#limitMs)))
  }

  /** Cancels the upstream. The first reason stands. */
  abort(reason: unknown): void {
    this.#cancellation.abort(reason)
  }

  /** Why the try really failed: what cancelled it, else the error that came of it. */
  reasonFor(error: unknown): unknown {
    return this.#cancellation.aborted ? this.#cancellation.reason : error
  }

  /** Stops the limit and lets the agent's signal go. Cancels nothing. */
  close(): void {
    this.#isClosed = true
    this.unlimit()
    this.#watch.leave(this)
    this.#agentSignal.removeEventListener('abort', this.#onAgentGone)
  }
}

/**
 * Wakes when the first of all limits passes. There is one sleeper for all tries, which sleeps on when
 * that limit was moved meanwhile: a timer for each request would cost more than all its limits.
 */
class Watch {
  readonly #clock: Clock
  readonly #attempts = new Set<Attempt>()
  #sleeper: Cancellation | null = null
  #wakeMs = Number.POSITIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Keeps the limit that the attempt has at the moment, whatever becomes of it. */
  keep(attempt: Attempt): void {
    this.#attempts.add(attempt)
    if (attempt.deadlineMs < this.#wakeMs) this.#sleepUntil(attempt.deadlineMs)
  }

  leave(attempt: Attempt): void {
    this.#attempts.delete(attempt)
    if (this.#attempts.size === 0) this.#stop()
  }

  #stop(): void {
    this.#wakeMs = Number.POSITIVE_INFINITY
    this.#sleeper?.abort(STOPPED)
    this.#sleeper = null
  }

  #sleepUntil(wakeMs: number): void {
    this.#stop()
    if (wakeMs === Number.POSITIVE_INFINITY) return
    const sleeper = new Cancellation()
    this.#sleeper = sleeper
    this.#wakeMs = wakeMs
    void this.#clock.sleep(wakeMs - this.#clock.monotonicMs(), sleeper).then(() => {
      if (!sleeper.aborted) this.#wake()
    })
  }

  #wake(): void {
    const nowMs = this.#clock.monotonicMs()
    let nextMs = Number.POSITIVE_INFINITY
    for (const attempt of this.#attempts) {
      if (attempt.deadlineMs <= nowMs) attempt.expire()
      else nextMs = Math.min(nextMs, attempt.deadlineMs)
    }
    this.#sleepUntil(nextMs)
  }
}

/** One for each clock that there is. */
const watches = new WeakMap<Clock, Watch>()

function watchOf(clock: Clock): Watch {
  const known = watches.get(clock)
  if (known !== undefined) return known
  const watch = new Watch(clock)
  watches.set(clock, watch)
  return watch
}
