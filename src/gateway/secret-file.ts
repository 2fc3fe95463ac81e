import { readFile } from 'node:fs/promises'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'

/**
 * Reads a file that holds one secret, without the blanks around it.
 *
 * @throws AppError `state_dir_unusable` when it cannot be read or is empty.
 */
export async function readSecret(file: string): Promise<Secret> {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw unusable(file, cause)
  })
  const secret = new Secret(text.trim())
  if (!secret.isEmpty) return secret
  throw new AppError('state_dir_unusable', `Cannot use "${file}": it is empty`, {
    hint: 'Put back what was in it, or remove it together with the database that it belongs to',
  })
}

/** The error for a file or folder of the gateway's own that cannot be used. */
export function unusable(place: string, cause: unknown): AppError {
  const reason = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : ''
  return new AppError('state_dir_unusable', `Cannot use "${place}"${reason}`, {
    cause,
    hint: 'Make it readable and its folder writable for the gateway, or name others with --state-dir and --master-key-file',
  })
}
