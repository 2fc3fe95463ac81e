import { Kysely, PostgresDialect } from 'kysely'
import { Client, type ClientConfig, Pool, types } from 'pg'
import type { Random } from '../system/random.ts'
import { CHANGES_CHANNEL } from './changes-migration.ts'
import type { Database, Listening } from './database.ts'
import { createRunQuery } from './query.ts'
import type { Schema } from './schema.ts'

const CONNECTIONS_MAX = 10
const CONNECT_TIMEOUT_MS = 5_000
/** The server gives up a statement after this long, waiting for locks included. */
const STATEMENT_TIMEOUT_MS = 10_000
/** For a server that no longer answers at all. */
const QUERY_TIMEOUT_MS = 15_000
/** A gateway that stopped in the middle of a transaction must not hold its locks. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 30_000
/** Over the connection that listens, which has nothing to wait for. */
const LISTENING_QUERY_TIMEOUT_MS = 2_000
const BIGINT_TYPE = 20

/** Makes a pool of connections; the first query opens the first. */
export function openPostgres(url: URL, random: Random): Database {
  const name = `openshell-${Buffer.from(random.bytes(6)).toString('hex')}`
  const config: ClientConfig = {
    connectionString: url.href,
    application_name: name,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    keepAlive: true,
    types: { getTypeParser: parserOf },
  }
  const pool = new Pool({ ...config, max: CONNECTIONS_MAX })
  // The pool drops a connection that breaks while idle; unheard, the event would end the program.
  pool.on('error', () => undefined)
  // So would that of a connection in use; its statement is told anyway.
  pool.on('connect', client => client.on('error', () => undefined))
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  return {
    ...{ kind: 'postgres', db, name, location: shown(url), run: createRunQuery() },
    // The server has a group commit of its own, and a write that waits for a lock must hold up no other.
    writeOne: work => work(db),
    writeAll: work => db.transaction().execute(work),
    listen: onNotice => listen(config, onNotice),
  }
}

async function listen(config: ClientConfig, onNotice: (text: string) => void): Promise<Listening> {
  const client = new Client({ ...config, query_timeout: LISTENING_QUERY_TIMEOUT_MS })
  const lost = new AbortController()
  client.on('error', () => lost.abort())
  client.on('end', () => lost.abort())
  client.on('notification', ({ payload }) => onNotice(payload ?? ''))
  const close = (): void => {
    lost.abort()
    // Whatever it still has to say, nobody waits for it: the peer may be gone without a word.
    client.end().catch(() => undefined)
  }
  try {
    await client.connect()
    await client.query(`listen ${CHANGES_CHANNEL}`)
  } catch (error) {
    close()
    throw error
  }
  return {
    lost: lost.signal,
    query: async ({ sql, parameters }) => (await client.query(sql, [...parameters])).rows,
    close,
  }
}

/** Our 64-bit numbers are instants and counters; they fit a JavaScript number exactly. */
const parserOf: typeof types.getTypeParser = (id, format) =>
  id === BIGINT_TYPE ? Number : types.getTypeParser(id, format)

function shown(url: URL): string {
  const user = url.username === '' ? '' : `${url.username}@`
  return `${url.protocol}//${user}${url.host}${url.pathname}`
}
