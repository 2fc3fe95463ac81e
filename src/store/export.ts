import { type Kysely, sql } from 'kysely'
import { AppError } from '../core/errors.ts'
import type { Database, StoreContext } from './database.ts'
import {
  createProof,
  EXPORTED,
  type ExportedRow,
  endLine,
  GENERATED_COLUMNS,
  headerLine,
  rowLine,
} from './export-format.ts'
import { CHECK_NAME, followKeys, readKeysInUse } from './master-keys.ts'
import { readSchema } from './migrations.ts'
import type { Schema } from './schema.ts'

const BATCH_ROWS = 500

/**
 * Writes everything that the store holds, as of one instant, while gateways go on: lines of JSON, at most
 * a few hundred rows of them in memory. Secrets stay in their envelopes. Answers the number of rows.
 *
 * @throws AppError `failed_precondition` while a rekey is not finished.
 */
export async function exportStore(
  context: StoreContext,
  write: (text: string) => Promise<void>,
): Promise<number> {
  await followKeys(context)
  const { ring, database } = context
  const { newest } = await readSchema(database)
  return snapshot(database, async db => {
    const said = await readKeysInUse(db, { hasRetiredKeys: true })
    if (said?.leaving.length !== 0 || said.sealing !== ring.sealing().id) throw rekeying()
    const proof = createProof(ring.sealing())
    let rows = 0
    const put = async (lines: readonly string[]): Promise<void> => {
      const text = lines.map(line => `${line}\n`).join('')
      proof.update(text)
      await write(text)
    }
    await put([headerLine({ schema: newest ?? '', masterKey: said.sealing })])
    for (const exported of EXPORTED) {
      for await (const batch of batchesOf(db, exported)) {
        rows += batch.length
        await put(batch.map(row => rowLine(exported.table, row)))
      }
    }
    await write(`${endLine({ rows, mac: proof.digest('base64url') })}\n`)
    return rows
  })
}

/** A reader that sees one instant and stops no writer. */
function snapshot<T>(database: Database, work: (db: Kysely<Schema>) => Promise<T>): Promise<T> {
  return database.withoutHaste(db => {
    const reading = db.transaction().setAccessMode('read only')
    const isPostgres = database.kind === 'postgres'
    return (isPostgres ? reading.setIsolationLevel('repeatable read') : reading).execute(work)
  })
}

/** The rows of a table in the order of its key. */
async function* batchesOf(
  db: Kysely<Schema>,
  exported: (typeof EXPORTED)[number],
): AsyncGenerator<readonly ExportedRow[]> {
  let last: ExportedRow | undefined
  do {
    const rows: readonly ExportedRow[] = await readPage(db, exported, last)
    // The check belongs to this database: it says which key seals here.
    const isKept = (row: ExportedRow): boolean =>
      exported.table !== 'gateway_secrets' || row.name !== CHECK_NAME
    const kept = rows.filter(isKept)
    if (kept.length > 0) yield kept.map(withoutGenerated)
    last = rows.length < BATCH_ROWS ? undefined : rows.at(-1)
  } while (last !== undefined)
}

async function readPage(
  db: Kysely<Schema>,
  { table, keys }: (typeof EXPORTED)[number],
  after: ExportedRow | undefined,
): Promise<readonly ExportedRow[]> {
  const columns = sql.join(keys.map(key => sql.ref(key)))
  const values = sql.join(keys.map(key => sql`${after?.[key]}`))
  const where = after === undefined ? sql`` : sql`where (${columns}) > (${values})`
  const { rows } = await sql<ExportedRow>`
    select * from ${sql.table(table)} ${where}
    order by ${columns} limit ${sql.lit(BATCH_ROWS)}`.execute(db)
  return rows
}

function withoutGenerated(row: ExportedRow): ExportedRow {
  return Object.fromEntries(Object.entries(row).filter(([name]) => !GENERATED_COLUMNS.has(name)))
}

function rekeying(): AppError {
  return new AppError('failed_precondition', 'A rekey is not finished', {
    hint: 'Finish it first: openshell gateway rekey',
  })
}
