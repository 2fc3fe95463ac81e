import { AppError } from '../core/errors.ts'
import type { SandboxRecord } from '../core/provider.ts'
import { type StoreContext, wholeMs } from './database.ts'
import type { SandboxesTable } from './schema.ts'
import type { Page } from './store.ts'

/** See `Store.createSandbox`. */
export async function createSandbox(
  { database }: StoreContext,
  sandbox: SandboxRecord,
): Promise<void> {
  const created = await database.db
    .insertInto('sandboxes')
    .values({
      id: sandbox.id,
      workspace: sandbox.workspace,
      name: sandbox.name,
      created_at_ms: wholeMs(sandbox.createdAtMs),
    })
    .onConflict(conflict => conflict.columns(['workspace', 'name']).doNothing())
    .returning('id')
    .executeTakeFirst()
  if (created === undefined) {
    throw new AppError('already_exists', `Sandbox "${sandbox.name}" exists already`)
  }
}

/** See `Store.getSandbox`. */
export async function getSandbox(
  { database }: StoreContext,
  workspace: string,
  name: string,
): Promise<SandboxRecord | null> {
  const row = await database.db
    .selectFrom('sandboxes')
    .selectAll()
    .where('workspace', '=', workspace)
    .where('name', '=', name)
    .executeTakeFirst()
  return row === undefined ? null : toSandbox(row)
}

/** See `Store.getSandboxById`. */
export async function getSandboxById(
  { database }: StoreContext,
  id: string,
): Promise<SandboxRecord | null> {
  const row = await database.db
    .selectFrom('sandboxes')
    .selectAll()
    .where('id', '=', id)
    .executeTakeFirst()
  return row === undefined ? null : toSandbox(row)
}

/** See `Store.listSandboxes`. */
export async function listSandboxes(
  { database }: StoreContext,
  workspace: string | null,
  page: Page,
): Promise<readonly SandboxRecord[]> {
  const rows = await database.db
    .selectFrom('sandboxes')
    .selectAll()
    .$if(workspace !== null, query => query.where('workspace', '=', workspace))
    .orderBy('name')
    .orderBy('workspace')
    .limit(page.limit)
    .offset(page.offset)
    .execute()
  return rows.map(toSandbox)
}

/** See `Store.deleteSandbox`. */
export async function deleteSandbox(
  { database }: StoreContext,
  workspace: string,
  name: string,
): Promise<boolean> {
  const deleted = await database.db
    .deleteFrom('sandboxes')
    .where('workspace', '=', workspace)
    .where('name', '=', name)
    .returning('id')
    .executeTakeFirst()
  return deleted !== undefined
}

function toSandbox(row: SandboxesTable): SandboxRecord {
  return {
    id: row.id,
    workspace: row.workspace,
    name: row.name,
    createdAtMs: row.created_at_ms,
  }
}
