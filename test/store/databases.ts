import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { TestContext } from 'node:test'
import { Client } from 'pg'
import { openStore, type StoreDeps } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import type { Clock } from '../../src/system/clock.ts'
import { realClock, realRandom } from '../../src/system/real.ts'
import {
  noSystemPostgres,
  startPostgres,
  startSystemPostgres,
  type TestPostgres,
} from '../support/postgres.ts'

type Row = Readonly<Record<string, unknown>>

/** A database to run the suite on. */
export interface TestDatabase {
  readonly name: 'SQLite' | 'PostgreSQL' | 'PostgreSQL 15'
  /** Why it cannot be used on this machine; false when it can. */
  readonly missing: string | false
  start(): Promise<void>
  stop(): Promise<void>
  /** The location of an empty database; it ends what an earlier answer named. */
  newLocation(): Promise<string>
  /** Runs one statement behind the store's back. */
  run(location: string, sql: string): Promise<readonly Row[]>
}

export const sqlite: TestDatabase = (() => {
  let folder = ''
  let count = 0
  return {
    ...{ name: 'SQLite', missing: false },
    async start() {
      folder = await mkdtemp(path.join(os.tmpdir(), 'openshell-store-'))
    },
    stop: () => rm(folder, { recursive: true, force: true }),
    async newLocation() {
      count += 1
      return `sqlite:${path.join(folder, `${count}.db`)}`
    },
    async run(location, sql) {
      const connection = new DatabaseSync(location.slice('sqlite:'.length), { timeout: 1_000 })
      try {
        return connection.prepare(sql).all()
      } finally {
        connection.close()
      }
    },
  }
})()

/** The PostgreSQL of the npm package. */
export const postgres = onPostgres({ name: 'PostgreSQL', missing: false }, startPostgres)

/** The machine's own, of an earlier version. */
export const postgres15 = onPostgres(
  { name: 'PostgreSQL 15', missing: noSystemPostgres() },
  startSystemPostgres,
)

function onPostgres(
  of: Pick<TestDatabase, 'name' | 'missing'>,
  startCluster: () => Promise<TestPostgres>,
): TestDatabase {
  let cluster: TestPostgres
  let url = ''
  return {
    ...of,
    async start() {
      cluster = await startCluster()
      url = await cluster.createDatabase()
    },
    stop: () => cluster.stop(),
    // The tests run one after the other, and emptying a database is far quicker than making one.
    async newLocation() {
      await runOn(url, 'drop schema public cascade')
      await runOn(url, 'create schema public')
      return url
    },
    run: runOn,
  }
}

async function runOn(location: string, sql: string): Promise<readonly Row[]> {
  const client = new Client({ connectionString: location })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

/** A wall clock that the test sets. Waiting for a lock is real. */
export interface HandClock extends Clock {
  setMs(nowMs: number): void
}

export function handClock(startMs: number): HandClock {
  let nowMs = startMs
  return {
    nowMs: () => nowMs,
    monotonicMs: () => realClock.monotonicMs(),
    sleep: (ms, signal) => realClock.sleep(ms, signal),
    setMs(toMs) {
      nowMs = toMs
    },
  }
}

export interface TestStore {
  readonly store: Store
  readonly location: string
  readonly masterKey: StoreDeps['masterKey']
  readonly clock: HandClock
  /** Opens the same database once more, as another gateway does. */
  openAgain(masterKey?: StoreDeps['masterKey']): Promise<Store>
}

/** A store on a new database, or on the one that is given; the test's end closes all that it opened. */
export async function newStore(
  t: TestContext,
  database: TestDatabase,
  masterKey: StoreDeps['masterKey'] = randomBytes(32),
  given: string | null = null,
): Promise<TestStore> {
  const location = given ?? (await database.newLocation())
  const clock = handClock(1_000_000)
  const openAgain = async (key = masterKey) => {
    const store = await openStore({ clock, random: realRandom, masterKey: key }, location)
    t.after(() => store.close())
    return store
  }
  return { store: await openAgain(), location, masterKey, clock, openAgain }
}
