import { constants } from 'node:fs'
import { access, chmod, link, mkdir, open, readFile, stat, unlink } from 'node:fs/promises'
import path from 'node:path'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { Random } from '../system/random.ts'

const KEY_BYTES = 32

/** The gateway's own files: owner-only, made on first start. */
export interface StateDir {
  readonly path: string
  readonly masterKey: Uint8Array
  readonly adminToken: Secret
}

/**
 * Opens the state folder (0700), making the master key and the admin token (0600) where they do not
 * exist yet. A master key that was handed in wins over the folder's own.
 *
 * @throws AppError `state_dir_unusable` or `invalid_argument`.
 */
export async function openStateDir(
  folder: string,
  options: {
    readonly random: Random
    /** Base64 of 32 bytes, from the environment; null when not given. */
    readonly masterKey: Secret | null
    readonly masterKeyFile: string | null
  },
): Promise<StateDir> {
  const { random } = options
  await makeFolder(folder)
  const keyFile = options.masterKeyFile ?? path.join(folder, 'master.key')
  const makeKey = () => new Secret(Buffer.from(random.bytes(KEY_BYTES)).toString('base64'))
  const makeToken = () => new Secret(Buffer.from(random.bytes(KEY_BYTES)).toString('base64url'))
  const masterKey =
    options.masterKey ??
    (options.masterKeyFile === null
      ? await readOrMake(keyFile, makeKey)
      : await readSecret(keyFile))
  return {
    path: folder,
    masterKey: decodeKey(masterKey, options.masterKey === null ? keyFile : 'OPENSHELL_MASTER_KEY'),
    adminToken: await readOrMake(path.join(folder, 'admin.token'), makeToken),
  }
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK)
    if (((await stat(folder)).mode & 0o077) !== 0) await chmod(folder, 0o700)
  } catch (cause) {
    throw unusable(folder, cause)
  }
}

async function readOrMake(file: string, make: () => Secret): Promise<Secret> {
  try {
    return await readSecret(file)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  await writeOnce(file, make())
  return readSecret(file)
}

/** Written beside and linked into place: a crash leaves no half a key, and the first writer wins. */
async function writeOnce(file: string, secret: Secret): Promise<void> {
  const draft = `${file}.${process.pid}.new`
  try {
    const handle = await open(draft, 'wx', 0o600)
    await handle.writeFile(`${secret.reveal()}\n`)
    await handle.sync()
    await handle.close()
    await link(draft, file).catch((error: unknown) => {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    })
    await unlink(draft)
  } catch (cause) {
    throw unusable(file, cause)
  }
}

async function readSecret(file: string): Promise<Secret> {
  try {
    return new Secret((await readFile(file, 'utf8')).trim())
  } catch (cause) {
    throw unusable(file, cause)
  }
}

function isMissing(error: unknown): boolean {
  const cause = error instanceof AppError ? error.cause : null
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT'
}

function decodeKey(key: Secret, source: string): Uint8Array {
  const bytes = Buffer.from(key.reveal(), 'base64')
  if (bytes.byteLength === KEY_BYTES && /^[A-Za-z0-9+/]+={0,2}$/.test(key.reveal())) return bytes
  throw new AppError('invalid_argument', `The master key in ${source} is not base64 of 32 bytes`, {
    hint: 'Make one with: openssl rand -base64 32',
  })
}

function unusable(place: string, cause: unknown): AppError {
  const reason = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : ''
  return new AppError('state_dir_unusable', `Cannot use "${place}"${reason}`, {
    cause,
    hint: 'Choose a folder that you can write with --state-dir, or OPENSHELL_STATE_DIR',
  })
}
