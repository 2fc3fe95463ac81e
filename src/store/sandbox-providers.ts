import type { Kysely } from 'kysely'
import { AppError } from '../core/errors.ts'
import type { SandboxRecord } from '../core/provider.ts'
import type { StoreContext } from './database.ts'
import type { Schema } from './schema.ts'
import type { DeletedProvider, Page } from './store.ts'

/** See `Store.listProviderSandboxes`. */
export async function listProviderSandboxes(
  { database }: StoreContext,
  providerId: string,
  page: Page,
): Promise<readonly SandboxRecord[]> {
  const rows = await database.db
    .selectFrom('sandbox_providers')
    .innerJoin('sandboxes', 'sandboxes.id', 'sandbox_providers.sandbox_id')
    .select(['id', 'workspace', 'name', 'created_at_ms'])
    .where('provider_id', '=', providerId)
    .orderBy('name')
    .limit(page.limit)
    .offset(page.offset)
    .execute()
  return rows.map(({ id, workspace, name, created_at_ms }) => ({
    ...{ id, workspace, name, createdAtMs: created_at_ms },
  }))
}

/** See `Store.listProvidersBeside`. */
export async function listProvidersBeside(
  { database }: StoreContext,
  providerId: string,
): Promise<readonly string[]> {
  const rows = await database.db
    .selectFrom('sandbox_providers as one')
    .innerJoin('sandbox_providers as other', 'other.sandbox_id', 'one.sandbox_id')
    .select('other.provider_id as id')
    .distinct()
    .where('one.provider_id', '=', providerId)
    .where('other.provider_id', '<>', providerId)
    .orderBy('id')
    .execute()
  return rows.map(row => row.id)
}

/** Throws `failed_precondition` when a sandbox has the provider attached. */
export async function refuseAttached(
  db: Kysely<Schema>,
  provider: Pick<DeletedProvider, 'id' | 'name'>,
): Promise<void> {
  const found = await db
    .selectFrom('sandbox_providers')
    .innerJoin('sandboxes', 'sandboxes.id', 'sandbox_providers.sandbox_id')
    .select('name')
    .where('provider_id', '=', provider.id)
    .orderBy('name')
    .executeTakeFirst()
  if (found === undefined) return
  throw new AppError(
    'failed_precondition',
    `Provider "${provider.name}" is attached to sandbox "${found.name}"`,
    { hint: `First 'openshell sandbox provider detach ${found.name} ${provider.name}'` },
  )
}

/**
 * Attaches exactly these providers to a sandbox, in this order.
 *
 * @throws AppError `failed_precondition` for a name that no provider of the workspace has.
 */
export async function putAttachments(
  db: Kysely<Schema>,
  { database }: StoreContext,
  sandbox: SandboxRecord & { readonly providers: readonly string[] },
): Promise<void> {
  await db.deleteFrom('sandbox_providers').where('sandbox_id', '=', sandbox.id).execute()
  if (sandbox.providers.length === 0) return
  // Held until the end, so that none is deleted between being found and being attached.
  const found = await db
    .selectFrom('providers')
    .select(['id', 'name'])
    .where('workspace', '=', sandbox.workspace)
    .where('name', 'in', sandbox.providers)
    .orderBy('name')
    .$if(database.kind === 'postgres', query => query.forKeyShare())
    .execute()
  const idOf = new Map(found.map(({ name, id }) => [name, id]))
  const rows = sandbox.providers.map((name, position) => {
    const id = idOf.get(name)
    if (id !== undefined) return { sandbox_id: sandbox.id, provider_id: id, position }
    throw new AppError('failed_precondition', `Provider "${name}" does not exist`, {
      hint: "See 'openshell provider list'",
    })
  })
  await db.insertInto('sandbox_providers').values(rows).execute()
}
