import { timingSafeEqual } from 'node:crypto'
import { type Kysely, sql } from 'kysely'
import { AppError } from '../core/errors.ts'
import { DEFAULT_WORKSPACE } from '../core/workspace.ts'
import type { StoreContext } from './database.ts'
import {
  altered,
  createProof,
  EXPORTED,
  type ExportEnd,
  type ExportedRow,
  type ExportHeader,
  newer,
  parseBodyLine,
  parseHeader,
  truncated,
} from './export-format.ts'
import type { MasterKey } from './key-ring.ts'
import { CHECK_NAME, followKeys, gatewaysAtWork } from './master-keys.ts'
import { NEWEST_STEP } from './migrations.ts'
import { waitForWriters } from './rekey.ts'
import { refuseMoved } from './retire.ts'
import type { Schema } from './schema.ts'
import { SEALED_COLUMNS } from './sealed-columns.ts'

const BATCH_ROWS = 200
/** No secret that the gateway takes is nearly as long. */
const LINE_CHARS_MAX = 16 * 1_024 * 1_024

/** Tables whose rows a person made; the default workspace is there from the beginning. */
const TELLING_TABLES = ['providers', 'routes', 'sandboxes', 'workspaces'] as const

/**
 * Reads an export into the store, whole or not at all. Envelopes that another key of the ring sealed are
 * rewrapped. Answers the number of rows.
 *
 * @throws AppError `invalid_argument` for a file that is no export, was altered or is not whole;
 * `failed_precondition` for one of a newer version, for a store that holds something (unless it is to be
 * replaced) or was moved away, and while a gateway is at work on it; `wrong_master_key` when the file's key is not held.
 */
export async function importStore(
  context: StoreContext,
  chunks: AsyncIterable<string>,
  options: { readonly isReplaced: boolean },
): Promise<number> {
  await followKeys(context)
  await refuseMoved(context)
  return context.database.withoutHaste(inner =>
    inner.transaction().execute(async db => {
      await waitForWriters(db, context.database.kind)
      await refuseAtWork(db, context.clock.nowMs())
      await makeRoom(db, options.isReplaced)
      const lines = linesOf(chunks)
      const first = await lines.next()
      if (first.done === true) throw truncated()
      const header = parseHeader(first.value)
      if (header.schema > NEWEST_STEP) throw newer(`schema ${header.schema}`)
      const masterKey = keyOf(context, header)
      const writer = createWriter(context, db, masterKey)
      const proof = createProof(masterKey).update(`${first.value}\n`)
      const end = await readRows(lines, async (line, { table, row }) => {
        proof.update(`${line}\n`)
        await writer.put(table, row)
      })
      await writer.flush()
      if (end.rows !== writer.rows()) throw altered()
      const given = Buffer.from(end.mac, 'base64url')
      const expected = proof.digest()
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw altered()
      return end.rows
    }),
  )
}

async function refuseAtWork(db: Kysely<Schema>, nowMs: number): Promise<void> {
  const all = await gatewaysAtWork(db, nowMs)
  if (all.length === 0) return
  const names = all.map(one => `"${one.id}"`).join(', ')
  throw new AppError('failed_precondition', `Gateways are at work on this store: ${names}`, {
    hint: 'Stop them first; one that was killed is forgotten after a minute',
  })
}

async function makeRoom(db: Kysely<Schema>, isReplaced: boolean): Promise<void> {
  for (const table of TELLING_TABLES) {
    const row = await db
      .selectFrom(table)
      .select('name')
      .$if(table === 'workspaces', query => query.where('name', '!=', DEFAULT_WORKSPACE))
      .limit(1)
      .executeTakeFirst()
    if (row === undefined || isReplaced) continue
    throw new AppError('failed_precondition', `The store holds ${table} already`, {
      hint: 'Import into an empty one, or throw away what is there with --replace',
    })
  }
  for (const { table } of EXPORTED.toReversed()) {
    const isKept = table === 'gateway_secrets' ? sql`where name != ${CHECK_NAME}` : sql``
    await sql`delete from ${sql.table(table)} ${isKept}`.execute(db)
  }
}

