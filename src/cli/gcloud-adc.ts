import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { AppError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import { type ProviderInput, readCredentialFile } from './assignment.ts'
import type { Terminal } from './terminal.ts'
import { UsageCheck } from './usage.ts'

/** The provider type that takes Google's Application Default Credentials. */
export const GCLOUD_TYPE = 'google-vertex-ai'

const KEY = 'GOOGLE_APPLICATION_CREDENTIALS_JSON'
const FILE_NAME = 'application_default_credentials.json'

/** Variables of other programs that say which project and location to use, best first. */
const HINTS: readonly (readonly [config: string, variables: readonly string[]])[] = [
  ['VERTEX_AI_PROJECT_ID', ['ANTHROPIC_VERTEX_PROJECT_ID', 'GOOGLE_CLOUD_PROJECT']],
  ['VERTEX_AI_REGION', ['CLOUD_ML_REGION']],
]

/** What gcloud left on this machine. */
export interface GcloudCredentials extends ProviderInput {
  /** What was used, for the user to see: the file, and where the configuration comes from. */
  readonly notes: readonly string[]
}

/**
 * Reads the Application Default Credentials where Google's own libraries look for them:
 * `GOOGLE_APPLICATION_CREDENTIALS`, else `$CLOUDSDK_CONFIG`, else `~/.config/gcloud`. What `config` says is
 * not guessed.
 *
 * @throws AppError `invalid_usage` when there is no such file, or none that can be read.
 */
export function readGcloudCredentials(
  terminal: Terminal,
  config: ReadonlyMap<string, string>,
): GcloudCredentials {
  const file = credentialFile(terminal.env)
  const check = new UsageCheck()
  const secret = readCredentialFile(file, { label: '--from-gcloud-adc', check })
  check.finish()
  const fields = secret === null ? null : parseFields(secret)
  const type = fields?.get('type')
  if (secret === null || fields === null || typeof type !== 'string') {
    throw new AppError('invalid_usage', `"${file}" holds no Google credentials`, {
      hint: LOGIN_HINT,
    })
  }
  const guessed = guessConfig(terminal.env, { config, fields })
  return {
    credentials: new Map([[KEY, secret]]),
    config: new Map([...guessed].map(([name, { value }]) => [name, value])),
    notes: [
      `using ${file} (${type}) as ${KEY}`,
      ...[...guessed].map(([name, { value, source }]) => `${name}=${value} (from ${source})`),
    ],
  }
}

const LOGIN_HINT = 'Run "gcloud auth application-default login" first'

interface Guess {
  readonly value: string
  readonly source: string
}

function credentialFile(env: Terminal['env']): string {
  const named = env.GOOGLE_APPLICATION_CREDENTIALS || ''
  if (named !== '') return named
  const folder = env.CLOUDSDK_CONFIG || path.join(env.HOME || homedir(), '.config', 'gcloud')
  const file = path.join(folder, FILE_NAME)
  if (existsSync(file)) return file
  throw new AppError('invalid_usage', `There are no gcloud credentials at "${file}"`, {
    hint: LOGIN_HINT,
  })
}

/** Project and location, unless the user gave them: a base URL names its location itself. */
function guessConfig(
  env: Terminal['env'],
  {
    config,
    fields,
  }: {
    readonly config: ReadonlyMap<string, string>
    readonly fields: ReadonlyMap<string, unknown>
  },
): ReadonlyMap<string, Guess> {
  const guesses = new Map<string, Guess>()
  if (config.has('VERTEX_BASE_URL')) return guesses
  const quotaProject = fields.get('quota_project_id')
  if (typeof quotaProject === 'string' && quotaProject !== '') {
    guesses.set('VERTEX_AI_PROJECT_ID', { value: quotaProject, source: 'quota_project_id' })
  }
  for (const [name, variables] of HINTS) {
    const source = variables.find(one => (env[one] ?? '') !== '')
    if (source !== undefined) guesses.set(name, { value: env[source] ?? '', source })
  }
  for (const name of config.keys()) guesses.delete(name)
  return guesses
}

function parseFields(secret: Secret): ReadonlyMap<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(secret.reveal())
    return typeof value === 'object' && value !== null ? new Map(Object.entries(value)) : null
  } catch (error) {
    // The parser's message would quote the file.
    if (error instanceof SyntaxError) return null
    throw error
  }
}
