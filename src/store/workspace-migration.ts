import { type Kysely, type RawBuilder, sql } from 'kysely'
import { DEFAULT_WORKSPACE } from '../core/workspace.ts'
import type { Database } from './database.ts'

/** The step that makes workspaces things of their own, and lets a sandbox have more than a name. */
export async function addWorkspacesAndSandboxes(
  db: Kysely<unknown>,
  kind: Database['kind'],
): Promise<void> {
  const text = kind === 'postgres' ? sql`text collate "C"` : sql`text`
  await createWorkspaces(db, text)
  await addSandboxColumns(db)
  await db.schema
    .createTable('sandbox_providers')
    .addColumn('sandbox_id', text, column =>
      column.notNull().references('sandboxes.id').onDelete('cascade'),
    )
    .addColumn('provider_id', text, column =>
      column.notNull().references('providers.id').onDelete('restrict'),
    )
    .addColumn('position', 'bigint', column => column.notNull())
    .addPrimaryKeyConstraint('sandbox_providers_key', ['sandbox_id', 'provider_id'])
    .execute()
  await db.schema
    .createIndex('sandbox_providers_provider')
    .on('sandbox_providers')
    .column('provider_id')
    .execute()
  await db.schema
    .createTable('gateway_config')
    .addColumn('name', text, column => column.notNull().primaryKey())
    .addColumn('settings', 'text', column => column.notNull())
    .addColumn('policy', 'text')
    .addColumn('policy_version', 'bigint', column => column.notNull())
    .addColumn('policy_hash', 'text', column => column.notNull())
    .addColumn('revision', 'bigint', column => column.notNull())
    .execute()
}

async function createWorkspaces(db: Kysely<unknown>, text: RawBuilder<unknown>): Promise<void> {
  await db.schema
    .createTable('workspaces')
    .addColumn('name', text, column => column.notNull().primaryKey())
    .addColumn('id', text, column => column.notNull().unique())
    .addColumn('labels', 'text', column => column.notNull())
    .addColumn('version', 'bigint', column => column.notNull())
    .addColumn('created_at_ms', 'bigint', column => column.notNull())
    .execute()
  // Until now a workspace was there as soon as something named it: those are kept, by their names.
  await sql`
    insert into workspaces (name, id, labels, version, created_at_ms)
    values (${DEFAULT_WORKSPACE}, ${DEFAULT_WORKSPACE}, '{}', 1, 0)`.execute(db)
  await sql`
    insert into workspaces (name, id, labels, version, created_at_ms)
    select workspace, workspace, '{}', 1, 0 from (
      select workspace from providers
      union select workspace from routes
      union select workspace from sandboxes
    ) named where workspace <> ${DEFAULT_WORKSPACE}`.execute(db)
  await db.schema
    .createTable('workspace_members')
    .addColumn('workspace', text, column =>
      column.notNull().references('workspaces.name').onDelete('cascade'),
    )
    .addColumn('subject', text, column => column.notNull())
    .addColumn('id', text, column => column.notNull())
    .addColumn('role', 'text', column => column.notNull())
    .addColumn('created_at_ms', 'bigint', column => column.notNull())
    .addPrimaryKeyConstraint('workspace_members_key', ['workspace', 'subject'])
    .execute()
}

async function addSandboxColumns(db: Kysely<unknown>): Promise<void> {
  for (const [name, type, byDefault] of [
    ['version', 'bigint', 1],
    ['labels', 'text', '{}'],
    ['annotations', 'text', '{}'],
    ['settings', 'text', '{}'],
    ['spec_envelope', 'text', null],
    ['policy', 'text', null],
    ['policy_version', 'bigint', 0],
    ['policy_hash', 'text', ''],
    ['loaded_policy_version', 'bigint', 0],
    ['main_process_id', 'text', ''],
    ['exit_code', 'bigint', null],
  ] as const) {
    // One column a statement, because SQLite adds no more at once.
    await db.schema
      .alterTable('sandboxes')
      .addColumn(name, type, column =>
        byDefault === null ? column : column.notNull().defaultTo(byDefault),
      )
      .execute()
  }
}
