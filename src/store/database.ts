import type { CompiledQuery, Kysely } from 'kysely'
import type { Clock } from '../system/clock.ts'
import type { Random } from '../system/random.ts'
import type { Write } from './group-commit.ts'
import type { KeyRing } from './key-ring.ts'
import type { RunQuery } from './query.ts'
import type { Schema } from './schema.ts'
import type { Sealer } from './seal.ts'

/** A connection on which the database tells of changes. */
export interface Listening {
  /** Aborts when the connection is lost. */
  readonly lost: AbortSignal
  /** Asks over the same connection; fails soon when that is dead. */
  query<R>(query: CompiledQuery<R>): Promise<readonly R[]>
  close(): void
}

/** An open database. Two places in the query code ask for its kind: row locks and collation. */
export interface Database {
  readonly kind: 'sqlite' | 'postgres'
  readonly db: Kysely<Schema>
  /** Does long work that waits for locks, over connections of its own where that matters. */
  readonly withoutHaste: <T>(work: (db: Kysely<Schema>) => Promise<T>) => Promise<T>
  /** What its connections are called, unlike those of any other store. */
  readonly name: string
  /** Null where the database tells nothing by itself. */
  readonly listen: ((onNotice: (text: string) => void) => Promise<Listening>) | null
  /** For queries that run at each refresh. */
  readonly run: RunQuery
  /** Runs one statement that writes; on SQLite it may share a commit with others. */
  readonly writeOne: Write
  /** Runs statements that write all or nothing; on SQLite they may share a commit with others. */
  readonly writeAll: Write
  /** The path or URL as people may see it, without a password. */
  readonly location: string
}

/** What the query code needs. */
export interface StoreContext {
  readonly database: Database
  readonly ring: KeyRing
  readonly sealer: Sealer
  readonly clock: Clock
  readonly random: Random
}

/** An instant as the database keeps it: in whole milliseconds. */
export function wholeMs(instantMs: number): number {
  const whole = Math.round(instantMs)
  if (Number.isSafeInteger(whole)) return whole
  throw new RangeError(`Not an instant: ${instantMs}`)
}
