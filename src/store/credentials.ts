import type { Kysely } from 'kysely'
import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import { mapText, readCandidate } from './content.ts'
import {
  type CredentialRow,
  columnPlaces,
  storedCredential,
  toColumns,
  toCredential,
} from './credential-row.ts'
import { type Database, type StoreContext, wholeMs } from './database.ts'
import { putMaterial } from './material.ts'
import type { PlaceOf } from './query.ts'
import type { ProvidersTable, Schema } from './schema.ts'
import type { Sealer } from './seal.ts'
import type { Claim, ContentChange } from './store.ts'

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
  context: StoreContext,
  providerId: string,
): Promise<readonly Credential[]> {
  const { database, sealer } = context
  const rows = await database.run(database.db, credentialsOf, { providerId })
  const read = rows.map(row => toCredential(row, sealer))
  return Promise.all(
    read.map(({ credential, isTokenLost }) =>
      isTokenLost ? repair(context, credential) : credential,
    ),
  )
}

const credentialsOf = (db: Kysely<Schema>, place: PlaceOf<{ readonly providerId: string }>) =>
  db
    .selectFrom('credentials')
    .selectAll()
    .where('provider_id', '=', place('providerId'))
    .orderBy('key')

/** Makes a credential due whose token cannot be read, unless someone is minting another. */
async function repair(context: StoreContext, lost: Credential): Promise<Credential> {
  const nowMs = context.clock.nowMs()
  if (lost.claimedUntilMs > nowMs) return lost
  const repaired = { ...lost, dueAtMs: lost.dueAtMs === null ? null : nowMs }
  return (await writeAlone(context, repaired)) ?? lost
}

/** See `Store.claimDue`. */
export async function claimDue(
  { database, sealer }: StoreContext,
  claim: Claim,
  limit: number,
): Promise<readonly Credential[]> {
  const query = database.kind === 'postgres' ? claimDueOnPostgres : claimDueOnSqlite
  const values = { ...claimColumns(claim), nowMs: wholeMs(claim.nowMs), limit }
  const rows = await database.writeOne(db => database.run(db, query, values))
  return rows
    .flatMap(row => readableHere(row, sealer))
    .sort((one, other) => (one.dueAtMs ?? 0) - (other.dueAtMs ?? 0))
}

/** What another gateway's master key sealed is left to that one; it takes none of the others down. */
function readableHere(row: CredentialRow, sealer: Sealer): readonly Credential[] {
  try {
    return [toCredential(row, sealer).credential]
  } catch (error) {
    if (error instanceof AppError && error.code === 'wrong_master_key') return []
    throw error
  }
}

/**
 * One statement, so that two gateways never claim the same row: SQLite has one writer at a time, and
 * PostgreSQL locks what it selects and skips what another has locked. Materialised, because
 * PostgreSQL may otherwise run the inner query again for each row and claim beyond the limit.
 */
export function claimDueQuery(kind: Database['kind']) {
  return (db: Kysely<Schema>, place: PlaceOf<DueClaim>) =>
    db
      .with(
        due => due('due').materialized(),
        inner =>
          inner
            .selectFrom('credentials')
            .select(['provider_id', 'key'])
            .where('claimable_at_ms', '<=', place('nowMs'))
            .orderBy('claimable_at_ms')
            .limit(place('limit'))
            .$if(kind === 'postgres', query => query.forUpdate().skipLocked()),
      )
      .updateTable('credentials')
      .set(eb => ({
        version: eb('version', '+', 1),
        claimed_from: eb.ref('claimed_by'),
        claimed_by: place('claimed_by'),
        claimed_until_ms: place('claimed_until_ms'),
      }))
      .where(eb =>
        eb(
          eb.refTuple('provider_id', 'key'),
          'in',
          eb.selectFrom('due').select(['provider_id', 'key']).$asTuple('provider_id', 'key'),
        ),
      )
      .returningAll()
}

const claimDueOnSqlite = claimDueQuery('sqlite')
const claimDueOnPostgres = claimDueQuery('postgres')

type DueClaim = ReturnType<typeof claimColumns> & {
  readonly nowMs: number
  readonly limit: number
}

/** See `Store.releaseClaims`. A claim that ends raises the version, so that its holder cannot write. */
export async function releaseClaims({ database }: StoreContext, owner: string): Promise<number> {
  const released = await database.db
    .updateTable('credentials')
    .set(eb => ({ version: eb('version', '+', 1), claimed_by: '', claimed_until_ms: 0 }))
    .where('claimed_by', '=', owner)
    .returning('version')
    .execute()
  return released.length
}

/** See `Store.claimCredential`. */
export async function claimCredential(
  { database, sealer }: StoreContext,
  claim: Claim,
  credential: Credential,
): Promise<Credential | null> {
  const row = await database.writeOne(db =>
    db
      .updateTable('credentials')
      .set(eb => ({
        version: eb('version', '+', 1),
        claimed_from: eb.ref('claimed_by'),
        ...claimColumns(claim),
      }))
      .where('provider_id', '=', credential.providerId)
      .where('key', '=', credential.key)
      .where('version', '=', credential.version)
      .where('claimed_until_ms', '<=', wholeMs(claim.nowMs))
      .returningAll()
      .executeTakeFirst(),
  )
  return row === undefined ? null : toCredential(row, sealer).credential
}

/**
 * See `Store.saveCredential`. Other material also raises the provider's version, so that an edit made
 * from the old material loses its race instead of bringing the old material back.
 */
