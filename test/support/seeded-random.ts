import type { Random } from '../../src/system/random.ts'

/** The seed of this run. `SEED=7 npm test` repeats a run that failed. */
export const seed = Number(process.env.SEED ?? Date.now() % 1_000_000)
console.log(`Reproduce with SEED=${seed}`)

/** Chance that repeats itself (mulberry32). */
export function seededRandom(from: number = seed): Random {
  let state = from >>> 0
  const fraction = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    fraction,
    bytes: count => Uint8Array.from({ length: count }, () => Math.floor(fraction() * 256)),
  }
}
