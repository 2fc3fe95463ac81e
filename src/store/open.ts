import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { Clock } from '../system/clock.ts'
import type { Random } from '../system/random.ts'
import type { Database, StoreContext } from './database.ts'
import { getGatewaySecret, putGatewaySecret } from './gateway-secrets.ts'
import { hasSchema, migrate } from './migrations.ts'
import { createSealer } from './seal.ts'
import { createSqlStore } from './sql-store.ts'
import type { Store } from './store.ts'
import { orStoreUnavailable } from './trouble.ts'

/** The gateway secret that only the right master key opens. */
const CHECK_NAME = 'master-key-check'

/** What the store is given. */
interface StoreDeps {
  readonly clock: Clock
  readonly random: Random
  /** 32 bytes. */
  readonly masterKey: Uint8Array
}

/**
 * Opens the store, makes it when it is new, and brings its schema to the newest version. A SQLite
 * file is readable by its owner alone; the folder is made by the caller. Only the driver that is
 * named is loaded.
 *
 * @param location `sqlite:PATH`, or a `postgres://` or `postgresql://` URL.
 * @throws AppError `wrong_master_key` before anything is changed, `state_dir_unusable` when the file
 * cannot be made or written, `store_unavailable` when the database cannot be used, `invalid_argument`
 * for another location, `invalid_config` for a master key of another length.
 */
export async function openStore(deps: StoreDeps, location: string): Promise<Store> {
  const sealer = createSealer(deps.masterKey, deps.random)
  const database = await openDatabase(location, deps.clock)
  const context = { database, sealer, clock: deps.clock }
  try {
    await orStoreUnavailable(database.location, () => prepare(context))
  } catch (error) {
    await database.db.destroy()
    throw error
  }
  return createSqlStore(context)
}

async function openDatabase(location: string, clock: Clock): Promise<Database> {
  if (/^sqlite:./.test(location)) {
    const { openSqlite } = await import('./sqlite.ts')
    return openSqlite(location.slice('sqlite:'.length), clock)
  }
  if (/^postgres(ql)?:\/\//.test(location) && URL.canParse(location)) {
    const { openPostgres } = await import('./postgres.ts')
    return openPostgres(new URL(location))
  }
  throw new AppError('invalid_argument', 'The store is neither sqlite:PATH nor a postgres:// URL')
}

async function prepare(context: StoreContext): Promise<void> {
  // Before the schema is touched, because a wrong key must leave no trace.
  if (await hasSchema(context.database)) {
    await checkMasterKey(context, () => getGatewaySecret(context, CHECK_NAME))
  }
  await migrate(context.database)
  await checkMasterKey(context, () => putGatewaySecret(context, CHECK_NAME, new Secret(CHECK_NAME)))
}

async function checkMasterKey(
  { database }: StoreContext,
  read: () => Promise<Secret | null>,
): Promise<void> {
  try {
    await read()
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'wrong_master_key')) throw error
    const message = `The master key does not open the database "${database.location}"`
    throw new AppError('wrong_master_key', message, { hint: error.hint, cause: error })
  }
}
