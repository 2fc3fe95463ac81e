import { chmodSync, closeSync, existsSync, openSync } from 'node:fs'
import path from 'node:path'
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite'
import {
  CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type DialectAdapter,
  type Driver,
  Kysely,
  type SqliteDatabase,
  SqliteDriver,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type SqliteStatement,
} from 'kysely'
import { AppError } from '../core/errors.ts'
import type { Clock } from '../system/clock.ts'
import type { Database } from './database.ts'
import { createGroupCommit } from './group-commit.ts'
import { createRunQuery } from './query.ts'
import type { Schema } from './schema.ts'
import { orStoreUnavailable } from './trouble.ts'

const BUSY_TIMEOUT_MS = 5_000
const BUSY_PAUSE_MS = 2
const SQLITE_BUSY = 5
const STATEMENTS_MAX = 200
const OWNER_ONLY = 0o600
/** `OSHL` in ASCII: marks our files, so that another program's database is never written to. */
const APPLICATION_ID = 0x4f53484c

/**
 * Opens or makes a database file, readable by its owner alone. Every commit is on the disk before it
 * is answered (`synchronous = FULL`); writes that come while `gather` waits share one.
 *
 * @throws AppError `state_dir_unusable` when the file cannot be made or opened, `store_unavailable`
 * when it is no database of this program.
 */
export async function openSqlite(
  file: string,
  { clock, gather }: { readonly clock: Clock; readonly gather: () => Promise<void> },
): Promise<Database> {
  const location = path.resolve(file)
  const connection = await orStoreUnavailable(location, () =>
    whileBusy(clock, () => openConnection(location)),
  )
  const db = new Kysely<Schema>({ dialect: dialectOver(connection, clock) })
  const write = createGroupCommit(db, gather)
  return {
    ...{ kind: 'sqlite', location, db, name: '', listen: null, withoutHaste: work => work(db) },
    ...{ run: createRunQuery(), writeOne: write, writeAll: write },
  }
}

function openConnection(file: string): DatabaseSync {
  onFile(file, () => closeSync(openSync(file, 'a', OWNER_ONLY)))
  const connection = new DatabaseSync(file, { timeout: 0, enableForeignKeyConstraints: true })
  try {
    checkOwnership(connection, file)
    // SQLite gives the files beside it the mode of the database.
    for (const one of [file, `${file}-wal`, `${file}-shm`])
      if (existsSync(one)) onFile(file, () => chmodSync(one, OWNER_ONLY))
    connection.exec('pragma journal_mode = wal')
    connection.exec('pragma synchronous = full')
    return connection
  } catch (error) {
    connection.close()
    throw error
  }
}

/** A file that is not a database throws here, before anything of it was changed. */
function checkOwnership(connection: DatabaseSync, file: string): void {
  const isEmpty = connection.prepare('select 1 from sqlite_schema limit 1').get() === undefined
  const found = connection.prepare('pragma application_id').get()?.application_id
  if (found === APPLICATION_ID) return
  if (!isEmpty) {
    throw new AppError('store_unavailable', `"${file}" is a database of another program`, {
      hint: 'Choose another path with --store sqlite:PATH',
    })
  }
  connection.exec(`pragma application_id = ${APPLICATION_ID}`)
}

function onFile(file: string, work: () => void): void {
  try {
    work()
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new AppError('state_dir_unusable', `Cannot write the database "${file}": ${reason}`, {
      hint: 'Choose a folder that exists and that you may write to, with --state-dir or --store',
      cause,
    })
  }
}

function dialectOver(connection: DatabaseSync, clock: Clock): Dialect {
  return {
    createDriver: () => createDriver(connection, clock),
    createQueryCompiler: () => new SqliteQueryCompiler(),
    createIntrospector: db => new SqliteIntrospector(db),
    createAdapter: () => adapter,
  }
}

/**
 * Differs from Kysely's own in one point: a migration is a transaction, so that of two gateways that
 * start at once one waits and then finds it done.
 */
const adapter: DialectAdapter = {
  supportsCreateIfNotExists: true,
  supportsMultipleConnections: false,
  supportsReturning: true,
  supportsTransactionalDdl: true,
  async acquireMigrationLock() {},
  async releaseMigrationLock() {},
}

/**
 * Kysely's driver with two changes: a statement that finds the database locked is tried again, and a
 * transaction takes the write lock at its beginning, unless it only reads. One that began as a reader
 * and then writes could fail in its middle, where there is nothing to try again.
 */
function createDriver(connection: DatabaseSync, clock: Clock): Driver {
  const driver = new SqliteDriver({ database: toKysely(connection) })
  let patient: DatabaseConnection | null = null
  return {
    init: () => driver.init(),
    async acquireConnection() {
      patient ??= makePatient(await driver.acquireConnection(), clock)
      return patient
    },
    async beginTransaction(inner, { accessMode }) {
      const isReader = accessMode === 'read only'
      await inner.executeQuery(CompiledQuery.raw(isReader ? 'begin' : 'begin immediate'))
    },
    commitTransaction: inner => driver.commitTransaction(inner),
    async rollbackTransaction(inner) {
      // A full disk makes SQLite roll back by itself; that is no second error to speak of.
      await driver.rollbackTransaction(inner).catch((error: unknown) => {
        if (!(error instanceof Error && /no transaction is active/.test(error.message))) throw error
      })
    },
    releaseConnection: () => driver.releaseConnection(),
    destroy: () => driver.destroy(),
  }
}

function makePatient(inner: DatabaseConnection, clock: Clock): DatabaseConnection {
  return {
    executeQuery: query => whileBusy(clock, () => inner.executeQuery(query)),
    streamQuery: (query, chunkSize) => inner.streamQuery(query, chunkSize),
  }
}

/**
 * Tries again while another connection holds the lock. SQLite's own busy handler would wait in this
 * thread and stop every request; a sleeping gateway goes on serving.
 */
async function whileBusy<T>(clock: Clock, work: () => T | Promise<T>): Promise<T> {
  const deadlineMs = clock.monotonicMs() + BUSY_TIMEOUT_MS
  const { signal } = new AbortController()
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!isBusy(error) || clock.monotonicMs() >= deadlineMs) throw error
    }
    await clock.sleep(BUSY_PAUSE_MS, signal)
  }
}

/** `SQLITE_BUSY` and its extended codes, which repeat it in their low byte. */
function isBusy(error: unknown): boolean {
  if (!(error instanceof Error && 'errcode' in error)) return false
  return typeof error.errcode === 'number' && (error.errcode & 0xff) === SQLITE_BUSY
}

/** The face of better-sqlite3, which Kysely speaks, over node:sqlite. */
function toKysely(connection: DatabaseSync): SqliteDatabase {
  const statements = new Map<string, SqliteStatement>()
  return {
    prepare(sql) {
      const known = statements.get(sql)
      if (known !== undefined) return known
      const statement = toKyselyStatement(connection.prepare(sql))
      if (statements.size >= STATEMENTS_MAX) statements.clear()
      statements.set(sql, statement)
      return statement
    },
    close: () => connection.close(),
  }
}

function toKyselyStatement(statement: StatementSync): SqliteStatement {
  return {
    reader: statement.columns().length > 0,
    all: parameters => statement.all(...parameters.map(toInput)),
    run: parameters => statement.run(...parameters.map(toInput)),
    iterate: parameters => statement.iterate(...parameters.map(toInput)),
  }
}

function toInput(value: unknown): SQLInputValue {
  if (value === null || typeof value === 'string' || typeof value === 'number') return value
  throw new TypeError(`Cannot bind a ${typeof value} to a statement`)
}
