import { rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { ReadMasterKeys } from '../store/key-ring.ts'
import type { Random } from '../system/random.ts'
import { readSecret, unusable } from './secret-file.ts'

const KEY_BYTES = 32
const KEYS_MAX = 8

/** The name of the key file in the state folder. */
export const MASTER_KEY_FILE = 'master.key'

/** Where the master keys come from: the environment, a file that was named, or the state folder's. */
export interface MasterKeyPlace {
  /** From the environment; null when not given. */
  readonly masterKey: Secret | null
  readonly masterKeyFile: string | null
}

/** A new master key as it stands in a file: base64 of 32 random bytes. */
export function makeMasterKey(random: Random): Secret {
  return new Secret(Buffer.from(random.bytes(KEY_BYTES)).toString('base64'))
}

/**
 * Reads the master keys from their place, each time anew: one a line, the newest last. Lines that begin
 * with `#` say something to people.
 *
 * The reading throws `state_dir_unusable` when the file cannot be read, `invalid_argument` when a line is
 * no key.
 */
export function masterKeysOf(folder: string, place: MasterKeyPlace): ReadMasterKeys {
  const { masterKey } = place
  if (masterKey !== null) return async () => parseKeys(masterKey, 'OPENSHELL_MASTER_KEY')
  const file = masterKeyFileOf(folder, place)
  return async () => parseKeys(await readSecret(file), file)
}

/** The file that holds the master keys, when none is in the environment. */
export function masterKeyFileOf(folder: string, place: MasterKeyPlace): string {
  return place.masterKeyFile ?? path.join(folder, MASTER_KEY_FILE)
}

/**
 * Adds a new key to a file, as its last line. Written beside and put in its place, so that a gateway
 * never reads half a line.
 *
 * @throws AppError `state_dir_unusable`, or `invalid_argument` when the file holds something else.
 */
export async function appendMasterKey(file: string, random: Random): Promise<void> {
  const standing = await readSecret(file)
  parseKeys(standing, file)
  const draft = `${file}.${Buffer.from(random.bytes(8)).toString('hex')}.new`
  const text = `${standing.reveal()}\n${makeMasterKey(random).reveal()}\n`
  try {
    await writeFile(draft, text, { mode: 0o600, flag: 'wx', flush: true })
    await rename(draft, file)
  } catch (cause) {
    throw unusable(file, cause)
  }
}

function parseKeys(text: Secret, source: string): readonly Uint8Array[] {
  const words = text
    .reveal()
    .split('\n')
    .filter(line => !line.startsWith('#'))
    .flatMap(line => line.split(/[\s,]+/))
    .filter(word => word !== '')
  if (words.length > KEYS_MAX) {
    throw new AppError('invalid_argument', `More than ${KEYS_MAX} master keys are in ${source}`, {
      hint: 'Take out those that "gateway rekey" has left behind',
    })
  }
  if (words.length === 0) throw noKey('The master key', source)
  return words.map((word, index) => {
    const bytes = Buffer.from(word, 'base64')
    if (bytes.byteLength === KEY_BYTES && /^[A-Za-z0-9+/]+={0,2}$/.test(word)) return bytes
    throw noKey(words.length === 1 ? 'The master key' : `Master key ${index + 1}`, source)
  })
}

function noKey(which: string, source: string): AppError {
  return new AppError('invalid_argument', `${which} in ${source} is not base64 of 32 bytes`, {
    hint: 'Make one with: openssl rand -base64 32',
  })
}