function keyOf({ ring }: StoreContext, header: ExportHeader): MasterKey {
  const key = ring.find(header.masterKey)
  if (key !== null) return key
  throw new AppError(
    'wrong_master_key',
    `The file is sealed with master key ${header.masterKey}, held is ${ring.ids().join(', ')}`,
    { hint: 'Add that key to the key file; what is imported is sealed with the key of this store' },
  )
}

/** Goes through the rows up to the last line, which it answers. */
async function readRows(
  lines: AsyncGenerator<string>,
  onRow: (
    line: string,
    row: { readonly table: string; readonly row: ExportedRow },
  ) => Promise<void>,
): Promise<ExportEnd> {
  let end: ExportEnd | null = null
  for await (const line of lines) {
    if (end !== null) throw altered()
    const body = parseBodyLine(line)
    if (body.kind === 'end') end = body.end
    else await onRow(line, body)
  }
  if (end === null) throw truncated()
  return end
}

/** Inserts rows, many at once. */
function createWriter(context: StoreContext, db: Kysely<Schema>, masterKey: MasterKey) {
  let waiting: ExportedRow[] = []
  let table = ''
  let count = 0
  const flush = async (): Promise<void> => {
    const rows = waiting
    waiting = []
    const [first] = rows
    if (first === undefined) return
    const names = Object.keys(first)
    const columns = sql.join(names.map(name => sql.ref(name)))
    const values = rows.map(row => sql`(${sql.join(names.map(name => sql`${row[name] ?? null}`))})`)
    const insert = sql`insert into ${sql.table(table)} (${columns}) values ${sql.join(values)}`
    await insert.execute(db).catch((error: unknown) => {
      throw isRefusedRow(error) ? altered() : error
    })
  }
  return {
    rows: () => count,
    flush,
    async put(nextTable: string, row: ExportedRow): Promise<void> {
      if (!EXPORTED.some(one => one.table === nextTable)) throw altered()
      if (nextTable !== table || waiting.length === BATCH_ROWS) await flush()
      table = nextTable
      count += 1
      waiting.push(underKeyOf(context, { table, row, masterKey }))
    },
  }
}

/**
 * Whether the database took offence at what the rows say: what a store wrote breaks no rule of its own
 * tables. PostgreSQL's classes of codes are data exception, constraint and unknown column.
 */
function isRefusedRow(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const isByCode = 'code' in error && /^(22|23|42)[0-9A-Z]{3}$/.test(String(error.code))
  return isByCode || /constraint failed|has no column named/.test(error.message)
}

/** The row with its envelopes under the key that seals in this store. */
function underKeyOf(
  { ring, sealer }: StoreContext,
  given: { readonly table: string; readonly row: ExportedRow; readonly masterKey: MasterKey },
): ExportedRow {
  const { table, row, masterKey } = given
  if (masterKey.id === ring.sealing().id) return row
  const rewrapped = SEALED_COLUMNS.filter(one => one.table === table).map(one => {
    const envelope = row[one.column]
    const [first = '', second = ''] = one.keys.map(key => String(row[key]))
    const context = one.contextOf(first, second)
    return [
      one.column,
      typeof envelope === 'string' ? sealer.rewrap(envelope, context) : null,
    ] as const
  })
  return { ...row, ...Object.fromEntries(rewrapped) }
}

/** Splits text into its lines; what comes after the last end of line is not whole. */
async function* linesOf(chunks: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = ''
  for await (const chunk of chunks) {
    const parts = `${rest}${chunk}`.split('\n')
    rest = parts.pop() ?? ''
    if (rest.length > LINE_CHARS_MAX) throw altered()
    yield* parts
  }
  if (rest !== '') throw truncated()
}
