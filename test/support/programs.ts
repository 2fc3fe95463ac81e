import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'

const root = path.dirname(path.dirname(import.meta.dirname))

/** The released program, as `npm test` builds it. */
export const executable = path.join(root, 'dist', 'openshell.mjs')

/** How a command ended. */
export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A program that goes on running. */
export interface Running {
  readonly process: ChildProcess
  /** Everything that it has written so far. */
  output(): string
  /** Resolves with the first line of either stream that contains `text`. */
  line(text: string): Promise<string>
  signal(name: NodeJS.Signals): void
  /** Asks it to stop and waits until it has; resolves to its exit code. */
  stop(name?: NodeJS.Signals): Promise<number | null>
}

/** A folder of a test's own, and an environment that knows nothing of this machine's. */
export interface Place {
  readonly folder: string
  readonly environment: Readonly<Record<string, string>>
  remove(): void
}

/** Makes a place with a state folder and a home of its own. */
export function createPlace(): Place {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'openshell-test-'))
  return {
    folder,
    environment: {
      PATH: `${path.dirname(process.execPath)}:${process.env.PATH ?? ''}`,
      HOME: folder,
      OPENSHELL_STATE_DIR: path.join(folder, 'state'),
      XDG_CACHE_HOME: path.join(os.tmpdir(), 'openshell-test-cache'),
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** Runs a command of `openshell` to its end. */
export async function run(
  place: Place,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  const child = spawn(process.execPath, [executable, ...args], {
    cwd: place.folder,
    env: { ...place.environment, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', text => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', text => (stderr += text))
  const [code] = await once(child, 'close')
  return { code, stdout, stderr }
}

/** Starts a program of `openshell` that goes on running. */
export function start(
  place: Place,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Running {
  if (!existsSync(executable)) throw new Error('dist/ is not built: npm run build')
  const child = spawn(process.execPath, [executable, ...args], {
    cwd: place.folder,
    env: { ...place.environment, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const lines: string[] = []
  const waiters = new Set<(line: string) => void>()
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', line => {
      lines.push(line)
      for (const waiter of waiters) waiter(line)
    })
  }
  return {
    process: child,
    output: () => lines.join('\n'),
    line(text) {
      const known = lines.find(line => line.includes(text))
      if (known !== undefined) return Promise.resolve(known)
      const { promise, resolve, reject } = Promise.withResolvers<string>()
      waiters.add(line => line.includes(text) && resolve(line))
      child.once('close', code => reject(new Error(`ended with ${code}:\n${lines.join('\n')}`)))
      return promise
    },
    signal: name => child.kill(name),
    async stop(name = 'SIGTERM') {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode
      const closed = once(child, 'close')
      child.kill(name)
      const [code] = await closed
      return code
    },
  }
}

/** A loopback port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}
