import { Kysely, PostgresDialect } from 'kysely'
import { Pool, types } from 'pg'
import type { Database } from './database.ts'
import type { Schema } from './schema.ts'

const CONNECTIONS_MAX = 10
const CONNECT_TIMEOUT_MS = 5_000
/** The server gives up a statement after this long, waiting for locks included. */
const STATEMENT_TIMEOUT_MS = 10_000
/** For a server that no longer answers at all. */
const QUERY_TIMEOUT_MS = 15_000
/** A gateway that stopped in the middle of a transaction must not hold its locks. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 30_000
const BIGINT_TYPE = 20

/** Makes a pool of connections; the first query opens the first. */
export function openPostgres(url: URL): Database {
  const pool = new Pool({
    connectionString: url.href,
    application_name: 'openshell',
    max: CONNECTIONS_MAX,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    keepAlive: true,
    types: { getTypeParser: parserOf },
  })
  // The pool drops a connection that breaks while idle; unheard, the event would end the program.
  pool.on('error', () => undefined)
  // So would that of a connection in use; its statement is told anyway.
  pool.on('connect', client => client.on('error', () => undefined))
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  return { kind: 'postgres', db, location: shown(url) }
}

/** Our 64-bit numbers are instants and counters; they fit a JavaScript number exactly. */
const parserOf: typeof types.getTypeParser = (id, format) =>
  id === BIGINT_TYPE ? Number : types.getTypeParser(id, format)

function shown(url: URL): string {
  const user = url.username === '' ? '' : `${url.username}@`
  return `${url.protocol}//${user}${url.host}${url.pathname}`
}
