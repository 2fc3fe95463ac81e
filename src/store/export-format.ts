import { createHmac, type Hmac, hkdfSync } from 'node:crypto'
import { AppError } from '../core/errors.ts'
import type { MasterKey } from './key-ring.ts'

/** Raised when a file changes so that an older program would misread it. */
const FORMAT_VERSION = 1
const FORMAT_NAME = 'openshell store export'
const MAC_KEY_BYTES = 32

/** A table that an export holds, in the order in which rows may be inserted. */
interface ExportedTable {
  readonly table: string
  /** The primary key. */
  readonly keys: readonly [string] | readonly [string, string]
}

/** Every table with something to keep. A test holds this and {@link NOT_EXPORTED} against the database. */
export const EXPORTED: readonly ExportedTable[] = [
  { table: 'workspaces', keys: ['name'] },
  { table: 'workspace_members', keys: ['workspace', 'subject'] },
  { table: 'profiles', keys: ['workspace', 'id'] },
  { table: 'providers', keys: ['id'] },
  { table: 'provider_secrets', keys: ['provider_id', 'key'] },
  { table: 'credentials', keys: ['provider_id', 'key'] },
  { table: 'routes', keys: ['workspace', 'name'] },
  { table: 'sandboxes', keys: ['id'] },
  { table: 'sandbox_providers', keys: ['sandbox_id', 'provider_id'] },
  { table: 'gateway_config', keys: ['name'] },
  { table: 'gateway_secrets', keys: ['name'] },
]

/** Tables that speak of this one database alone. */
export const NOT_EXPORTED: readonly string[] = [
  'retired_master_keys',
  'gateways',
  'store_marks',
  'schema_steps',
  'changes',
  'gateway_routers',
  'openshell_migrations',
  'openshell_migrations_lock',
]

/** Columns that the database works out by itself. */
export const GENERATED_COLUMNS: ReadonlySet<string> = new Set(['claimable_at_ms'])

/** What a column holds, on both databases. */
type Cell = string | number | null
/** A row as a file holds it. */
export type ExportedRow = Readonly<Record<string, Cell>>

/** The first line. */
export interface ExportHeader {
  /** The newest step of the schema that the rows have. */
  readonly schema: string
  /** The id of the master key that sealed the envelopes. */
  readonly masterKey: string
}

/** The first line of a file, without its end. */
export function headerLine({ schema, masterKey }: ExportHeader): string {
  return JSON.stringify({ format: FORMAT_NAME, version: FORMAT_VERSION, schema, masterKey })
}

/**
 * Reads the first line.
 *
 * @throws AppError `invalid_argument` when it is none, `failed_precondition` for a newer version.
 */
export function parseHeader(line: string): ExportHeader {
  const { format, version, schema, masterKey } = parseLine(line)
  if (
    format !== FORMAT_NAME ||
    typeof version !== 'number' ||
    typeof schema !== 'string' ||
    typeof masterKey !== 'string'
  ) {
    throw new AppError('invalid_argument', 'The file is no export of a store')
  }
  if (version > FORMAT_VERSION) throw newer(`format ${version}`)
  return { schema, masterKey }
}

/** The error for a file that a newer program wrote. */
export function newer(what: string): AppError {
  return new AppError(
    'failed_precondition',
    `The file has ${what}, which this version does not know`,
    {
      hint: 'A newer version wrote it: import it with that version',
    },
  )
}

/** A line with a row. */
export function rowLine(table: string, row: ExportedRow): string {
  return JSON.stringify({ table, row })
}

/** The last line: how many rows there were, and the proof that nothing was changed. */
export function endLine(end: ExportEnd): string {
  return JSON.stringify({ end })
}

/** What the last line says. */
export interface ExportEnd {
  readonly rows: number
  readonly mac: string
}

/** A line behind the first. */
export type BodyLine =
  | { readonly kind: 'row'; readonly table: string; readonly row: ExportedRow }
  | { readonly kind: 'end'; readonly end: ExportEnd }

/** Reads a line behind the first; throws `invalid_argument` when it is none of ours. */
export function parseBodyLine(line: string): BodyLine {
  const { table, row, end } = parseLine(line)
  if (isObject(end) && typeof end.rows === 'number' && typeof end.mac === 'string') {
    return { kind: 'end', end: { rows: end.rows, mac: end.mac } }
  }
  if (typeof table !== 'string' || !isObject(row)) throw altered()
  const cells: Record<string, Cell> = {}
  for (const [name, cell] of Object.entries(row)) {
    if (typeof cell !== 'string' && typeof cell !== 'number' && cell !== null) throw altered()
    cells[name] = cell
  }
  return { kind: 'row', table, row: cells }
}

/** The error for a file that is not as it was written. */
export function altered(): AppError {
  return new AppError('invalid_argument', 'The file was altered or damaged; nothing was imported', {
    hint: 'Bring it over once more, or export once more',
  })
}

/** The error for a file that ends too early. */
export function truncated(): AppError {
  return new AppError(
    'invalid_argument',
    'The file is not whole: its end is missing; nothing was imported',
    {
      hint: 'Bring it over once more, or export once more',
    },
  )
}

/**
 * What proves a file: HMAC-SHA256 (RFC 2104) over its lines, under a key derived from the master key.
 * Configuration stands in clear beside the envelopes, and whoever could change an address in it would be
 * sent tokens.
 */
export function createProof(masterKey: MasterKey): Hmac {
  const key = hkdfSync('sha256', masterKey.key, '', 'openshell export mac v1', MAC_KEY_BYTES)
  return createHmac('sha256', Buffer.from(key))
}

function parseLine(line: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(line)
    if (isObject(value)) return value
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause
  }
  throw altered()
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
