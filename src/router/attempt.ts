import type { Clock } from '../system/clock.ts'
import { RouterError } from './errors.ts'

/** Given as a reason because an abort without one makes an exception, with its stack, per request. */
const STOPPED = 'stopped'

/**
 * One try at the upstream: the signal that cancels it, and the time limit that runs at the moment.
 * There is one sleeper for all limits of a try, and setting a later limit does not wake it, so that a
 * limit per chunk of an answer costs two assignments.
 *
 * `close` it, whatever became of it.
 */
export class Attempt {
  readonly #clock: Clock
  readonly #agentSignal: AbortSignal
  readonly #controller = new AbortController()
  readonly #onAgentGone = (): void => this.abort(this.#agentSignal.reason)
  #sleeper = new AbortController()
  #deadlineMs = Number.POSITIVE_INFINITY
  #wakeMs = Number.POSITIVE_INFINITY
  #lateMessage = ''

  constructor(clock: Clock, agentSignal: AbortSignal) {
    this.#clock = clock
    this.#agentSignal = agentSignal
    agentSignal.addEventListener('abort', this.#onAgentGone, { once: true })
    if (agentSignal.aborted) this.#onAgentGone()
  }

  /** Aborts when the agent is gone, when a limit has passed, and on `abort`. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get isAgentGone(): boolean {
    return this.#agentSignal.aborted
  }

  /** From now on the upstream has `ms` before the try ends with `upstream_timeout`. */
  limit(ms: number, lateMessage: string): void {
    this.#deadlineMs = this.#clock.monotonicMs() + ms
    this.#lateMessage = lateMessage
    if (this.#deadlineMs < this.#wakeMs) this.#sleep()
  }

  /** From now on the wait is not the upstream's fault. */
  unlimit(): void {
    this.#deadlineMs = Number.POSITIVE_INFINITY
  }

  /** Cancels the upstream. The first reason stands. */
  abort(reason: unknown): void {
    this.#controller.abort(reason)
  }

  /** Why the try really failed: what cancelled it, else the error that came of it. */
  reasonFor(error: unknown): unknown {
    return this.signal.aborted ? this.signal.reason : error
  }

  /** Stops the limit and lets the agent's signal go. Cancels nothing. */
  close(): void {
    this.unlimit()
    this.#sleeper.abort(STOPPED)
    this.#agentSignal.removeEventListener('abort', this.#onAgentGone)
  }

  #sleep(): void {
    this.#sleeper.abort(STOPPED)
    const sleeper = new AbortController()
    this.#sleeper = sleeper
    this.#wakeMs = this.#deadlineMs
    const spanMs = this.#deadlineMs - this.#clock.monotonicMs()
    void this.#clock.sleep(spanMs, sleeper.signal).then(() => {
      if (!sleeper.signal.aborted) this.#wake()
    })
  }

  #wake(): void {
    this.#wakeMs = Number.POSITIVE_INFINITY
    if (this.#deadlineMs === Number.POSITIVE_INFINITY) return
    if (this.#clock.monotonicMs() < this.#deadlineMs) this.#sleep()
    else this.abort(new RouterError('upstream_timeout', this.#lateMessage))
  }
}
