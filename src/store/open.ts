import { AppError } from '../core/errors.ts'
import type { Clock } from '../system/clock.ts'
import type { Random } from '../system/random.ts'
import type { Database, StoreContext } from './database.ts'
import { openKeyRing, type ReadMasterKeys } from './key-ring.ts'
import { followKeys, sealCheck } from './master-keys.ts'
import { migrate, OPERATIONS_STEP, readSchema } from './migrations.ts'
import { parsePostgresUrl } from './postgres-url.ts'
import { refuseMoved } from './retire.ts'
import { createSealer } from './seal.ts'
import { createSqlStore } from './sql-store.ts'
import type { Store } from './store.ts'
import { orStoreUnavailable } from './trouble.ts'

/** What the store is given. */
export interface StoreDeps {
  readonly clock: Clock
  readonly random: Random
  /** 32 bytes, or how to read all that are held. */
  readonly masterKey: Uint8Array | ReadMasterKeys
  /**
   * Waits for writes that come at the same time, so that they share a commit, where that is worth
   * it; by default only those wait for each other that nothing but promises separates.
   */
  readonly gather?: () => Promise<void>
}

/**
 * Opens the store, makes it when it is new, and brings its schema to the newest version. A SQLite
 * file is readable by its owner alone; the folder is made by the caller. Only the driver that is
 * named is loaded.
 *
 * @param location `sqlite:PATH`, or a `postgres://` or `postgresql://` URL.
 * @throws AppError `wrong_master_key` before anything is changed, `state_dir_unusable` when the file
 * cannot be made or written, `store_unavailable` when the database cannot be used, `invalid_argument`
 * for another location, `failed_precondition` for a store that was moved away, `invalid_config` for a master key of another length.
 */
export async function openStore(deps: StoreDeps, location: string): Promise<Store> {
  const context = await openContext(deps, location)
  await orClosed(context, async () => {
    await prepare(context)
    await refuseMoved(context)
  })
  return createSqlStore(context)
}

/** An open database and the keys to it; its schema is as it was found. */
export async function openContext(deps: StoreDeps, location: string): Promise<StoreContext> {
  const { masterKey, clock, random } = deps
  const ring = await openKeyRing(
    typeof masterKey === 'function' ? masterKey : async () => [masterKey],
  )
  const database = await openDatabase(deps, location)
  return { database, ring, sealer: createSealer(ring, random), clock, random }
}

/** Closes the database again when it is not fit for use. */
export async function orClosed(
  { database }: StoreContext,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await orStoreUnavailable(database.location, work)
  } catch (error) {
    await database.db.destroy()
    throw error
  }
}

async function openDatabase(deps: StoreDeps, location: string): Promise<Database> {
  const { clock, random, gather = async () => {} } = deps
  if (/^sqlite:./.test(location)) {
    const { openSqlite } = await import('./sqlite.ts')
    return openSqlite(location.slice('sqlite:'.length), { clock, gather })
  }
  if (/^postgres(ql)?:\/\//.test(location) && URL.canParse(location)) {
    const { openPostgres } = await import('./postgres.ts')
    return openPostgres(parsePostgresUrl(new URL(location)), { clock, random })
  }
  throw new AppError('invalid_argument', 'The store is neither sqlite:PATH nor a postgres:// URL')
}

/** Makes the schema or brings it up, and seals with the key that the database names. */
export async function prepare(context: StoreContext): Promise<void> {
  // Before the schema is touched, because a wrong key must leave no trace.
  const { steps } = await readSchema(context.database)
  if (steps.size > 0) await followKeys(context, { hasRetiredKeys: steps.has(OPERATIONS_STEP) })
  await migrate(context.database)
  await sealCheck(context)
  await followKeys(context)
}
