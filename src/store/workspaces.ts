import type { Kysely } from 'kysely'
import { AppError } from '../core/errors.ts'
import type { WorkspaceMember, WorkspaceRecord } from '../core/workspace.ts'
import { type StoreContext, wholeMs } from './database.ts'
import { hasLabels, labelsText, parseLabels } from './labels.ts'
import type { Schema, WorkspaceMembersTable, WorkspacesTable } from './schema.ts'
import type { Page, WorkspaceRemains } from './store.ts'
import { damagedRow } from './trouble.ts'

const ROLES = ['user', 'admin'] as const

/** See `Store.createWorkspace`. */
export async function createWorkspace(
  { database }: StoreContext,
  workspace: WorkspaceRecord,
): Promise<void> {
  const created = await database.db
    .insertInto('workspaces')
    .values({
      name: workspace.name,
      id: workspace.id,
      labels: labelsText(workspace.labels),
      version: 1,
      created_at_ms: wholeMs(workspace.createdAtMs),
    })
    .onConflict(conflict => conflict.column('name').doNothing())
    .returning('id')
    .executeTakeFirst()
  if (created !== undefined) return
  throw new AppError('already_exists', `Workspace "${workspace.name}" exists already`)
}

/** See `Store.getWorkspace`. */
export async function getWorkspace(
  { database }: StoreContext,
  name: string,
): Promise<WorkspaceRecord | null> {
  const row = await database.db
    .selectFrom('workspaces')
    .selectAll()
    .where('name', '=', name)
    .executeTakeFirst()
  return row === undefined ? null : toWorkspace(row)
}

/** See `Store.listWorkspaces`. */
export async function listWorkspaces(
  { database }: StoreContext,
  labels: ReadonlyMap<string, string>,
  page: Page,
): Promise<readonly WorkspaceRecord[]> {
  const rows = await database.db
    .selectFrom('workspaces')
    .selectAll()
    .where(eb => hasLabels(eb.ref('labels'), labels))
    .orderBy('name')
    .limit(page.limit)
    .offset(page.offset)
    .execute()
  return rows.map(toWorkspace)
}

/** See `Store.deleteWorkspace`. */
export async function deleteWorkspace(
  { database }: StoreContext,
  name: string,
): Promise<WorkspaceRemains | null> {
  return database.db.transaction().execute(async db => {
    const found = await db
      .selectFrom('workspaces')
      .select('name')
      .where('name', '=', name)
      .$if(database.kind === 'postgres', query => query.forUpdate())
      .executeTakeFirst()
    if (found === undefined) return null
    const remains: WorkspaceRemains = {
      sandboxes: await countIn(db, 'sandboxes', name),
      providers: await countIn(db, 'providers', name),
      profiles: await countIn(db, 'profiles', name),
    }
    if (Object.values(remains).some(count => count > 0)) return remains
    await db.deleteFrom('routes').where('workspace', '=', name).execute()
    await db.deleteFrom('workspaces').where('name', '=', name).execute()
    return remains
  })
}

/**
 * Makes sure that a workspace exists until the transaction ends: whoever would delete it waits, and
 * then finds what was put into it.
 *
 * @throws AppError `not_found`.
 */
export async function holdWorkspace(
  db: Kysely<Schema>,
  { database }: StoreContext,
  name: string,
): Promise<void> {
  const found = await db
    .selectFrom('workspaces')
    .select('name')
    .where('name', '=', name)
    .$if(database.kind === 'postgres', query => query.forKeyShare())
    .executeTakeFirst()
  if (found === undefined) throw new AppError('not_found', `Workspace "${name}" does not exist`)
}

/** See `Store.addWorkspaceMember`. */
export async function addWorkspaceMember(
  context: StoreContext,
  member: WorkspaceMember,
): Promise<void> {
  await context.database.db.transaction().execute(async db => {
    await holdWorkspace(db, context, member.workspace)
    const added = await db
      .insertInto('workspace_members')
      .values({
        workspace: member.workspace,
        subject: member.subject,
        id: member.id,
        role: member.role,
        created_at_ms: wholeMs(member.createdAtMs),
      })
      .onConflict(conflict => conflict.columns(['workspace', 'subject']).doNothing())
      .returning('id')
      .executeTakeFirst()
    if (added !== undefined) return
    throw new AppError(
      'already_exists',
      `"${member.subject}" is a member of workspace "${member.workspace}" already`,
    )
  })
}

/** See `Store.removeWorkspaceMember`. */
export async function removeWorkspaceMember(
  { database }: StoreContext,
  workspace: string,
  subject: string,
): Promise<boolean> {
  const removed = await database.db
    .deleteFrom('workspace_members')
    .where('workspace', '=', workspace)
    .where('subject', '=', subject)
    .returning('id')
    .executeTakeFirst()
  return removed !== undefined
}

/** See `Store.listWorkspaceMembers`. */
export async function listWorkspaceMembers(
  { database }: StoreContext,
  workspace: string,
  page: Page,
): Promise<readonly WorkspaceMember[]> {
  const rows = await database.db
    .selectFrom('workspace_members')
    .selectAll()
    .where('workspace', '=', workspace)
    .orderBy('subject')
    .limit(page.limit)
    .offset(page.offset)
    .execute()
  return rows.map(toMember)
}

async function countIn(
  db: Kysely<Schema>,
  table: 'sandboxes' | 'providers' | 'profiles',
  workspace: string,
): Promise<number> {
  const { count } = await db
    .selectFrom(table)
    .select(eb => eb.fn.countAll().as('count'))
    .where('workspace', '=', workspace)
    .executeTakeFirstOrThrow()
  return Number(count)
}

function toWorkspace(row: WorkspacesTable): WorkspaceRecord {
  return {
    id: row.id,
    name: row.name,
    labels: parseLabels(row.labels, `workspace "${row.name}"`),
    createdAtMs: row.created_at_ms,
    version: row.version,
  }
}

function toMember(row: WorkspaceMembersTable): WorkspaceMember {
  const { id, workspace, subject } = row
  const role = ROLES.find(one => one === row.role)
  if (role === undefined) throw damagedRow(`member "${subject}" of workspace "${workspace}"`)
  return { id, workspace, subject, role, createdAtMs: row.created_at_ms }
}
