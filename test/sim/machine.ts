import type { Clock } from '../../src/system/clock.ts'
import type { Happening, Schedule } from './schedule.ts'

/** What the wall clocks show when a simulation begins. */
const EPOCH_MS = 1_800_000_000_000

const SLEEP_MS_MAX = 86_400_000

/** How long a process may take to notice that a clock was set. */
const NOTICE_MS = 10_000

interface Sleeper {
  /** By the machine's monotonic clock. */
  readonly wakeAtMs: number
  readonly wake: () => void
  happening: Happening | null
}

/**
 * A computer: a wall clock that is off, steps and drifts, a monotonic one that drifts with it and
 * stands still while the machine sleeps, and the processes on it.
 */
export class Machine {
  readonly name: string
  readonly schedule: Schedule
  readonly #lives = new Set<Life>()
  #sinceMs: number
  #wallMs: number
  #monotonicMs = 0
  #rate = 1
  /** What arrives while the machine is suspended waits for it, as in a socket's buffer. */
  #held: (() => void)[] | null = null
  #suspendedAtMs = 0
  /** When this machine's clocks or its processes were last disturbed, in true time. */
  disturbedAtMs = Number.NEGATIVE_INFINITY
  /** When its wall clock was last set back, or the machine woke up after that. */
  setBackAtMs = Number.NEGATIVE_INFINITY

  constructor(schedule: Schedule, name: string, offsetMs = 0) {
    this.schedule = schedule
    this.name = name
    this.#sinceMs = schedule.nowMs
    this.#wallMs = EPOCH_MS + schedule.nowMs + offsetMs
  }

  nowMs(): number {
    return Math.floor(this.#wallMs + this.#elapsedMs())
  }

  monotonicMs(): number {
    return this.#monotonicMs + (this.#held === null ? this.#elapsedMs() : 0)
  }

  get isSuspended(): boolean {
    return this.#held !== null
  }

  /** How many of its processes' sleepers wait. */
  get sleepers(): number {
    let count = 0
    for (const life of this.#lives) count += life.sleepers
    return count
  }

  /** Sets the wall clock alone, as an administrator or a time server does. */
  step(ms: number): void {
    this.#anchor()
    this.#wallMs += ms
    this.disturbedAtMs = this.schedule.nowMs
    if (ms < 0) this.setBackAtMs = this.schedule.nowMs
  }

  /** Both clocks go at this rate from now on; 1.0001 is 100 ppm fast. */
  drift(rate: number): void {
    this.#anchor()
    this.#rate = rate
    for (const life of this.#lives) life.rearm()
  }

  /** Like SIGSTOP or a closed lid: nothing runs, wall time goes on. */
  suspend(): void {
    if (this.#held !== null) return
    this.#anchor()
    this.#held = []
    this.#suspendedAtMs = this.schedule.nowMs
    this.disturbedAtMs = this.schedule.nowMs
    for (const life of this.#lives) life.disarm()
  }

  resume(): void {
    const held = this.#held
    if (held === null) return
    this.#anchor()
    this.#held = null
    this.disturbedAtMs = this.schedule.nowMs
    // What was not noticed before is noticed from now on.
    if (this.setBackAtMs >= this.#suspendedAtMs - NOTICE_MS) this.setBackAtMs = this.schedule.nowMs
    for (const life of this.#lives) life.rearm()
    for (const run of held) run()
  }

  /** Something reaches the machine. */
  receive(run: () => void): void {
    if (this.#held === null) run()
    else this.#held.push(run)
  }

  /** Starts a process. */
  boot(): Life {
    const life = new Life(this)
    life.onDeath(() => this.#lives.delete(life))
    this.#lives.add(life)
    return life
  }

  /** The true instant at which the monotonic clock will show `atMs`. */
  trueMs(atMs: number): number {
    return this.schedule.nowMs + (atMs - this.monotonicMs()) / this.#rate
  }

  #elapsedMs(): number {
    return (this.schedule.nowMs - this.#sinceMs) * this.#rate
  }

  #anchor(): void {
    const elapsedMs = this.#elapsedMs()
    this.#wallMs += elapsedMs
    if (this.#held === null) this.#monotonicMs += elapsedMs
    this.#sinceMs = this.schedule.nowMs
  }
}

/** A process, from its start to its death. Its clock is the machine's, and sleeps die with it. */
export class Life implements Clock {
  readonly machine: Machine
  /** The clock by which it judges tokens: the machine's, or one that it shares with others. */
  judgesBy: Clock = this
  /** When what it needs to store a token was last in trouble, in true time. */
  troubleAtMs: () => number = () => this.machine.disturbedAtMs
  readonly #sleeping = new Set<Sleeper>()
  readonly #onDeath = new Set<() => void>()
  #isAlive = true

  constructor(machine: Machine) {
    this.machine = machine
  }

  get isAlive(): boolean {
    return this.#isAlive
  }

  get sleepers(): number {
    return this.#sleeping.size
  }

  nowMs(): number {
    return this.machine.nowMs()
  }

  monotonicMs(): number {
    return this.machine.monotonicMs()
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#isAlive) return never()
    if (signal.aborted) return Promise.resolve()
    return new Promise(resolve => {
      const wake = (): void => {
        if (sleeper.happening !== null) this.machine.schedule.cancel(sleeper.happening)
        this.#sleeping.delete(sleeper)
        signal.removeEventListener('abort', wake)
        resolve()
      }
      const spanMs = Math.min(Math.max(ms, 0), SLEEP_MS_MAX)
      const sleeper: Sleeper = {
        wakeAtMs: this.machine.monotonicMs() + spanMs,
        wake,
        happening: null,
      }
      this.#sleeping.add(sleeper)
      signal.addEventListener('abort', wake, { once: true })
      if (!this.machine.isSuspended) this.#arm(sleeper)
    })
  }

  /** What is done with a promise's outcome happens only while the process lives. */
  async while<T>(work: Promise<T>): Promise<T> {
    try {
      const value = await work
      return this.#isAlive ? value : await never<T>()
    } catch (error) {
      if (this.#isAlive) throw error
      return never()
    }
  }

  /** `kill -9`: from here on nothing of it runs. */
  kill(): void {
    if (!this.#isAlive) return
    this.#isAlive = false
    this.disarm()
    this.#sleeping.clear()
    for (const tell of [...this.#onDeath]) tell()
    this.#onDeath.clear()
  }

  /** Tells when the process dies; the answer ends that. */
  onDeath(tell: () => void): () => void {
    this.#onDeath.add(tell)
    return () => this.#onDeath.delete(tell)
  }

  disarm(): void {
    for (const sleeper of this.#sleeping) {
      if (sleeper.happening !== null) this.machine.schedule.cancel(sleeper.happening)
      sleeper.happening = null
    }
  }

  rearm(): void {
    if (this.machine.isSuspended) return
    this.disarm()
    for (const sleeper of this.#sleeping) this.#arm(sleeper)
  }

  #arm(sleeper: Sleeper): void {
    const atMs = this.machine.trueMs(sleeper.wakeAtMs)
    sleeper.happening = this.machine.schedule.at(atMs, sleeper.wake)
  }
}

/** A promise that nothing keeps; whoever waits for it is garbage. */
export function never<T>(): Promise<T> {
  return new Promise(() => {})
}
