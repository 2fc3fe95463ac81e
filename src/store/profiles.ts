import { AppError } from '../core/errors.ts'
import type { ProfileRecord } from '../core/provider.ts'
import { type StoreContext, wholeMs } from './database.ts'
import type { ProfilesTable } from './schema.ts'
import { holdWorkspace } from './workspaces.ts'

/** See `Store.getProfile`. */
export async function getProfile(
  { database }: StoreContext,
  workspace: string,
  id: string,
): Promise<ProfileRecord | null> {
  const row = await database.db
    .selectFrom('profiles')
    .selectAll()
    .where('workspace', '=', workspace)
    .where('id', '=', id)
    .executeTakeFirst()
  return row === undefined ? null : toProfile(row)
}

/** See `Store.listProfiles`. */
export async function listProfiles(
  { database }: StoreContext,
  workspace: string,
): Promise<readonly ProfileRecord[]> {
  const rows = await database.db
    .selectFrom('profiles')
    .selectAll()
    .where('workspace', 'in', ['', workspace])
    .orderBy('id')
    .orderBy('workspace')
    .execute()
  return rows.map(toProfile)
}

/** See `Store.createProfiles`. */
export async function createProfiles(
  context: StoreContext,
  profiles: readonly ProfileRecord[],
): Promise<void> {
  await context.database.db.transaction().execute(async db => {
    for (const { workspace, id, document, ...profile } of profiles) {
      if (workspace !== '') await holdWorkspace(db, context, workspace)
      const created = await db
        .insertInto('profiles')
        .values({
          ...{ workspace, id, document, version: 1 },
          created_at_ms: wholeMs(profile.createdAtMs),
          updated_at_ms: wholeMs(profile.updatedAtMs),
        })
        .onConflict(conflict => conflict.columns(['workspace', 'id']).doNothing())
        .returning('id')
        .executeTakeFirst()
      if (created === undefined) {
        throw new AppError('already_exists', `Provider profile "${id}" exists already`)
      }
    }
  })
}

/** See `Store.saveProfile`. */
export async function saveProfile(
  { database, clock }: StoreContext,
  { workspace, id, document, version }: ProfileRecord,
): Promise<ProfileRecord | null> {
  const row = await database.db
    .updateTable('profiles')
    .set({ document, version: version + 1, updated_at_ms: wholeMs(clock.nowMs()) })
    .where('workspace', '=', workspace)
    .where('id', '=', id)
    .where('version', '=', version)
    .returningAll()
    .executeTakeFirst()
  return row === undefined ? null : toProfile(row)
}

/** See `Store.deleteProfile`. */
export async function deleteProfile(
  { database }: StoreContext,
  workspace: string,
  id: string,
): Promise<boolean> {
  return database.db.transaction().execute(async db => {
    const deleted = await db
      .deleteFrom('profiles')
      .where('workspace', '=', workspace)
      .where('id', '=', id)
      .returning('id')
      .executeTakeFirst()
    const user = await db
      .selectFrom('providers')
      .select(['name', 'workspace'])
      .where('type', '=', id)
      .where('profile_workspace', '=', workspace)
      .limit(1)
      .executeTakeFirst()
    if (deleted === undefined || user === undefined) return deleted !== undefined
    throw new AppError(
      'failed_precondition',
      `Provider profile "${id}" is in use by provider "${user.name}" of workspace "${user.workspace}"`,
      { hint: 'Delete the providers of that type first' },
    )
  })
}

function toProfile(row: ProfilesTable): ProfileRecord {
  return {
    workspace: row.workspace,
    id: row.id,
    document: row.document,
    version: row.version,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
  }
}
