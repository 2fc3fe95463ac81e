import { setTimeout as sleepFor } from 'node:timers/promises'
import { abortSignalOf } from '../system/cancellation.ts'
import { runCommandLine } from './command-line.ts'
import { logFormatFor, type OutputStream, type Terminal } from './terminal.ts'

/** Replaced by the release build; from the sources it is read from package.json. */
declare const OPENSHELL_VERSION: string | undefined

/** Variables that no child and no later reader of this process's environment may find. */
const SECRET_VARIABLES = [
  'OPENSHELL_MASTER_KEY',
  'OPENSHELL_STORE',
  'OPENSHELL_GATEWAY_TOKEN',
  'OPENSHELL_SANDBOX_TOKEN',
]

/** Runs `openshell` with this process's arguments, environment and streams. */
export async function main(): Promise<void> {
  const argv = process.argv.slice(2)
  // Before anything is awaited: the title takes the place of the arguments in the process list,
  // and with them of a secret that was given there.
  process.title = titleOf(argv)
  process.stdout.on('error', exitOnClosedPipe)
  process.exitCode = await runCommandLine(argv, {
    terminal: systemTerminal(),
    version: await readVersion(),
  })
}

/** The words before the first flag, as far as they can be names of commands. */
function titleOf(argv: readonly string[]): string {
  const end = argv.findIndex(word => !/^[a-z-]{1,16}$/.test(word) || word.startsWith('-'))
  const words = argv.slice(0, end === -1 ? undefined : end)
  return ['openshell', ...words.slice(0, 2)].join(' ')
}

function systemTerminal(): Terminal {
  const env = { ...process.env }
  for (const name of SECRET_VARIABLES) delete process.env[name]
  const mayColor = !env.NO_COLOR && env.TERM !== 'dumb'
  const out = outputStream(process.stdout, mayColor)
  const err = outputStream(process.stderr, mayColor)
  let stop: AbortSignal | null = null
  return {
    env,
    out,
    err,
    timeZone: undefined,
    clock: {
      nowMs: () => Date.now(),
      sleep: (ms, signal) =>
        sleepFor(ms, undefined, { signal: abortSignalOf(signal) }).catch((error: unknown) => {
          if (!signal.aborted) throw error
        }),
    },
    stopSignal() {
      stop ??= listenForStop()
      return stop
    },
    async openLog(level) {
      const { createLog } = await import('../system/real.ts')
      return createLog({ level, format: logFormatFor({ err }), write: err.write })
    },
  }
}

function outputStream(stream: NodeJS.WriteStream, mayColor: boolean): OutputStream {
  const isTerminal = stream.isTTY === true
  return {
    isTerminal,
    hasColor: isTerminal && mayColor,
    write: text => {
      stream.write(text)
    },
  }
}

/** After the first signal nobody listens any more, so that the second one kills. */
function listenForStop(): AbortSignal {
  const controller = new AbortController()
  const stop = () => {
    process.off('SIGINT', stop)
    process.off('SIGTERM', stop)
    controller.abort()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  return controller.signal
}

/** A reader such as `head` that has seen enough is no trouble. */
function exitOnClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
}

async function readVersion(): Promise<string> {
  if (typeof OPENSHELL_VERSION === 'string') return OPENSHELL_VERSION
  const { readFile } = await import('node:fs/promises')
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8')
  return JSON.parse(text).version
}

if (import.meta.main) await main()
