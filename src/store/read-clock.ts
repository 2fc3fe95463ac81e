import { sql } from 'kysely'
import type { StoreContext } from './database.ts'

/** See `Store.readClock`. */
export async function readClock({ database, clock }: StoreContext): Promise<number> {
  if (database.kind === 'sqlite') return clock.nowMs()
  const { rows } = await sql<{
    at_ms: number
  }>`select floor(extract(epoch from clock_timestamp()) * 1000)::bigint at_ms`.execute(database.db)
  return rows[0]?.at_ms ?? clock.nowMs()
}
