import type { Transaction } from 'kysely'
import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'
import { insertCredentials } from './credentials.ts'
import { type StoreContext, wholeMs } from './database.ts'
import { parseJsonObject } from './json.ts'
import { materialContext, putMaterial } from './material.ts'
import type { ProvidersTable, Schema } from './schema.ts'
import type { Page, ProviderContent } from './store.ts'
import { damagedRow } from './trouble.ts'

/** See `Store.createProvider`. */
export async function createProvider(
  context: StoreContext,
  provider: ProviderRecord,
  credentials: readonly Credential[],
): Promise<void> {
  await context.database.db.transaction().execute(async db => {
    const created = await db
      .insertInto('providers')
      .values({
        id: provider.id,
        workspace: provider.workspace,
        name: provider.name,
        type: provider.type,
        config: configText(provider.config),
        version: 1,
        credentials_version: 1,
        created_at_ms: wholeMs(provider.createdAtMs),
        updated_at_ms: wholeMs(provider.updatedAtMs),
      })
      .onConflict(conflict => conflict.columns(['workspace', 'name']).doNothing())
      .returning('id')
      .executeTakeFirst()
    if (created === undefined) {
      throw new AppError('already_exists', `Provider "${provider.name}" exists already`)
    }
    await putMaterial({ db, sealer: context.sealer }, provider.id, provider.material)
    const first = { providerId: provider.id, version: 1 }
    await insertCredentials({ db, sealer: context.sealer }, first, credentials)
  })
}

/** See `Store.getProvider`. */
export async function getProvider(
  context: StoreContext,
  workspace: string,
  name: string,
): Promise<ProviderRecord | null> {
  const found = context.database.db
    .selectFrom('providers')
    .selectAll()
    .where('workspace', '=', workspace)
    .where('name', '=', name)
  return (await readProviders(context, found))[0] ?? null
}

/** See `Store.getProviderById`. */
export async function getProviderById(
  context: StoreContext,
  id: string,
): Promise<ProviderRecord | null> {
  const found = context.database.db.selectFrom('providers').selectAll().where('id', '=', id)
  return (await readProviders(context, found))[0] ?? null
}

/** See `Store.listProviders`. */
export async function listProviders(
  context: StoreContext,
  workspace: string | null,
  page: Page,
): Promise<readonly ProviderRecord[]> {
  const found = context.database.db
    .selectFrom('providers')
    .selectAll()
    .$if(workspace !== null, query => query.where('workspace', '=', workspace))
    .orderBy('name')
    .orderBy('workspace')
    .limit(page.limit)
    .offset(page.offset)
  return readProviders(context, found)
}

/** See `Store.updateProvider`. */
export async function updateProvider(
  context: StoreContext,
  change: { readonly provider: ProviderRecord; readonly content: ProviderContent },
  credentials: readonly Credential[] | null,
): Promise<ProviderRecord | null> {
  const { provider, content } = change
  return context.database.db.transaction().execute(async db => {
    const row = await db
      .updateTable('providers')
      .set(eb => ({
        config: configText(content.config),
        version: eb('version', '+', 1),
        updated_at_ms: wholeMs(context.clock.nowMs()),
      }))
      .where('id', '=', provider.id)
      .where('version', '=', provider.version)
      .returningAll()
      .executeTakeFirst()
    if (row === undefined) return null
    if (credentials !== null) await replaceCredentials({ db, context }, row, credentials)
    await db.deleteFrom('provider_secrets').where('provider_id', '=', row.id).execute()
    await putMaterial({ db, sealer: context.sealer }, row.id, content.material)
    return toProvider(row, content.material)
  })
}

/** See `Store.deleteProvider`. The database deletes secrets and credentials with their provider. */
export async function deleteProvider(
  context: StoreContext,
  workspace: string,
  name: string,
): Promise<boolean> {
  const deleted = await context.database.db
    .deleteFrom('providers')
    .where('workspace', '=', workspace)
    .where('name', '=', name)
    .returning('id')
    .executeTakeFirst()
  return deleted !== undefined
}

/**
 * The new rows get a version above that of every row this provider ever had, so that a writer who
 * read an old row can never be taken for one who read a new row of the same key.
 */
async function replaceCredentials(
  within: { readonly db: Transaction<Schema>; readonly context: StoreContext },
  provider: Pick<ProvidersTable, 'id' | 'credentials_version'>,
  credentials: readonly Credential[],
): Promise<void> {
  const { db, context } = within
  const removed = await db
    .deleteFrom('credentials')
    .where('provider_id', '=', provider.id)
    .returning('version')
    .execute()
  const version = Math.max(provider.credentials_version, ...removed.map(row => row.version)) + 1
  await db
    .updateTable('providers')
    .set({ credentials_version: version })
    .where('id', '=', provider.id)
    .execute()
  const first = { providerId: provider.id, version }
  await insertCredentials({ db, sealer: context.sealer }, first, credentials)
}

type ProviderQuery = ReturnType<typeof selectProviders>

function selectProviders(context: StoreContext) {
  return context.database.db.selectFrom('providers').selectAll()
}

/**
 * Reads providers and their material in one statement, hence as of one instant: configuration and
 * key of the same version belong together.
 */
async function readProviders(
  { database, sealer }: StoreContext,
  found: ProviderQuery,
): Promise<readonly ProviderRecord[]> {
  const rows = await database.db
    .selectFrom(found.as('provider'))
    .leftJoin('provider_secrets as secret', 'secret.provider_id', 'provider.id')
    .selectAll('provider')
    .select(['secret.key as secret_key', 'secret.envelope as secret_envelope'])
    .orderBy('provider.name')
    .orderBy('provider.workspace')
    .orderBy('secret.key')
    .execute()
  const materials = new Map<string, Map<string, Secret>>()
  for (const row of rows) {
    const material = materials.get(row.id) ?? new Map<string, Secret>()
    materials.set(row.id, material)
    if (row.secret_key === null || row.secret_envelope === null) continue
    const place = materialContext(row.id, row.secret_key)
    material.set(row.secret_key, sealer.unseal(row.secret_envelope, place))
  }
  const byId = new Map(rows.map(row => [row.id, row]))
  return [...byId.values()].map(row => toProvider(row, materials.get(row.id) ?? new Map()))
}

function toProvider(
  row: Omit<ProvidersTable, 'credentials_version'>,
  material: ReadonlyMap<string, Secret>,
): ProviderRecord {
  return {
    id: row.id,
    workspace: row.workspace,
    name: row.name,
    type: row.type,
    material,
    config: parseConfig(row.config, row.name),
    version: row.version,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
  }
}

function configText(config: ReadonlyMap<string, string>): string {
  return JSON.stringify(Object.fromEntries(config))
}

function parseConfig(text: string, name: string): ReadonlyMap<string, string> {
  const config = new Map<string, string>()
  for (const [key, value] of Object.entries(parseJsonObject(text, `provider "${name}"`))) {
    if (typeof value !== 'string') throw damagedRow(`provider "${name}"`)
    config.set(key, value)
  }
  return config
}
