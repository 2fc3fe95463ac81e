// A real PostgreSQL, as it comes and with all its care for the disk, and what gateways ask of it.
import { Client } from 'pg'
import { openPostgresServer } from '../faults/replicas/postgres-server.ts'
import { cpuMs } from './processes.ts'

/** As PostgreSQL comes, but that it counts statements. */
const SETTINGS = ['shared_preload_libraries=pg_stat_statements']

/** What one replica, or all of them, asked of the database in a window. */
export interface DatabaseLoad {
  /** Calls by kind, such as `update credentials`; what triggers do, then or at the commit, is not counted. */
  readonly statements: ReadonlyMap<string, number>
  /** Calls of the statement that stores a minted token, by replica. */
  readonly writes: ReadonlyMap<string, number>
  readonly transactions: number
  readonly walBytes: number
  readonly cpuMs: number
}

/** A database of the server. */
export interface MeasuredDatabase {
  /** Of the user who makes everything, and whose commits need not wait for the disk. */
  readonly url: string
  /** Of a user of its own, so that one replica's statements are told from another's. */
  urlOf(replica: string): string
  /** Asks as the user who makes everything. */
  query(sql: string, values?: readonly unknown[]): Promise<readonly Record<string, unknown>[]>
  /** Counts from now on; what is returned answers what has been since. */
  measure(): Promise<() => Promise<DatabaseLoad>>
  /** Drops it, so that its upkeep falls into no window of another. */
  drop(): Promise<void>
}

/** The server. */
export interface MeasuredPostgres extends AsyncDisposable {
  readonly version: string
  createDatabase(name: string): Promise<MeasuredDatabase>
}

/** Starts a server for replicas of these names. */
export async function startMeasuredPostgres(
  replicas: readonly string[],
): Promise<MeasuredPostgres> {
  const server = await openPostgresServer(SETTINGS)
  const open = new Set<Client>()
  // What we ask goes through another database than the one that is measured.
  const aside = new Client({ connectionString: placeOf(server.url, 'postgres') })
  await aside.connect()
  await aside.query('create extension pg_stat_statements')
  await aside.query('alter role postgres set synchronous_commit = off')
  const { password } = new URL(server.url)
  for (const replica of replicas) {
    await aside.query(`create role ${replica} superuser login password '${password}'`)
  }
  const { rows } = await aside.query('show server_version')
  return {
    version: String(rows[0]?.server_version),
    async createDatabase(name) {
      await aside.query(`create database ${name}`)
      const url = placeOf(server.url, name)
      const within = new Client({ connectionString: url })
      await within.connect()
      open.add(within)
      return {
        url,
        urlOf(replica) {
          const own = new URL(url)
          own.username = replica
          return own.href
        },
        query: async (sql, values = []) => (await within.query(sql, [...values])).rows,
        measure: () => measure(aside, { name, pid: server.pid() }),
        async drop() {
          open.delete(within)
          await within.end()
          await aside.query(`drop database ${name} with (force)`)
        },
      }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([aside.end(), ...[...open].map(one => one.end())])
      await server[Symbol.asyncDispose]()
    },
  }
}

function placeOf(url: string, database: string): string {
  const place = new URL(url)
  place.pathname = database
  return place.href
}

async function measure(
  aside: Client,
  { name, pid }: { readonly name: string; readonly pid: number },
): Promise<() => Promise<DatabaseLoad>> {
  const read = async () => {
    const { rows } = await aside.query(
      `select xact_commit::float8 + xact_rollback as transactions,
        pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 as wal
        from pg_stat_database where datname = $1`,
      [name],
    )
    const [row] = rows
    return {
      transactions: Number(row?.transactions),
      walBytes: Number(row?.wal),
      cpuMs: cpuMs(pid),
    }
  }
  await aside.query('select pg_stat_statements_reset()')
  const before = await read()
  return async () => {
    const after = await read()
    return {
      ...(await readStatements(aside, name)),
      transactions: after.transactions - before.transactions,
      walBytes: after.walBytes - before.walBytes,
      cpuMs: after.cpuMs - before.cpuMs,
    }
  }
}

async function readStatements(
  aside: Client,
  name: string,
): Promise<Pick<DatabaseLoad, 'statements' | 'writes'>> {
  const { rows } = await aside.query(
    `select r.rolname as replica, s.query, s.calls::float8 as calls from pg_stat_statements s
      join pg_database d on d.oid = s.dbid join pg_roles r on r.oid = s.userid
      where d.datname = $1 and r.rolname <> 'postgres' and s.query !~ 'openshell_raise'`,
    [name],
  )
  const statements = new Map<string, number>()
  const writes = new Map<string, number>()
  const add = (sums: Map<string, number>, what: string, calls: number) =>
    sums.set(what, (sums.get(what) ?? 0) + calls)
  for (const row of rows) {
    const query = String(row.query)
    add(statements, kindOf(query), Number(row.calls))
    if (/^update "credentials" set.*"token_envelope"/s.test(query)) {
      add(writes, String(row.replica), Number(row.calls))
    }
  }
  return { statements, writes }
}

/** The verb and the first table, which is enough to tell the gateway's statements apart. */
function kindOf(query: string): string {
  const [, verb = query.slice(0, 20)] = /^\s*(\w+)/.exec(query) ?? []
  if (/^with "due"/.test(query)) return 'claim due credentials'
  if (/min\("claimable_at_ms"\)/.test(query)) return 'select earliest due'
  const [, table = ''] = /(?:from|update|into)\s+"(\w+)"/.exec(query) ?? []
  return `${verb.toLowerCase()} ${table}`.trim()
}
