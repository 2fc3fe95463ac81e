import fc from 'fast-check'
import { seed } from '../support/seeded-random.ts'

/**
 * Checks a property on many inputs. A failure prints its `seed` and `path`; `SEED=… FC_PATH=…` before
 * the same command go straight back to it.
 */
export async function holds<T>(property: fc.IRawProperty<T>, numRuns: number): Promise<void> {
  const path = process.env.FC_PATH
  await fc.assert(property, { seed, numRuns, ...(path === undefined ? {} : { path }) })
}
