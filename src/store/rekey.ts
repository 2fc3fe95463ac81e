import { type Kysely, sql } from 'kysely'
import { AppError } from '../core/errors.ts'
import { type StoreContext, wholeMs } from './database.ts'
import type { KeysInUse } from './key-ring.ts'
import { followKeys, freshCheck, gatewaysAtWork, readKeysInUse } from './master-keys.ts'
import type { Schema } from './schema.ts'
import { SEALED_COLUMNS, type SealedColumn } from './sealed-columns.ts'

/** Small, so that no gateway waits long for a row or, with SQLite, for the file. */
const BATCH_ROWS = 200
/** A row that a gateway holds is met again in the next pass. */
const PASSES_MAX = 50
const PASS_PAUSE_MS = 200

const LOCKED_TABLES = [
  'sandboxes',
  'providers',
  'credentials',
  'provider_secrets',
  'gateway_secrets',
] as const

/** What a rekey did. */
export interface RekeyReport {
  /** `current` when the newest key sealed everything already. */
  readonly outcome: 'done' | 'current'
  /** The id of the key that seals now. */
  readonly keyId: string
  readonly rewrapped: number
  /** Places whose envelopes no key opens; they are left as they are. */
  readonly unreadable: readonly string[]
}

/**
 * Puts every envelope under the newest key of the ring, while gateways go on: first that key takes over,
 * in one instant for all gateways, then what the earlier one sealed is rewrapped, row by row. What is cut
 * off half-way is taken up again by the next call.
 *
 * @throws AppError `failed_precondition` when a gateway at work does not hold the new key, when a rekey to
 * another key is not finished, or when the key sealed here before; `wrong_master_key` when the ring lacks
 * a key that is still needed.
 */
export async function rekey(
  context: StoreContext,
  onProgress: (rewrapped: number) => void,
): Promise<RekeyReport> {
  // Whatever came of it, the ring says what the database says.
  const before = await changeOver(context).finally(() => followKeys(context))
  const keyId = context.ring.sealing().id
  if (before.sealing === keyId && before.leaving.length === 0) {
    return { outcome: 'current', keyId, rewrapped: 0, unreadable: [] }
  }
  const walked = await rewrapAll(context, onProgress)
  await context.database.db
    .updateTable('retired_master_keys')
    .set({ emptied_at_ms: wholeMs(context.clock.nowMs()) })
    .where('emptied_at_ms', 'is', null)
    .execute()
  await followKeys(context)
  return { outcome: 'done', keyId, ...walked }
}

/** From here on the newest key seals. Answers what was before. */
async function changeOver(context: StoreContext): Promise<KeysInUse> {
  const { database, ring, sealer, clock } = context
  const next = ring.newest().id
  return database.db.transaction().execute(async db => {
    await waitForWriters(db, database.kind)
    const before = await readKeysInUse(db, { hasRetiredKeys: true })
    if (before === null) throw new RangeError('An open store has a check')
    if (before.sealing === next) return before
    refuseSecond(before, next)
    await refuseUnready(db, next, clock.nowMs())
    await db
      .insertInto('retired_master_keys')
      .values({
        id: before.sealing,
        retired_at_ms: wholeMs(clock.nowMs()),
        emptied_at_ms: null,
      })
      .execute()
    ring.follow({ ...before, sealing: next, leaving: [before.sealing] })
    const { name, envelope } = freshCheck(sealer)
    await db.updateTable('gateway_secrets').set({ envelope }).where('name', '=', name).execute()
    return before
  })
}

/**
 * What is being written is committed before what this transaction does, and what comes after sees that.
 * SQLite has one writer at a time. The order is that in which gateways lock.
 */
export async function waitForWriters(
  db: Kysely<Schema>,
  kind: 'sqlite' | 'postgres',
): Promise<void> {
  if (kind === 'sqlite') return
  for (const table of LOCKED_TABLES) {
    await sql`lock table ${sql.table(table)} in exclusive mode`.execute(db)
  }
}

function refuseSecond(before: KeysInUse, next: string): void {
  if (before.leaving.length > 0) {
    const message = `A rekey from master key ${before.leaving.join(', ')} to ${before.sealing} is not finished`
    throw new AppError('failed_precondition', message, {
      hint: `Finish it first, with ${before.sealing} as the last key of the file`,
    })
  }
  if (!before.emptied.includes(next)) return
  throw new AppError('failed_precondition', `Master key ${next} sealed this database before`, {
    hint: 'A key is not used twice: make a new one with "openssl rand -base64 32"',
  })
}

/** A gateway that cannot open what the others seal would serve nothing. */
async function refuseUnready(db: Kysely<Schema>, next: string, nowMs: number): Promise<void> {
  const all = await gatewaysAtWork(db, nowMs)
  const unready = all.filter(one => !one.masterKeyIds.includes(next))
  if (unready.length === 0) return
  const names = unready.map(one => `"${one.id}"`).join(', ')
  throw new AppError(
    'failed_precondition',
    `Gateways at work do not hold the new master key ${next} yet: ${names}`,
    {
      hint: 'Add the key to their key file, which they read every ten seconds; with OPENSHELL_MASTER_KEY they have to be started again. One that was killed is forgotten after a minute',
    },
  )
}

