import { createReadStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import process from 'node:process'
import { AppError } from '../../core/errors.ts'
import {
  type Operations,
  openForImport,
  openOperations,
  type StoreStatus,
} from '../../store/operations.ts'
import type { RekeyReport } from '../../store/rekey.ts'
import { realClock, realRandom } from '../../system/real.ts'
import {
  appendMasterKey,
  type MasterKeyPlace,
  masterKeyFileOf,
  masterKeysOf,
} from '../master-key-file.ts'
import { PRESENCE_MS } from '../presence.ts'

/** For how long a rekey waits until gateways have read their key file: three times its turn. */
const KEYS_WAIT_MS = 3 * PRESENCE_MS
const KEYS_PAUSE_MS = 500

/** Where the store is, and the keys to it; the same as `gateway start` is given. */
export interface StorePlace extends MasterKeyPlace {
  /** `sqlite:PATH` or `postgres://…`; null means the file in the state folder. */
  readonly store: string | null
  readonly stateDir: string
}

/** What a rekey tells while it runs. */
export interface RekeyOptions extends StorePlace {
  /** Whether a new key is made and added to the key file first. */
  readonly isKeyMade: boolean
  readonly onWait: (gateways: readonly string[]) => void
  readonly onProgress: (rewrapped: number) => void
}

/** See `openshell store status`. */
export async function readStoreStatus(place: StorePlace): Promise<StoreStatus> {
  return withOperations(place, operations => operations.status())
}

/**
 * See `openshell gateway rekey`.
 *
 * @throws AppError as `rekey` does; `invalid_argument` when a key is to be made and the environment holds it.
 */
export async function runRekey(options: RekeyOptions): Promise<RekeyReport> {
  if (options.isKeyMade) await makeKey(options)
  return withOperations(options, async operations => {
    await waitForGateways(operations, options.onWait)
    return operations.rekey(options.onProgress)
  })
}

/** Where an export goes to or comes from: a file, or standard output and input. */
type Place = string | null

/** See `openshell store export`; answers the number of rows. */
export async function runExport(
  place: StorePlace,
  options: { readonly file: Place; readonly isRetired: boolean },
): Promise<number> {
  return withOperations(place, async operations => {
    const work = async (write: (text: string) => Promise<void>): Promise<number> => {
      if (options.isRetired) await operations.retire()
      return operations.exportTo(write)
    }
    return options.file === null ? work(writeOut) : writeWhole(options.file, work)
  })
}

/** See `openshell store import`; answers the number of rows. */
export async function runImport(
  place: StorePlace,
  options: { readonly file: Place; readonly isReplaced: boolean },
): Promise<number> {
  const operations = await openForImport(depsOf(place), locationOf(place))
  try {
    const source = options.file === null ? process.stdin : createReadStream(options.file)
    return await operations.importFrom(source.setEncoding('utf8'), options).catch(cause => {
      throw unreadable(options.file, cause)
    })
  } finally {
    await operations.close()
  }
}

/** See `openshell store reopen`; answers whether the store was marked as moved away. */
export async function runReopen(place: StorePlace): Promise<boolean> {
  return withOperations(place, operations => operations.reopen())
}

async function writeOut(text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    process.stdout.write(text, error => (error ? reject(error) : resolve()))
  })
}

/** Under another name until it is whole, and readable by its owner alone. */
async function writeWhole<T>(
  file: string,
  work: (write: (text: string) => Promise<void>) => Promise<T>,
): Promise<T> {
  const draft = `${file}.part`
  try {
    await rm(draft, { force: true })
    const handle = await open(draft, 'wx', 0o600)
    try {
      const answer = await work(text => handle.appendFile(text))
      await handle.sync()
      await rename(draft, file)
      return answer
    } finally {
      await handle.close()
    }
  } catch (error) {
    await rm(draft, { force: true })
    throw unreadable(file, error)
  }
}

/** A file that cannot be read or written is the operator's trouble, not the database's. */
function unreadable(file: Place, cause: unknown): unknown {
  const inner = cause instanceof AppError ? cause.cause : cause
  if (!(inner instanceof Error && 'syscall' in inner && 'path' in inner)) return cause
  return new AppError('invalid_argument', `Cannot use the file "${file}": ${inner.message}`, {
    cause: inner,
  })
}

/** Makes a key, unless one is there that has not taken over yet: a rekey that was cut off goes on with it. */
async function makeKey(options: RekeyOptions): Promise<void> {
  if (options.masterKey !== null) {
    throw new AppError(
      'invalid_argument',
      'The master key is in OPENSHELL_MASTER_KEY, not in a file',
      {
        hint: 'Add a key there yourself, behind a comma, and start the gateways again',
      },
    )
  }
  // Only to a file that opens this store.
  const status = await readStoreStatus(options)
  if (status.newestMasterKey !== status.masterKey || status.leavingMasterKeys.length > 0) return
  await appendMasterKey(masterKeyFileOf(options.stateDir, options), realRandom)
}

/** Gateways read their key file in turns; those that do not in time are named by the rekey. */
async function waitForGateways(
  operations: Operations,
  onWait: RekeyOptions['onWait'],
): Promise<void> {
  const { signal } = new AbortController()
  const deadlineMs = realClock.monotonicMs() + KEYS_WAIT_MS
  for (let told = ''; realClock.monotonicMs() < deadlineMs; ) {
    const waitingFor = await operations.gatewaysWithoutNewestKey()
    if (waitingFor.length === 0) return
    if (told !== waitingFor.join()) onWait(waitingFor)
    told = waitingFor.join()
    await realClock.sleep(KEYS_PAUSE_MS, signal)
  }
}

async function withOperations<T>(
  place: StorePlace,
  work: (operations: Operations) => Promise<T>,
): Promise<T> {
  const operations = await openOperations(depsOf(place), locationOf(place))
  try {
    return await work(operations)
  } finally {
    await operations.close()
  }
}

function locationOf(place: StorePlace): string {
  return place.store ?? `sqlite:${path.join(place.stateDir, 'gateway.db')}`
}

function depsOf(place: StorePlace) {
  return {
    clock: realClock,
    random: realRandom,
    masterKey: masterKeysOf(place.stateDir, place),
  }
}