export async function saveCredential(
  context: StoreContext,
  credential: Credential,
  change: ContentChange | null,
): Promise<Credential | null> {
  const { database } = context
  if (change === null) return writeAlone(context, credential)
  const { providerId } = credential
  return database.writeAll(async db => {
    // Provider first, then credential, then secrets, as all writers do: nobody waits in a circle.
    const provider = await db
      .selectFrom('providers')
      .select(['id', 'version', 'candidate_envelope'])
      .where('id', '=', providerId)
      .$if(database.kind === 'postgres', query => query.forUpdate())
      .executeTakeFirst()
    // What came of other content is void, whoever reads the credential.
    if (provider?.version !== change.providerVersion) return null
    const saved = await writeCredential({ ...context, db }, credential)
    const isRescue = saved === null
    if (isRescue && change.rotatedMaterial.size === 0) return null
    await writeContent({ ...context, db }, change, provider)
    if (isRescue) await makeDue({ ...context, db }, credential)
    return saved
  })
}

type Within = StoreContext & { readonly db: Kysely<Schema> }

/** The provider's part of a refresh: what was rotated, and what becomes of the candidate. */
async function writeContent(
  { db, sealer, clock }: Within,
  { rotatedMaterial, candidate }: ContentChange,
  { id: providerId, candidate_envelope }: Pick<ProvidersTable, 'id' | 'candidate_envelope'>,
): Promise<void> {
  const isPromoted = candidate === 'promoted'
  const promoted = isPromoted ? readCandidate(providerId, candidate_envelope, sealer) : null
  if (promoted !== null) {
    await db.deleteFrom('provider_secrets').where('provider_id', '=', providerId).execute()
  }
  const material = new Map([...(promoted?.material ?? []), ...rotatedMaterial])
  await putMaterial({ db, sealer }, providerId, material)
  await db
    .updateTable('providers')
    .set(eb => ({
      version: eb('version', '+', 1),
      updated_at_ms: wholeMs(clock.nowMs()),
      ...(promoted === null ? {} : { config: mapText(promoted.config) }),
      ...(candidate === 'kept' ? {} : { candidate_envelope: null }),
    }))
    .where('id', '=', providerId)
    .execute()
}

/** Whoever was faster worked with material that is spent by now: it loses its race, too. */
async function makeDue({ db, clock }: Within, { providerId, key }: Credential): Promise<void> {
  await db
    .updateTable('credentials')
    .set(eb => ({
      version: eb('version', '+', 1),
      due_at_ms: wholeMs(clock.nowMs()),
      ...{ spends: 0, claimed_by: '', claimed_until_ms: 0 },
    }))
    .where('provider_id', '=', providerId)
    .where('key', '=', key)
    .where('is_disabled', '=', 0)
    .execute()
}

/** See `Store.renewMisdated`. A claim from the future would hold as long as the clock was off. */
export async function renewMisdated(
  { database }: StoreContext,
  claim: Claim,
  { futureMs }: { readonly futureMs: number | null },
): Promise<number> {
  const untilMs = wholeMs(claim.untilMs)
  // Nor may a forced refresh of what is parked now wait for that instant to come.
  await database.db
    .updateTable('credentials')
    .set({ last_forced_at_ms: 0 })
    .where('last_forced_at_ms', '>', wholeMs(claim.nowMs))
    .execute()
  const rows = await database.db
    .updateTable('credentials')
    .set(eb => ({
      version: eb('version', '+', 1),
      due_at_ms: wholeMs(claim.nowMs),
      last_forced_at_ms: 0,
      claimed_by: '',
      claimed_until_ms: 0,
    }))
    .where('due_at_ms', 'is not', null)
    .where(eb =>
      eb.or([
        eb('claimed_until_ms', '<=', wholeMs(claim.nowMs)),
        eb.and([eb('claimed_until_ms', '>', untilMs), eb('claimed_by', '!=', claim.owner)]),
      ]),
    )
    .$if(futureMs !== null, query => query.where('token_issued_at_ms', '>', wholeMs(futureMs ?? 0)))
    .returning('version')
    .execute()
  return rows.length
}

/** See `Store.earliestDueAtMs`. */
export async function earliestDueAtMs({ database }: StoreContext): Promise<number | null> {
  const [row] = await database.run(database.db, earliestDue, {})
  return row?.at_ms ?? null
}

const earliestDue = (db: Kysely<Schema>) =>
  db.selectFrom('credentials').select(eb => eb.fn.min('claimable_at_ms').as('at_ms'))

function writeAlone(context: StoreContext, credential: Credential): Promise<Credential | null> {
  return context.database.writeOne(db => writeCredential({ ...context, db }, credential))
}

/** Writes a row if its version is still the one that was read; answers it as it is read again. */
export async function writeCredential(
  { db, database, sealer }: Within,
  credential: Credential,
): Promise<Credential | null> {
  const row = {
    ...toColumns(credential, sealer),
    provider_id: credential.providerId,
    key: credential.key,
    version: credential.version,
  }
  const [written] = await database.run(db, writeRow, row)
  if (written === undefined) return null
  return storedCredential({ ...row, version: written.version }, credential)
}

const writeRow = (db: Kysely<Schema>, place: PlaceOf<CredentialRow>) =>
  db
    .updateTable('credentials')
    .set(eb => ({ ...columnPlaces(place), version: eb('version', '+', 1) }))
    .where('provider_id', '=', place('provider_id'))
    .where('key', '=', place('key'))
    .where('version', '=', place('version'))
    .returning('version')

function claimColumns(claim: Claim) {
  return { claimed_by: claim.owner, claimed_until_ms: wholeMs(claim.untilMs) }
}