/** Passes over all columns until nothing is left but what no key opens. */
async function rewrapAll(
  context: StoreContext,
  onProgress: (rewrapped: number) => void,
): Promise<Pick<RekeyReport, 'rewrapped' | 'unreadable'>> {
  let rewrapped = 0
  for (let pass = 1; ; pass += 1) {
    const unreadable: string[] = []
    for (const column of SEALED_COLUMNS) {
      await walk(context, column, batch => {
        rewrapped += batch.rewrapped
        unreadable.push(...batch.unreadable)
        onProgress(rewrapped)
      })
    }
    const left = await countLeft(context)
    if (left <= unreadable.length) return { rewrapped, unreadable }
    if (pass === PASSES_MAX) {
      const message = `Cannot finish the rekey: ${left} envelopes are held by a writer`
      throw new AppError('store_unavailable', message, {
        hint: 'Run it again; it goes on from here',
      })
    }
    await context.clock.sleep(PASS_PAUSE_MS, new AbortController().signal)
  }
}

interface Batch {
  readonly rewrapped: number
  readonly unreadable: readonly string[]
}

/** Goes through one column in the order of its key, however much of it there is. */
async function walk(
  context: StoreContext,
  column: SealedColumn,
  onBatch: (batch: Batch) => void,
): Promise<void> {
  let after: RowKey | null = null
  do {
    const batch: Batch & { readonly last: RowKey | null } = await rewrapBatch(
      context,
      column,
      after,
    )
    onBatch(batch)
    after = batch.last
  } while (after !== null)
}

/** The primary key of a row; the second part is empty where there is one column. */
interface RowKey {
  readonly key_one: string
  readonly key_two: string
}

type SealedRow = RowKey & { readonly envelope: string }

async function rewrapBatch(
  { database, ring, sealer }: StoreContext,
  column: SealedColumn,
  after: RowKey | null,
): Promise<Batch & { readonly last: RowKey | null }> {
  return database.db.transaction().execute(async db => {
    const isLocking = database.kind === 'postgres'
    const found = await selectForeign(column, {
      keyId: ring.sealing().id,
      after,
      isLocking,
    }).execute(db)
    const unreadable: string[] = []
    const fresh = found.rows.flatMap(row => {
      const context = column.contextOf(row.key_one, row.key_two)
      try {
        return [{ ...row, rewrapped: sealer.rewrap(row.envelope, context) }]
      } catch (error) {
        if (!(error instanceof AppError && error.code === 'store_unavailable')) throw error
        unreadable.push(context)
        return []
      }
    })
    if (fresh.length > 0) await updateRows(column, fresh).execute(db)
    const last = found.rows.length < BATCH_ROWS ? null : (found.rows.at(-1) ?? null)
    return { rewrapped: fresh.length, unreadable, last }
  })
}

/** Rows that another key sealed. What a gateway holds is left to the next pass: nobody waits in a circle. */
function selectForeign(
  { table, column, keys }: SealedColumn,
  options: { readonly keyId: string; readonly after: RowKey | null; readonly isLocking: boolean },
) {
  const { keyId, after, isLocking } = options
  const [first, second] = keys.map(key => sql.ref(key))
  const columns = second === undefined ? first : sql`${first}, ${second}`
  const values =
    second === undefined ? sql`${after?.key_one}` : sql`${after?.key_one}, ${after?.key_two}`
  return sql<SealedRow>`
    select ${first} key_one, ${second ?? sql`''`} key_two, ${sql.ref(column)} envelope
    from ${sql.table(table)}
    where ${foreignTo(column, keyId)} ${after === null ? sql`` : sql`and (${columns}) > (${values})`}
    order by ${columns} limit ${sql.lit(BATCH_ROWS)} ${isLocking ? sql`for update skip locked` : sql``}`
}

function foreignTo(column: string, keyId: string) {
  return sql`${sql.ref(column)} not like ${`v1.${keyId}.%`}`
}

/** All rows in one statement; one that has changed since is left alone. */
function updateRows(
  { table, column, keys }: SealedColumn,
  rows: readonly (SealedRow & { readonly rewrapped: string })[],
) {
  const values = rows.map(
    row => sql`(${row.key_one}, ${row.key_two}, ${row.envelope}, ${row.rewrapped})`,
  )
  const [first, second] = keys.map(key => sql.ref(`${table}.${key}`))
  const sameSecond = second === undefined ? sql`` : sql`and ${second} = fresh.key_two`
  const fresh = sql`with fresh (key_one, key_two, sealed, rewrapped) as (values ${sql.join(values)})`
  return sql`${fresh}
    update ${sql.table(table)} set ${sql.ref(column)} = fresh.rewrapped from fresh
    where ${first} = fresh.key_one ${sameSecond} and ${sql.ref(`${table}.${column}`)} = fresh.sealed`
}

/** How many envelopes another key than the sealing one sealed. */
export async function countLeft({ database, ring }: StoreContext): Promise<number> {
  let left = 0
  for (const { table, column } of SEALED_COLUMNS) {
    const { rows } = await sql<{ readonly number: number | string }>`
      select count(*) number from ${sql.table(table)}
      where ${foreignTo(column, ring.sealing().id)}`.execute(database.db)
    left += Number(rows[0]?.number ?? 0)
  }
  return left
}
