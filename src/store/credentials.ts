import type { Kysely } from 'kysely'
import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import { type CredentialRow, toColumns, toCredential } from './credential-row.ts'
import { type Database, type StoreContext, wholeMs } from './database.ts'
import { putMaterial } from './material.ts'
import type { Schema } from './schema.ts'
import type { Sealer } from './seal.ts'
import type { Claim, CredentialWrite } from './store.ts'

/** Stores the credentials of a provider, all with the version that is named. */
export async function insertCredentials(
  { db, sealer }: { readonly db: Kysely<Schema>; readonly sealer: Sealer },
  first: { readonly providerId: string; readonly version: number },
  credentials: readonly Credential[],
): Promise<void> {
  if (credentials.length === 0) return
  const rows = credentials.map(credential => ({
    ...toColumns({ ...credential, providerId: first.providerId }, sealer),
    provider_id: first.providerId,
    key: credential.key,
    version: first.version,
  }))
  await db.insertInto('credentials').values(rows).execute()
}

/** See `Store.listCredentials`. */
export async function listCredentials(
  { database, sealer }: StoreContext,
  providerId: string,
): Promise<readonly Credential[]> {
  const rows = await database.db
    .selectFrom('credentials')
    .selectAll()
    .where('provider_id', '=', providerId)
    .orderBy('key')
    .execute()
  return rows.map(row => toCredential(row, sealer))
}

/**
 * See `Store.claimDue`. A row that cannot be read is left out, so that it harms no other; its claim
 * keeps it out of the way, and reading it by its provider says what is wrong with it.
 */
export async function claimDue(
  { database, sealer }: StoreContext,
  claim: Claim,
  limit: number,
): Promise<readonly Credential[]> {
  const rows = await claimDueQuery(database, claim, limit).execute()
  return rows
    .flatMap(row => readable(row, sealer))
    .sort((one, other) => (one.dueAtMs ?? 0) - (other.dueAtMs ?? 0))
}

/**
 * One statement, so that two gateways never claim the same row: SQLite has one writer at a time, and
 * PostgreSQL locks what it selects and skips what another has locked. Materialised, because
 * PostgreSQL may otherwise run the inner query again for each row and claim beyond the limit.
 */
export function claimDueQuery({ db, kind }: Database, claim: Claim, limit: number) {
  return db
    .with(
      due => due('due').materialized(),
      inner =>
        inner
          .selectFrom('credentials')
          .select(['provider_id', 'key'])
          .where('claimable_at_ms', '<=', wholeMs(claim.nowMs))
          .orderBy('claimable_at_ms')
          .limit(limit)
          .$if(kind === 'postgres', query => query.forUpdate().skipLocked()),
    )
    .updateTable('credentials')
    .set(eb => ({ version: eb('version', '+', 1), ...claimColumns(claim) }))
    .where(eb =>
      eb(
        eb.refTuple('provider_id', 'key'),
        'in',
        eb.selectFrom('due').select(['provider_id', 'key']).$asTuple('provider_id', 'key'),
      ),
    )
    .returningAll()
}

/** See `Store.claimCredential`. */
export async function claimCredential(
  { database, sealer }: StoreContext,
  claim: Claim,
  credential: Credential,
): Promise<Credential | null> {
  const row = await database.db
    .updateTable('credentials')
    .set(eb => ({ version: eb('version', '+', 1), ...claimColumns(claim) }))
    .where('provider_id', '=', credential.providerId)
    .where('key', '=', credential.key)
    .where('version', '=', credential.version)
    .where('claimed_until_ms', '<=', wholeMs(claim.nowMs))
    .returningAll()
    .executeTakeFirst()
  return row === undefined ? null : toCredential(row, sealer)
}

/**
 * See `Store.saveCredential`. Rotated material also raises the provider's version, so that an edit
 * made from the old material loses its race instead of bringing the old material back.
 */
export async function saveCredential(
  context: StoreContext,
  { credential, rotatedMaterial }: CredentialWrite,
): Promise<Credential | null> {
  const { database, sealer } = context
  if (rotatedMaterial.size === 0) return writeCredential(database.db, sealer, credential)
  const { providerId } = credential
  return database.db.transaction().execute(async db => {
    // Provider first, then credential, then secrets, as all writers do: nobody waits in a circle.
    await db
      .selectFrom('providers')
      .select('id')
      .where('id', '=', providerId)
      .$if(database.kind === 'postgres', query => query.forUpdate())
      .execute()
    const saved = await writeCredential(db, sealer, credential)
    if (saved === null) return null
    await putMaterial({ db, sealer }, providerId, rotatedMaterial)
    await db
      .updateTable('providers')
      .set(eb => ({
        version: eb('version', '+', 1),
        updated_at_ms: wholeMs(context.clock.nowMs()),
      }))
      .where('id', '=', providerId)
      .execute()
    return saved
  })
}

/** See `Store.earliestDueAtMs`. */
export async function earliestDueAtMs({ database }: StoreContext): Promise<number | null> {
  const row = await database.db
    .selectFrom('credentials')
    .select(eb => eb.fn.min('claimable_at_ms').as('at_ms'))
    .executeTakeFirst()
  return row?.at_ms ?? null
}

async function writeCredential(
  db: Kysely<Schema>,
  sealer: Sealer,
  credential: Credential,
): Promise<Credential | null> {
  const row = await db
    .updateTable('credentials')
    .set(eb => ({ ...toColumns(credential, sealer), version: eb('version', '+', 1) }))
    .where('provider_id', '=', credential.providerId)
    .where('key', '=', credential.key)
    .where('version', '=', credential.version)
    .returningAll()
    .executeTakeFirst()
  return row === undefined ? null : toCredential(row, sealer)
}

function claimColumns(claim: Claim) {
  return { claimed_by: claim.owner, claimed_until_ms: wholeMs(claim.untilMs) }
}

function readable(row: CredentialRow, sealer: Sealer): readonly Credential[] {
  try {
    return [toCredential(row, sealer)]
  } catch (error) {
    if (error instanceof AppError) return []
    throw error
  }
}
