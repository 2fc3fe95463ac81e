import { constants } from 'node:fs'
import { access, chmod, link, mkdir, readFile, stat, unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { Random } from '../system/random.ts'
import { uuid } from './uuid.ts'

const KEY_BYTES = 32

/** The gateway's own files: owner-only, made on first start. */
export interface StateDir {
  readonly path: string
  readonly masterKey: Uint8Array
  readonly adminToken: Secret
  /** Names the folder in the store; gateways that share it are told apart by their address. */
  readonly gatewayId: string
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
      ? await readOrMake(keyFile, { make: makeKey, random })
      : await readSecret(keyFile))
  return {
    path: folder,
    masterKey: decodeKey(masterKey, options.masterKey === null ? keyFile : 'OPENSHELL_MASTER_KEY'),
    adminToken: await readOrMake(path.join(folder, 'admin.token'), { make: makeToken, random }),
    gatewayId: (
      await readOrMake(path.join(folder, 'gateway.id'), {
        make: () => new Secret(uuid(random)),
        random,
      })
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

async function readSecret(file: string): Promise<Secret> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw unusable(file, cause)
  })
  const secret = new Secret(text.trim())
  if (!secret.isEmpty) return secret
  throw new AppError('state_dir_unusable', `Cannot use "${file}": it is empty`, {
    hint: 'Put back what was in it, or remove it together with the database that it belongs to',
  })
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
    hint: 'Make it readable and its folder writable for the gateway, or name others with --state-dir and --master-key-file',
  })
}
