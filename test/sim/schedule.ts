/** Something that will happen; `place` is where it stands in the heap, -1 when it does no more. */
export interface Happening {
  readonly atMs: number
  readonly order: number
  readonly run: () => void
  place: number
}

/**
 * The simulation's true time, in whole milliseconds from 0, and everything that will happen in it.
 * A binary heap with removal, because most sleeps are aborted long before their end.
 */
export class Schedule {
  readonly #heap: Happening[] = []
  readonly #stalls = new Set<Promise<unknown>>()
  #nowMs = 0
  #order = 0

  get nowMs(): number {
    return this.#nowMs
  }

  /** How much is still to happen. */
  get size(): number {
    return this.#heap.length
  }

  /** Instants are rounded up and lie at least 1 ms ahead, as those of real timers do. */
  at(atMs: number, run: () => void): Happening {
    const whole = Math.max(Math.ceil(atMs), this.#nowMs + 1)
    const happening = { atMs: whole, order: this.#order, run, place: this.#heap.length }
    this.#order += 1
    this.#heap.push(happening)
    this.#rise(happening)
    return happening
  }

  after(spanMs: number, run: () => void): Happening {
    return this.at(this.#nowMs + spanMs, run)
  }

  /** No time passes until the work is done: it may take turns of the event loop. */
  stall(work: Promise<unknown>): void {
    const ended = Promise.allSettled([work])
    this.#stalls.add(ended)
    void ended.then(() => this.#stalls.delete(ended))
  }

  cancel(happening: Happening): void {
    const { place } = happening
    if (place === -1) return
    happening.place = -1
    const last = this.#heap.pop()
    if (last === undefined || last === happening) return
    this.#put(last, place)
    this.#rise(last)
    this.#sink(last)
  }

  /**
   * Lets everything happen until `endMs`. All that happens at one instant is started in order, then
   * comes to rest in one turn of the event loop: nothing in the simulation leaves the thread.
   * `onInstant` answers whether to go on.
   */
  async runUntil(endMs: number, onInstant: () => boolean): Promise<void> {
    await this.#settle()
    for (;;) {
      const next = this.#heap[0]
      if (next === undefined || next.atMs > endMs) break
      this.#nowMs = next.atMs
      for (let one = this.#heap[0]; one?.atMs === this.#nowMs; one = this.#heap[0]) {
        this.cancel(one)
        one.run()
      }
      await turn()
      if (this.#stalls.size > 0) await this.#settle()
      if (!onInstant()) return
    }
    this.#nowMs = Math.max(this.#nowMs, Math.ceil(endMs))
  }

  async #settle(): Promise<void> {
    while (this.#stalls.size > 0) await Promise.all(this.#stalls)
    await turn()
  }

  #put(happening: Happening, place: number): void {
    happening.place = place
    this.#heap[place] = happening
  }

  #rise(happening: Happening): void {
    for (let place = happening.place; place > 0; ) {
      const above = (place - 1) >> 1
      const parent = this.#heap[above]
      if (parent === undefined || isBefore(parent, happening)) return
      this.#put(parent, place)
      this.#put(happening, above)
      place = above
    }
  }

  #sink(happening: Happening): void {
    for (let place = happening.place; ; ) {
      const left = this.#heap[2 * place + 1]
      const right = this.#heap[2 * place + 2]
      const child = left && right ? (isBefore(left, right) ? left : right) : left
      if (child === undefined || isBefore(happening, child)) return
      const below = child.place
      this.#put(child, place)
      this.#put(happening, below)
      place = below
    }
  }
}

function isBefore(one: Happening, other: Happening): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.order < other.order)
}

/** One turn of the event loop; every microtask has run by then. */
export function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
