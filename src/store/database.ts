import type { Kysely } from 'kysely'
import type { Clock } from '../system/clock.ts'
import type { KeyRing } from './key-ring.ts'
import type { Schema } from './schema.ts'
import type { Sealer } from './seal.ts'

/** An open database. Two places in the query code ask for its kind: row locks and collation. */
export interface Database {
  readonly kind: 'sqlite' | 'postgres'
  readonly db: Kysely<Schema>
  /** The path or URL as people may see it, without a password. */
  readonly location: string
}

/** What the query code needs. */
export interface StoreContext {
  readonly database: Database
  readonly ring: KeyRing
  readonly sealer: Sealer
  readonly clock: Clock
}

/** An instant as the database keeps it: in whole milliseconds. */
export function wholeMs(instantMs: number): number {
  const whole = Math.round(instantMs)
  if (Number.isSafeInteger(whole)) return whole
  throw new RangeError(`Not an instant: ${instantMs}`)
}
