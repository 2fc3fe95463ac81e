import { createDatabaseClock, type DatabaseClock } from '../../src/gateway/database-clock.ts'
import { openContext, orClosed, prepare } from '../../src/store/open.ts'
import { createSqlStore } from '../../src/store/sql-store.ts'
import type { Store } from '../../src/store/store.ts'
import type { Random } from '../../src/system/random.ts'
import { type DatabaseHost, unavailable } from './database-host.ts'
import type { Ledger } from './ledger.ts'
import { type Life, never } from './machine.ts'
import { turn } from './schedule.ts'
import { guardStore, idIn, observedStore, type StoreCall } from './store-guard.ts'

/** A clock that is off by more leads to mints that nobody else expects. */
const WRONG_MS = 2_000

/** What a process needs to reach a database. */
export interface RemoteStoreDeps {
  readonly database: DatabaseHost
  readonly random: Random
  readonly masterKey: Uint8Array
  readonly ledger: Ledger
  /** What the process's connections are called. */
  readonly name: string
  /** Called before each call and after it; whether the process goes on. */
  readonly step: () => boolean
  /**
   * Called when it claims by a clock that is wrong, or makes all credentials due because it thinks that
   * its clock was set back.
   */
  readonly onWrongClock: () => void
}

/** A store over the network, and the time that all who use it share. */
export interface RemoteStore {
  readonly store: Store
  readonly clock: DatabaseClock
}

/**
 * Opens a store at a database: the product's own code, each call of which is a message there and an
 * answer back. No time passes while it is opened.
 */
export async function openRemoteStore(deps: RemoteStoreDeps, life: Life): Promise<RemoteStore> {
  const { database, random, masterKey, ledger, name } = deps
  if (!database.isWellFor(life.machine)) throw unavailable('connection refused')
  const clock = createDatabaseClock(life, () => store.readClock())
  // Nothing at the database ever waits for a lock, since one thing is done after the other.
  const still = { nowMs: clock.nowMs, monotonicMs: clock.monotonicMs, sleep: () => turn() }
  const location = `sqlite:${database.file}`
  const opened = await openContext({ clock: still, random, masterKey }, location)
  await database.run(() => orClosed(opened, () => prepare(opened)))
  const inner = createSqlStore({
    ...opened,
    clock,
    database: {
      ...opened.database,
      name,
      listen: onNotice =>
        database.listen(life, {
          by: name,
          onNotice,
          query: async asked => (await opened.database.db.executeQuery(asked)).rows,
        }),
    },
  })
  database.connected(life, () => inner.close())
  const observed = observedStore(ledger, inner, { by: name, quietly: work => work() })
  const guarded = guardStore(observed, call => ask(deps, life, call))
  const store: Store = {
    ...guarded,
    // That one asks by itself, over a connection of its own.
    followChanges: inner.followChanges,
    isShared: true,
  }
  return { store, clock }
}

async function ask(
  { database, name, step, onWrongClock }: RemoteStoreDeps,
  life: Life,
  { method, args, isWrite, work }: StoreCall,
): Promise<unknown> {
  if (!step()) return never()
  const wrongMs = Math.abs(life.judgesBy.nowMs() - database.machine.nowMs())
  const isWrong = method === 'claimDue' && wrongMs > WRONG_MS
  if (isWrong || (method === 'renewMisdated' && isOfAll(args))) onWrongClock()
  const isClock = method === 'readClock'
  const answer = await database.ask<unknown>(life, {
    work: isClock ? async () => database.machine.nowMs() : work,
    ...{ isWrite, about: idIn(args), by: name },
  })
  return step() ? answer : never()
}

function isOfAll([, which]: readonly unknown[]): boolean {
  return (
    typeof which === 'object' && which !== null && 'futureMs' in which && which.futureMs === null
  )
}
