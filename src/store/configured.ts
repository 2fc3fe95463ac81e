import type { Transaction } from 'kysely'
import type { Credential } from '../core/credential.ts'
import { toColumns, toCredential } from './credential-row.ts'
import { insertCredentials } from './credentials.ts'
import { type StoreContext, wholeMs } from './database.ts'
import { grantColumns } from './grant.ts'
import type { Schema } from './schema.ts'

/**
 * See `Store.configureCredential`. The row's version rises above that of every row that the provider
 * ever had, so that whoever read another one of this key cannot write.
 */
export async function configureCredential(
  context: StoreContext,
  credential: Credential,
): Promise<Credential | null> {
  const { providerId, key } = credential
  const { sealer } = context
  return context.database.db.transaction().execute(async db => {
    const ever = await holdProvider({ db, context }, providerId)
    if (ever === null) return null
    const standing = await db
      .selectFrom('credentials')
      .select('version')
      .where('provider_id', '=', providerId)
      .where('key', '=', key)
      .executeTakeFirst()
    if ((standing?.version ?? 0) !== credential.version) return null
    const version = Math.max(ever, credential.version) + 1
    await raiseVersion(db, providerId, version)
    if (standing === undefined) {
      await insertCredentials({ db, sealer }, { providerId, version }, [credential])
      return { ...credential, version }
    }
    const row = await db
      .updateTable('credentials')
      .set({ ...toColumns(credential, sealer), version })
      .where('provider_id', '=', providerId)
      .where('key', '=', key)
      .where('version', '=', credential.version)
      .returningAll()
      .executeTakeFirst()
    return row === undefined ? null : toCredential(row, sealer).credential
  })
}

/** See `Store.removeCredential`. */
export async function removeCredential(
  context: StoreContext,
  { providerId, key, version }: Credential,
): Promise<boolean> {
  return context.database.db.transaction().execute(async db => {
    const ever = await holdProvider({ db, context }, providerId)
    if (ever === null) return false
    await raiseVersion(db, providerId, Math.max(ever, version))
    const removed = await db
      .deleteFrom('credentials')
      .where('provider_id', '=', providerId)
      .where('key', '=', key)
      .where('version', '=', version)
      .returning('key')
      .executeTakeFirst()
    return removed !== undefined
  })
}

/** See `Store.keepRotated`. */
export async function keepRotated(
  { database, sealer, clock }: StoreContext,
  credential: Credential,
  epoch: string,
): Promise<boolean> {
  const row = await database.db
    .updateTable('credentials')
    .set(eb => ({
      ...grantColumns(credential, sealer),
      version: eb('version', '+', 1),
      due_at_ms: wholeMs(clock.nowMs()),
      ...{ spends: 0, claimed_by: '', claimed_until_ms: 0 },
    }))
    .where('provider_id', '=', credential.providerId)
    .where('key', '=', credential.key)
    .where('grant_epoch', '=', epoch)
    .returning('version')
    .executeTakeFirst()
  return row !== undefined
}

/** Provider first, then credential, as all writers do; null when it is gone. */
async function holdProvider(
  within: { readonly db: Transaction<Schema>; readonly context: StoreContext },
  providerId: string,
): Promise<number | null> {
  const provider = await within.db
    .selectFrom('providers')
    .select('credentials_version')
    .where('id', '=', providerId)
    .$if(within.context.database.kind === 'postgres', query => query.forUpdate())
    .executeTakeFirst()
  return provider?.credentials_version ?? null
}

async function raiseVersion(
  db: Transaction<Schema>,
  providerId: string,
  version: number,
): Promise<void> {
  await db
    .updateTable('providers')
    .set({ credentials_version: version })
    .where('id', '=', providerId)
    .execute()
}
