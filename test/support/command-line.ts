import type { TestContext } from 'node:test'
import { runCommandLine } from '../../src/cli/command-line.ts'
import type { Terminal } from '../../src/cli/terminal.ts'
import { silentLog } from '../../src/system/log.ts'

/** 2099-11-24 13:05:00 in Berlin: later than any machine, so that no call is late in a test. */
export const NOW_MS = Date.UTC(2099, 10, 24, 12, 5, 0)

/** What a command line left behind. */
export interface CommandResult {
  readonly code: number
  readonly out: string
  readonly err: string
}

/** The world that a command line meets in a test. */
export interface CommandWorld {
  readonly env?: Readonly<Record<string, string>>
  readonly isTerminal?: boolean
  readonly hasColor?: boolean
  readonly stop?: AbortSignal
  /** Called instead of waiting. */
  readonly onSleep?: (out: string) => void
  /** Sees each write to standard output. */
  readonly onWrite?: (out: string) => void
}

/**
 * Runs `openshell` in this process, in Berlin at {@link NOW_MS}, with a state directory that does
 * not exist and nothing else in its environment.
 */
export async function runOpenShell(
  argv: readonly string[],
  world: CommandWorld = {},
): Promise<CommandResult> {
  const written = { out: '', err: '' }
  const { isTerminal = false, hasColor = false } = world
  const terminal: Terminal = {
    env: { OPENSHELL_STATE_DIR: '/nonexistent/openshell', ...world.env },
    out: {
      isTerminal,
      hasColor,
      write: text => {
        written.out += text
        world.onWrite?.(written.out)
      },
    },
    err: {
      isTerminal,
      hasColor,
      write: text => {
        written.err += text
      },
    },
    timeZone: 'Europe/Berlin',
    clock: {
      nowMs: () => NOW_MS,
      sleep: async () => world.onSleep?.(written.out),
    },
    stopSignal: () => world.stop ?? new AbortController().signal,
    openLog: async () => silentLog,
  }
  const code = await runCommandLine(argv, { terminal, version: '1.2.3' })
  return { code, ...written }
}

/**
 * The next JSON line that a program writes to standard output itself, which it does when it is
 * ready. Everything else on it passes: the test runner reports there.
 */
export function nextJsonLine(t: TestContext): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  const write = process.stdout.write.bind(process.stdout)
  const mock = t.mock.method(process.stdout, 'write', (chunk: string | Uint8Array) => {
    if (typeof chunk !== 'string' || !chunk.startsWith('{"')) return write(chunk)
    mock.mock.restore()
    resolve(chunk)
    return true
  })
  return promise
}
