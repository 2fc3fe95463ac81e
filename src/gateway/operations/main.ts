import path from 'node:path'
import { AppError } from '../../core/errors.ts'
import { type Operations, openOperations, type StoreStatus } from '../../store/operations.ts'
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
  await withOperations(options, async () => undefined)
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
  const location = place.store ?? `sqlite:${path.join(place.stateDir, 'gateway.db')}`
  const masterKey = masterKeysOf(place.stateDir, place)
  const deps = { clock: realClock, random: realRandom, masterKey }
  const operations = await openOperations(deps, location)
  try {
    return await work(operations)
  } finally {
    await operations.close()
  }
}
