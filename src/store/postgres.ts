import { Kysely, PostgresDialect } from 'kysely'
import { Client, type ClientConfig, Pool, types } from 'pg'
import type { Clock } from '../system/clock.ts'
import type { Random } from '../system/random.ts'
import { CHANGES_CHANNEL } from './changes-migration.ts'
import type { Database, Listening } from './database.ts'
import { patientPool } from './patient-pool.ts'
import type { PostgresPlace } from './postgres-url.ts'
import { createRunQuery } from './query.ts'
import type { Schema } from './schema.ts'

/** The server gives up a statement after this long, waiting for locks included. */
const STATEMENT_TIMEOUT_MS = 10_000
/** For a server that no longer answers at all. */
const QUERY_TIMEOUT_MS = 12_000
/** A gateway that stopped in the middle of a transaction must not hold its locks. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 10_000
/** An idle connection is probed by TCP after this long; one whose peer is gone without a word ends. */
const KEEP_ALIVE_MS = 10_000
/** A change of the schema may take its time, and so may the wait for another gateway's. */
const MIGRATION_TIMEOUT_MS = 600_000
/** Over the connection that listens, which has nothing to wait for. */
const LISTENING_QUERY_TIMEOUT_MS = 2_000
const BIGINT_TYPE = 20

/** Makes a pool of connections; the first query opens the first. */
export function openPostgres(place: PostgresPlace, deps: PoolDeps): Database {
  const name = `openshell-${Buffer.from(deps.random.bytes(6)).toString('hex')}`
  const config = configOf(place, name)
  const pool = new Pool({ ...config, max: place.connectionsMax })
  quieten(pool)
  const db = new Kysely<Schema>({
    dialect: new PostgresDialect({
      pool: patientPool(pool, { ...deps, connectionsMax: place.connectionsMax }),
    }),
  })
  return {
    ...{ kind: 'postgres', db, name, location: place.shown, run: createRunQuery() },
    // The server has a group commit of its own, and a write that waits for a lock must hold up no other.
    writeOne: work => work(db),
    writeAll: work => db.transaction().execute(work),
    listen: onNotice => listen(config, onNotice),
    withoutHaste: work => withoutHaste(config, work),
  }
}

interface PoolDeps {
  readonly clock: Clock
  readonly random: Random
}

function configOf(place: PostgresPlace, name: string): ClientConfig {
  const { host, port, user, database, password, ssl, connectTimeoutMs } = place
  return {
    ...{ host, port, user, database, ssl },
    // Asked for at each connection, and nobody who prints the configuration prints it. Without one the
    // driver looks where libpq does: PGPASSWORD, ~/.pgpass.
    password: password === undefined ? undefined : () => password().reveal(),
    application_name: name,
    connectionTimeoutMillis: connectTimeoutMs,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MS,
    types: { getTypeParser: parserOf },
  }
}

/** Unheard, the end of an idle connection, or of one in use, whose statement is told anyway, would end the program. */
function quieten(pool: Pool): void {
  pool.on('error', () => undefined)
  pool.on('connect', client => client.on('error', () => undefined))
}

async function withoutHaste<T>(
  config: ClientConfig,
  work: (db: Kysely<Schema>) => Promise<T>,
): Promise<T> {
  const timeouts = {
    statement_timeout: MIGRATION_TIMEOUT_MS,
    query_timeout: MIGRATION_TIMEOUT_MS,
    idle_in_transaction_session_timeout: MIGRATION_TIMEOUT_MS,
  }
  const pool = new Pool({ ...config, ...timeouts, max: 2 })
  quieten(pool)
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  try {
    return await work(db)
  } finally {
    await db.destroy()
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
