import { createHash, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import { AppError } from '../core/errors.ts'

/** How long a master key is, and a data key. */
export const KEY_BYTES = 32

/** A master key, and what it is called in the database. */
export interface MasterKey {
  /** Eight hexadecimal digits that tell nothing about the key. */
  readonly id: string
  readonly key: KeyObject
}

/** Reads the master keys that this program is given, the newest last. */
export type ReadMasterKeys = () => Promise<readonly Uint8Array[]>

/**
 * The master keys that this program holds: all of them open, one of them seals. Which one that is, the
 * database says, so that all gateways change over at the same instant.
 */
export interface KeyRing {
  /** The oldest first. */
  ids(): readonly string[]
  newest(): MasterKey
  find(id: string): MasterKey | null
  sealing(): MasterKey
  /** Whether the database says that no envelope under this key is left. */
  isEmptied(id: string): boolean
  /**
   * Takes over what the database says.
   *
   * @throws AppError `wrong_master_key` when a key that is needed is not held; nothing is changed then.
   */
  follow(said: KeysInUse): void
  /**
   * Takes over what the program is given now. The key that seals stays, even if it is not given any more.
   *
   * @throws AppError what reading throws; the ring is as it was then.
   */
  reload(): Promise<void>
}

/** What a database says about its master keys. */
export interface KeysInUse {
  /** The key that seals. */
  readonly sealing: string
  /** Keys that sealed before, and of whose envelopes some are left. */
  readonly leaving: readonly string[]
  /** Keys that sealed before, and of whose envelopes none is left. */
  readonly emptied: readonly string[]
}

/**
 * Reads the ring. The newest key seals until a database says otherwise.
 *
 * @throws AppError what reading throws; `invalid_config` for a key that does not have 32 bytes, or none.
 */
export async function openKeyRing(read: ReadMasterKeys): Promise<KeyRing> {
  let held = toRing(await read())
  let sealing = newestOf(held)
  let emptied: ReadonlySet<string> = new Set()
  return {
    ids: () => [...held.keys()],
    newest: () => newestOf(held),
    find: id => held.get(id) ?? null,
    sealing: () => sealing,
    isEmptied: id => emptied.has(id),
    follow(said) {
      const next = held.get(said.sealing)
      const missing = [said.sealing, ...said.leaving].find(id => !held.has(id))
      if (next === undefined || missing !== undefined) throw notHeld(said, [...held.keys()])
      sealing = next
      emptied = new Set(said.emptied)
    },
    async reload() {
      const given = toRing(await read())
      held = given.has(sealing.id) ? given : new Map([[sealing.id, sealing], ...given])
    },
  }
}

function toRing(keys: readonly Uint8Array[]): ReadonlyMap<string, MasterKey> {
  if (keys.length === 0) throw new AppError('invalid_config', 'There is no master key')
  return new Map(
    keys.map(bytes => {
      if (bytes.length !== KEY_BYTES) {
        throw new AppError(
          'invalid_config',
          `The master key has ${bytes.length} bytes, ${KEY_BYTES} are needed`,
        )
      }
      const key = createSecretKey(bytes)
      const id = masterKeyId(key)
      return [id, { id, key }] as const
    }),
  )
}

function newestOf(ring: ReadonlyMap<string, MasterKey>): MasterKey {
  const newest = [...ring.values()].at(-1)
  if (newest === undefined) throw new RangeError('A ring has at least one key')
  return newest
}

/** Names a master key without telling anything about it: a hash of a key derived from it. */
function masterKeyId(key: KeyObject): string {
  const derived = hkdfSync('sha256', key, '', 'openshell master key id v1', KEY_BYTES)
  return createHash('sha256').update(Buffer.from(derived)).digest('hex').slice(0, 8)
}

function notHeld(said: KeysInUse, held: readonly string[]): AppError {
  const needed = [said.sealing, ...said.leaving].join(' and ')
  const advice =
    said.leaving.length === 0
      ? 'give the master key that this database is sealed with'
      : 'a rekey is not finished, so both keys are needed until "gateway rekey" is done'
  return new AppError('wrong_master_key', `The master key ${needed} is not held`, {
    hint: `It takes master key ${needed}, held is ${held.join(', ')}: ${advice}`,
  })
}
