import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'

const PORT_DEFAULT = 5432
const CONNECTIONS_DEFAULT = 10
const CONNECTIONS_MAX = 100
const CONNECT_TIMEOUT_SECONDS_DEFAULT = 5
const CONNECT_TIMEOUT_SECONDS_MAX = 60

const SSL_MODES = ['disable', 'require', 'verify-ca', 'verify-full'] as const

/** What may stand behind the `?`. Anything else is refused: a misspelt `sslmode` must not pass for none. */
const PARAMETERS = [
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'connect_timeout',
  'password_file',
  'pool_max',
  'host',
]

/** Where a PostgreSQL is and how to get in. */
export interface PostgresPlace {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  /** Read at each connection, so that a file may be replaced; undefined without one. */
  readonly password: (() => Secret) | undefined
  /** False speaks plainly. What is asked for is what is spoken, or there is no connection. */
  readonly ssl: false | ConnectionOptions
  readonly connectTimeoutMs: number
  readonly connectionsMax: number
  /** As people may see it: without the password. */
  readonly shown: string
}

/**
 * Reads `postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?…]` with libpq's names: `sslmode` (`disable`,
 * `require`, `verify-ca`, `verify-full`), `sslrootcert`, `sslcert`, `sslkey`, `connect_timeout` in
 * seconds, `host` for a folder with a socket; and our own: `password_file`, and `pool_max`, the most
 * connections (default 10). Without `sslmode` a server on this machine is spoken to plainly, any other as
 * with `verify-full`. libpq's `prefer` and `allow` are refused: they let whoever is in between choose.
 *
 * @throws AppError `invalid_argument`, without the password.
 */
export function parsePostgresUrl(url: URL): PostgresPlace {
  const given = new Map(url.searchParams)
  for (const name of given.keys()) {
    if (!PARAMETERS.includes(name)) {
      throw wrong(`"${name}" is not a parameter of the store's URL`, `Use ${PARAMETERS.join(', ')}`)
    }
  }
  const host = given.get('host') ?? url.hostname.replace(/^\[(.*)\]$/, '$1')
  const user = decodeURIComponent(url.username)
  const database = decodeURIComponent(url.pathname.slice(1))
  if (host === '' || user === '' || database === '') {
    throw wrong('The store’s URL lacks a user, a host or a database', FORM_HINT)
  }
  const seconds = given.get('connect_timeout')
  const connections = given.get('pool_max')
  return {
    ...{ host, user, database, port: url.port === '' ? PORT_DEFAULT : Number(url.port) },
    password: passwordOf(url, given.get('password_file')),
    ssl: sslOf(host, given),
    connectTimeoutMs:
      1_000 *
      (seconds === undefined
        ? CONNECT_TIMEOUT_SECONDS_DEFAULT
        : wholeNumber('connect_timeout', seconds, CONNECT_TIMEOUT_SECONDS_MAX)),
    connectionsMax:
      connections === undefined
        ? CONNECTIONS_DEFAULT
        : wholeNumber('pool_max', connections, CONNECTIONS_MAX),
    shown: `${url.protocol}//${url.username}@${url.host}${url.pathname}`,
  }
}

const FORM_HINT = 'It is postgres://USER@HOST:PORT/DATABASE?password_file=PATH'

function passwordOf(url: URL, file: string | undefined): PostgresPlace['password'] {
  if (file !== undefined) return () => new Secret(readText(file, 'password_file').trim())
  if (url.password === '') return undefined
  const password = new Secret(decodeURIComponent(url.password))
  return () => password
}

function sslOf(host: string, given: ReadonlyMap<string, string>): PostgresPlace['ssl'] {
  const text = given.get('sslmode') ?? (isOfThisMachine(host) ? 'disable' : 'verify-full')
  const mode = SSL_MODES.find(one => one === text)
  if (mode === undefined) {
    throw wrong(`sslmode=${text} is not supported`, `Use one of ${SSL_MODES.join(', ')}`)
  }
  const [ca, cert, key] = ['sslrootcert', 'sslcert', 'sslkey'].map(name => {
    const file = given.get(name)
    return file === undefined ? undefined : readText(file, name)
  })
  if (mode === 'disable') {
    if ((ca ?? cert ?? key) === undefined) return false
    throw wrong('sslmode=disable does not go with certificates', 'Say sslmode=verify-full')
  }
  if (mode === 'verify-ca' && ca === undefined) {
    throw wrong('sslmode=verify-ca needs sslrootcert', 'Name the file with the CA’s certificate')
  }
  const own = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  }
  // As libpq has it: whoever names a CA wants it looked at.
  const isVerified = mode !== 'require' || ca !== undefined
  return {
    ...own,
    rejectUnauthorized: isVerified,
    ...(mode === 'verify-full' ? {} : { checkServerIdentity: () => undefined }),
  }
}

function isOfThisMachine(host: string): boolean {
  if (host.startsWith('/') || host === 'localhost') return true
  return host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

function readText(file: string, parameter: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : ''
    const message = `Cannot read the ${parameter} of the store, "${file}"${code}`
    throw new AppError('invalid_argument', message, { cause })
  }
}

function wholeNumber(name: string, text: string, max: number): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= 1 && value <= max) return value
  throw wrong(`${name} in the store's URL is not a number from 1 to ${max}`, FORM_HINT)
}

function wrong(message: string, hint: string): AppError {
  return new AppError('invalid_argument', message, { hint })
}
