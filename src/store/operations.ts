import { existsSync } from 'node:fs'
import { AppError } from '../core/errors.ts'
import type { StoreContext } from './database.ts'
import { exportStore } from './export.ts'
import { importStore } from './import.ts'
import { followKeys, type GatewayAtWork, gatewaysAtWork, readKeysInUse } from './master-keys.ts'
import { NEWEST_STEP, readSchema } from './migrations.ts'
import { openContext, orClosed, prepare, type StoreDeps } from './open.ts'
import { countLeft, type RekeyReport, rekey } from './rekey.ts'
import { movedAtMs, reopenStore, retireStore } from './retire.ts'
import { orStoreUnavailable } from './trouble.ts'

/** What operators do to a store as a whole, while gateways are at work on it. */
export interface Operations {
  /** The path or URL as people may see it. */
  readonly location: string
  status(): Promise<StoreStatus>
  /** Gateways at work that do not hold the newest key of the ring yet. */
  gatewaysWithoutNewestKey(): Promise<readonly string[]>
  /** See `rekey`. */
  rekey(onProgress: (rewrapped: number) => void): Promise<RekeyReport>
  /** See `exportStore`. */
  exportTo(write: (text: string) => Promise<void>): Promise<number>
  /** See `retireStore`. */
  retire(): Promise<void>
  /** See `reopenStore`. */
  reopen(): Promise<boolean>
  /** See `importStore`. */
  importFrom(
    chunks: AsyncIterable<string>,
    options: { readonly isReplaced: boolean },
  ): Promise<number>
  close(): Promise<void>
}

/** How a store is. */
export interface StoreStatus {
  readonly location: string
  readonly schema: string
  /** The id of the master key that seals. */
  readonly masterKey: string
  /** The id of the newest key that the caller holds: what a rekey would seal with. */
  readonly newestMasterKey: string
  /** Ids of master keys that are being left: a rekey is not finished. */
  readonly leavingMasterKeys: readonly string[]
  /** Envelopes that are still under one of those. */
  readonly envelopesToRewrap: number
  readonly gateways: readonly GatewayAtWork[]
  /** When it was marked as moved away; null when it was not. */
  readonly movedAtMs: number | null
}

/**
 * Opens a store that exists, and changes nothing of it.
 *
 * @throws AppError as `openStore` does; `not_found` when there is no store, `failed_precondition` when
 * its schema is of an older version.
 */
export async function openOperations(deps: StoreDeps, location: string): Promise<Operations> {
  refuseMissing(location)
  const context = await openContext(deps, location)
  await orClosed(context, () => refuseOther(context))
  return operationsOver(context)
}

/** Opens a store to import into: it is made when it is new, and its schema is brought up. */
export async function openForImport(deps: StoreDeps, location: string): Promise<Operations> {
  const context = await openContext(deps, location)
  await orClosed(context, () => prepare(context))
  return operationsOver(context)
}

function operationsOver(context: StoreContext): Operations {
  const { database } = context
  const run = <T>(work: () => Promise<T>): Promise<T> => orStoreUnavailable(database.location, work)
  return {
    location: database.location,
    status: () => run(() => readStatus(context)),
    gatewaysWithoutNewestKey: () => run(() => withoutNewestKey(context)),
    rekey: onProgress => run(() => rekey(context, onProgress)),
    exportTo: write => run(() => exportStore(context, write)),
    retire: () => run(() => retireStore(context)),
    reopen: () => run(() => reopenStore(context)),
    importFrom: (chunks, options) => run(() => importStore(context, chunks, options)),
    close: () => run(() => database.db.destroy()),
  }
}

/** A driver would make the file. */
function refuseMissing(location: string): void {
  const file = /^sqlite:(.+)$/s.exec(location)?.[1]
  if (file === undefined || existsSync(file)) return
  throw new AppError('not_found', `There is no database "${file}"`, {
    hint: 'Name the one that the gateway uses, with --store or --state-dir',
  })
}

async function refuseOther(context: StoreContext): Promise<void> {
  const { location } = context.database
  const { newest } = await readSchema(context.database)
  if (newest === null) {
    throw new AppError('not_found', `The database "${location}" is empty`, {
      hint: 'Name the one that the gateway uses, with --store',
    })
  }
  if (newest < NEWEST_STEP) {
    throw new AppError(
      'failed_precondition',
      `The database "${location}" has schema ${newest}, this version works on ${NEWEST_STEP}`,
      { hint: 'Start a gateway of this version, which brings the schema up' },
    )
  }
  await followKeys(context)
}

async function readStatus(context: StoreContext): Promise<StoreStatus> {
  const { database, ring, clock } = context
  await followKeys(context)
  const said = await readKeysInUse(database.db, { hasRetiredKeys: true })
  return {
    location: database.location,
    schema: (await readSchema(database)).newest ?? '',
    masterKey: ring.sealing().id,
    newestMasterKey: ring.newest().id,
    leavingMasterKeys: said?.leaving ?? [],
    envelopesToRewrap: await countLeft(context),
    gateways: await gatewaysAtWork(database.db, clock.nowMs()),
    movedAtMs: await movedAtMs(context),
  }
}

async function withoutNewestKey({
  database,
  ring,
  clock,
}: StoreContext): Promise<readonly string[]> {
  const all = await gatewaysAtWork(database.db, clock.nowMs())
  return all.filter(one => !one.masterKeyIds.includes(ring.newest().id)).map(one => one.id)
}
