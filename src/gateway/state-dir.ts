import { constants } from 'node:fs'
import { access, chmod, link, mkdir, stat, unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { ReadMasterKeys } from '../store/key-ring.ts'
import type { Random } from '../system/random.ts'
import {
  MASTER_KEY_FILE,
  type MasterKeyPlace,
  makeMasterKey,
  masterKeysOf,
} from './master-key-file.ts'
import { readSecret, unusable } from './secret-file.ts'
import { uuid } from './uuid.ts'

const TOKEN_BYTES = 32

/** The gateway's own files: owner-only, made on first start. */
export interface StateDir {
  readonly path: string
  readonly readMasterKeys: ReadMasterKeys
  /** The file of the master key when it was made just now; else null. */
  readonly newKeyFile: string | null
  readonly adminToken: Secret
  /** Names the folder in the store; gateways that share it are told apart by their address. */
  readonly gatewayId: string
}

/** Where the gateway's own secrets are, when they are not in the state folder. */
export interface StateDirOptions extends MasterKeyPlace {
  readonly random: Random
  /** Shared by gateways behind one address; null means a token of the folder's own. */
  readonly adminTokenFile: string | null
}

/**
 * Opens the state folder (0700), making the master key and the admin token (0600) where they do not
 * exist yet. A master key or token that was handed in wins over the folder's own.
 *
 * @throws AppError `state_dir_unusable` or `invalid_argument`.
 */
export async function openStateDir(folder: string, options: StateDirOptions): Promise<StateDir> {
  const { random, adminTokenFile } = options
  await makeFolder(folder)
  const keyFile = path.join(folder, MASTER_KEY_FILE)
  let newKeyFile: string | null = null
  if (options.masterKey === null && options.masterKeyFile === null) {
    const make = () => {
      newKeyFile = keyFile
      return makeMasterKey(random)
    }
    await readOrMake(keyFile, { make, random })
  }
  const readMasterKeys = masterKeysOf(folder, options)
  await readMasterKeys()
  const makeToken = () => new Secret(Buffer.from(random.bytes(TOKEN_BYTES)).toString('base64url'))
  const makeId = () => new Secret(uuid(random))
  return {
    path: folder,
    readMasterKeys,
    newKeyFile,
    adminToken:
      adminTokenFile === null
        ? await readOrMake(path.join(folder, 'admin.token'), { make: makeToken, random })
        : await readSecret(adminTokenFile),
    gatewayId: (
      await readOrMake(path.join(folder, 'gateway.id'), { make: makeId, random })
    ).reveal(),
  }
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK)
    const { mode } = await stat(folder)
    if ((mode & constants.S_IWOTH) !== 0) throw sharedByAll(folder)
    if ((mode & 0o077) !== 0) await chmod(folder, 0o700)
  } catch (error) {
    throw error instanceof AppError ? error : unusable(folder, error)
  }
}

/** Taking `/tmp` away from everyone else is not what a person means by naming it. */
function sharedByAll(folder: string): AppError {
  return new AppError('state_dir_unusable', `Cannot use "${folder}": every user may write in it`, {
    hint: "Name a folder of the gateway's own with --state-dir, or OPENSHELL_STATE_DIR",
  })
}

async function readOrMake(
  file: string,
  { make, random }: { readonly make: () => Secret; readonly random: Random },
): Promise<Secret> {
  try {
    return await readSecret(file)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  // Named by chance: what a killed gateway left behind must not stop the next one.
  const draft = `${file}.${Buffer.from(random.bytes(8)).toString('hex')}.new`
  await writeOnce(file, { draft, secret: make() })
  return readSecret(file)
}

/** Written beside and linked into place: a crash leaves no half a key, and the first writer wins. */
async function writeOnce(
  file: string,
  { draft, secret }: { readonly draft: string; readonly secret: Secret },
): Promise<void> {
  try {
    await writeFile(draft, `${secret.reveal()}\n`, { mode: 0o600, flag: 'wx', flush: true })
    await link(draft, file).catch((error: unknown) => {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    })
    await unlink(draft)
  } catch (cause) {
    throw unusable(file, cause)
  }
}

function isMissing(error: unknown): boolean {
  const cause = error instanceof AppError ? error.cause : null
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
}
