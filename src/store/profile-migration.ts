import { type Kysely, sql } from 'kysely'
import type { Database } from './database.ts'

/** Provider types that people describe, refreshes that they configure, and their notes on providers. */
export async function addProfilesAndGrants(
  db: Kysely<unknown>,
  kind: Database['kind'],
): Promise<void> {
  const text = kind === 'postgres' ? sql`text collate "C"` : sql`text`
  await db.schema
    .createTable('profiles')
    .addColumn('workspace', text, column => column.notNull())
    .addColumn('id', text, column => column.notNull())
    .addColumn('document', text, column => column.notNull())
    .addColumn('version', 'bigint', column => column.notNull())
    .addColumn('created_at_ms', 'bigint', column => column.notNull())
    .addColumn('updated_at_ms', 'bigint', column => column.notNull())
    .addPrimaryKeyConstraint('profiles_key', ['workspace', 'id'])
    .execute()
  for (const [table, name, byDefault] of [
    ['providers', 'profile_workspace', ''],
    ['providers', 'expiries', '{}'],
    ['providers', 'labels', '{}'],
    ['providers', 'annotations', '{}'],
    ['credentials', 'grant_envelope', null],
    ['credentials', 'grant_epoch', ''],
  ] as const) {
    // One column a statement, because SQLite adds no more at once.
    await db.schema
      .alterTable(table)
      .addColumn(name, 'text', column =>
        byDefault === null ? column : column.notNull().defaultTo(byDefault),
      )
      .execute()
  }
}
