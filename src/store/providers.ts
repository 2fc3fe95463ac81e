import type { Kysely } from 'kysely'
import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderContent, ProviderRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'
import { mapText, parseInstants, parseMap, readCandidate, sealCandidate } from './content.ts'
import { insertCredentials, writeCredential } from './credentials.ts'
import { type StoreContext, wholeMs } from './database.ts'
import { materialContext, putMaterial } from './material.ts'
import type { PlaceOf } from './query.ts'
import { refuseAttached } from './sandbox-providers.ts'
import type { ProvidersTable, Schema } from './schema.ts'
import type { Sealer } from './seal.ts'
import type { DamagedProvider, DeletedProvider, Page, ProviderPage } from './store.ts'
import { holdWorkspace } from './workspaces.ts'

/** See `Store.createProvider`. */
export async function createProvider(
  context: StoreContext,
  provider: ProviderRecord,
  credentials: readonly Credential[],
): Promise<void> {
  await context.database.writeAll(async db => {
    await holdWorkspace(db, context, provider.workspace)
    const created = await db
      .insertInto('providers')
      .values({
        id: provider.id,
        workspace: provider.workspace,
        name: provider.name,
        type: provider.type,
        profile_workspace: provider.profileWorkspace,
        config: mapText(provider.config),
        ...noteColumns(provider),
        version: 1,
        credentials_version: 1,
        candidate_envelope: null,
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
  const { database } = context
  const rows = await database.run(database.db, providerByName, { workspace, name })
  return onlyOne(readProviders(context, rows))
}

const providerByName = (
  db: Kysely<Schema>,
  place: PlaceOf<{ readonly workspace: string; readonly name: string }>,
) =>
  withMaterial(
    db,
    selectProviders(db)
      .where('workspace', '=', place('workspace'))
      .where('name', '=', place('name')),
  )

/** See `Store.getProviderById`. */
export async function getProviderById(
  context: StoreContext,
  id: string,
): Promise<ProviderRecord | null> {
  const { database } = context
  const rows = await database.run(database.db, providerById, { id })
  return onlyOne(readProviders(context, rows))
}

const providerById = (db: Kysely<Schema>, place: PlaceOf<{ readonly id: string }>) =>
  withMaterial(db, selectProviders(db).where('id', '=', place('id')))

/** See `Store.listProviders`. */
export async function listProviders(
  context: StoreContext,
  workspace: string | null,
  page: Page,
): Promise<ProviderPage> {
  const { db } = context.database
  const found = selectProviders(db)
    .$if(workspace !== null, query => query.where('workspace', '=', workspace))
    .orderBy('name')
    .orderBy('workspace')
    .limit(page.limit)
    .offset(page.offset)
  const read = readProviders(context, await withMaterial(db, found).execute())
  return {
    providers: read.flatMap(one => ('error' in one ? [] : [one])),
    damaged: read.flatMap(one => ('error' in one ? [one.damaged] : [])),
  }
}

/** See `Store.updateProvider`. */
export async function updateProvider(
  context: StoreContext,
  change: { readonly provider: ProviderRecord; readonly content: ProviderContent },
  credentials: readonly Credential[] | null,
): Promise<ProviderRecord | null> {
  const { provider, content } = change
  return context.database.writeAll(async db => {
    const row = await db
      .updateTable('providers')
      .set(eb => ({
        config: mapText(content.config),
        ...noteColumns(provider),
        candidate_envelope: null,
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
    return toProvider(row, { ...content, candidate: null })
  })
}

/** See `Store.stageProvider`. */
export async function stageProvider(
  context: StoreContext,
  change: { readonly provider: ProviderRecord; readonly candidate: ProviderContent },
  credential: Credential,
): Promise<{ readonly provider: ProviderRecord; readonly credential: Credential } | null> {
  const { provider, candidate } = change
  const { sealer } = context
  const staged = context.database.writeAll(async db => {
    const row = await db
      .updateTable('providers')
      .set(eb => ({
        candidate_envelope: sealCandidate(provider.id, candidate, sealer),
        ...noteColumns(provider),
        version: eb('version', '+', 1),
        updated_at_ms: wholeMs(context.clock.nowMs()),
      }))
      .where('id', '=', provider.id)
      .where('version', '=', provider.version)
      .returningAll()
      .executeTakeFirst()
    if (row === undefined) throw new LostRace()
    const written = await writeCredential({ ...context, db }, credential)
    if (written === null) throw new LostRace()
    return { provider: toProvider(row, { ...provider, candidate }), credential: written }
  })
  return staged.catch((error: unknown) => {
    if (error instanceof LostRace) return null
    throw error
  })
}

/** Rolls a transaction back whose second half found that someone was faster. */
class LostRace extends Error {}

/** See `Store.deleteProvider`. The database deletes secrets and credentials with their provider. */
export async function deleteProvider(
  context: StoreContext,
  workspace: string,
  name: string,
): Promise<DeletedProvider | null> {
  const { db, kind } = context.database
  return db.transaction().execute(async within => {
    // Held, so that whoever would attach it waits and then finds it gone.
    const found = await within
      .selectFrom('providers')
      .select(['id', 'workspace', 'name', 'type', 'version'])
      .where('workspace', '=', workspace)
      .where('name', '=', name)
      .$if(kind === 'postgres', query => query.forUpdate())
      .executeTakeFirst()
    if (found === undefined) return null
    await refuseAttached(within, found)
    await within.deleteFrom('providers').where('id', '=', found.id).execute()
    return found
  })
}

/**
 * The new rows get a version above that of every row this provider ever had, so that a writer who
 * read an old row can never be taken for one who read a new row of the same key.
 */
async function replaceCredentials(
  within: { readonly db: Kysely<Schema>; readonly context: StoreContext },
  provider: Pick<ProvidersTable, 'id' | 'credentials_version'>,
  credentials: readonly Credential[],
): Promise<void> {
  const { db, context } = within
  const removed = await db
    .deleteFrom('credentials')
    .where('provider_id', '=', provider.id)
    .where('grant_envelope', 'is', null)
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

function selectProviders(db: Kysely<Schema>) {
  return db.selectFrom('providers').selectAll()
}

/** A provider, or why it cannot be read. */
type ReadProvider = ProviderRecord | { readonly damaged: DamagedProvider; readonly error: AppError }

function onlyOne([read]: readonly ReadProvider[]): ProviderRecord | null {
  if (read === undefined) return null
  if ('error' in read) throw read.error
  return read
}

/**
 * Reads providers and their material in one statement, hence as of one instant: configuration and
 * key of the same version belong together.
 */
function withMaterial(db: Kysely<Schema>, found: ProviderQuery) {
  return db
    .selectFrom(found.as('provider'))
    .leftJoin('provider_secrets as secret', 'secret.provider_id', 'provider.id')
    .selectAll('provider')
    .select(['secret.key as secret_key', 'secret.envelope as secret_envelope'])
    .orderBy('provider.name')
    .orderBy('provider.workspace')
    .orderBy('secret.key')
}

function readProviders(
  { sealer }: StoreContext,
  rows: readonly ProviderRows[number][],
): readonly ReadProvider[] {
  const byId = Map.groupBy(rows, row => row.id)
  return [...byId.values()].map(group => readProvider(group, sealer))
}

/** The rows of one provider: itself beside each of its secrets, or beside none. */
type ProviderRows = readonly (ProvidersTable & {
  readonly secret_key: string | null
  readonly secret_envelope: string | null
})[]

function readProvider(rows: ProviderRows, sealer: Sealer): ReadProvider {
  const [row] = rows
  if (row === undefined) throw new RangeError('A provider has at least one row')
  const material = new Map<string, Secret>()
  try {
    for (const { secret_key, secret_envelope } of rows) {
      if (secret_key === null || secret_envelope === null) continue
      material.set(secret_key, sealer.unseal(secret_envelope, materialContext(row.id, secret_key)))
    }
    const config = parseMap(row.config, `provider "${row.name}"`)
    return toProvider(row, { material, config, candidate: candidateOf(row, sealer) })
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    const { id, workspace, name, type } = row
    return { damaged: { id, workspace, name, type, message: error.message }, error }
  }
}

/**
 * A candidate that cannot be read is left out: what serves does not suffer for what is only tried. One
 * that other gateways can read is not lost, and throws.
 */
function candidateOf(row: ProvidersTable, sealer: Sealer): ProviderContent | null {
  try {
    return readCandidate(row.id, row.candidate_envelope, sealer)
  } catch (error) {
    if (!(error instanceof AppError) || error.code === 'wrong_master_key') throw error
    return null
  }
}

function noteColumns({ expiries, labels, annotations }: ProviderRecord) {
  return {
    expiries: mapText(expiries),
    labels: mapText(labels),
    annotations: mapText(annotations),
  }
}

function toProvider(
  row: Omit<ProvidersTable, 'credentials_version' | 'candidate_envelope' | 'config'>,
  content: Pick<ProviderRecord, 'material' | 'config' | 'candidate'>,
): ProviderRecord {
  const what = `provider "${row.name}"`
  return {
    id: row.id,
    workspace: row.workspace,
    name: row.name,
    type: row.type,
    profileWorkspace: row.profile_workspace,
    expiries: parseInstants(row.expiries, what),
    labels: parseMap(row.labels, what),
    annotations: parseMap(row.annotations, what),
    material: content.material,
    config: content.config,
    candidate: content.candidate,
    version: row.version,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
  }
}
