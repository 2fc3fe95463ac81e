import type { Random } from '../../src/system/random.ts'

/** Chance that repeats itself from one seed (sfc32), with the draws that a simulation wants. */
export class Chance implements Random {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(seed: number) {
    this.#a = seed >>> 0
    this.#b = Math.floor(seed / 2 ** 32) >>> 0
    this.#c = 0x9e3779b9
    for (let turn = 0; turn < 16; turn += 1) this.#next()
  }

  /** A chance of its own, so that one part's draws do not move another's. */
  fork(): Chance {
    return new Chance(this.#next() * 2 ** 21 + (this.#next() >>> 11))
  }

  fraction(): number {
    return this.#next() / 2 ** 32
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count)
    for (let at = 0; at < count; at += 1) bytes[at] = this.#next() & 0xff
    return bytes
  }

  happens(probability: number): boolean {
    return this.fraction() < probability
  }

  /** A whole number from `min` to `max`, both included. */
  whole(min: number, max: number): number {
    return min + Math.floor(this.fraction() * (max - min + 1))
  }

  /** A span whose order of magnitude is uniform, because faults of 10 ms and of 10 min both matter. */
  spanMs(minMs: number, maxMs: number): number {
    return Math.round(minMs * (maxMs / minMs) ** this.fraction())
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.whole(0, items.length - 1)]
    if (item === undefined) throw new RangeError('Nothing to pick from')
    return item
  }

  /** A part of the items, each with the same probability, in their order. */
  some<T>(items: readonly T[], probability: number): readonly T[] {
    return items.filter(() => this.happens(probability))
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0
    return sum >>> 0
  }
}
