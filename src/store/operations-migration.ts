import { type Kysely, sql } from 'kysely'
import type { Database } from './database.ts'
import { raiseFences } from './fences.ts'

/** What operators need: a change of the master key, gateways that know of each other, a moved store. */
export async function addOperations(db: Kysely<unknown>, kind: Database['kind']): Promise<void> {
  // Sorted by bytes, as SQLite always does.
  const text = kind === 'postgres' ? sql`text collate "C"` : sql`text`
  await db.schema
    .createTable('retired_master_keys')
    .addColumn('id', text, column => column.notNull().primaryKey())
    .addColumn('retired_at_ms', 'bigint', column => column.notNull())
    .addColumn('emptied_at_ms', 'bigint')
    .execute()
  await db.schema
    .createTable('gateways')
    .addColumn('id', text, column => column.notNull().primaryKey())
    .addColumn('master_key_ids', text, column => column.notNull())
    .addColumn('seen_at_ms', 'bigint', column => column.notNull())
    .execute()
  await db.schema
    .createTable('store_marks')
    .addColumn('name', text, column => column.notNull().primaryKey())
    .addColumn('at_ms', 'bigint', column => column.notNull())
    .execute()
  await db.schema
    .createTable('schema_steps')
    .addColumn('name', text, column => column.notNull().primaryKey())
    .addColumn('oldest_beside', text, column => column.notNull())
    .execute()
  await raiseFences(db, kind)
}
