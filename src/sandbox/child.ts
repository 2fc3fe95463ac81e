import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import type { Environment } from './environment.ts'

/** Shells' exit codes for a command that cannot run. */
const NOT_FOUND = 127
const NOT_EXECUTABLE = 126
/** A child that a signal ended exits with this plus the signal's number. */
const SIGNAL_BASE = 128

/** Signals that a person or a supervisor sends to a program in the foreground. */
const FORWARDED = ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGUSR2'] as const

/** A signal that is handed on to the child. */
export type ForwardedSignal = (typeof FORWARDED)[number]

/** What running a child needs from its surroundings. */
export interface ChildDeps {
  /** Hears a signal to this process until the returned function is called. */
  readonly onSignal: (signal: ForwardedSignal, listener: () => void) => () => void
  /** Whether a terminal is attached: it sends its signals to the child itself. */
  readonly isTerminal: boolean
  readonly complain: (line: string) => void
}

/** Runs a command with this process's terminal and returns its exit code, as a shell would. */
export function runChild(
  deps: ChildDeps,
  command: readonly string[],
  environment: Environment,
): Promise<number> {
  const [program = '', ...args] = command
  const { promise, resolve } = Promise.withResolvers<number>()
  const child = spawn(program, args, { stdio: 'inherit', env: environment })
  const unhear = FORWARDED.map(signal =>
    deps.onSignal(signal, () => {
      // Ctrl-C and Ctrl-\ reach the terminal's whole group; twice would mean something else.
      const isTerminals = signal === 'SIGINT' || signal === 'SIGQUIT'
      if (!(deps.isTerminal && isTerminals)) child.kill(signal)
    }),
  )
  child.once('error', error => {
    const code = 'code' in error ? error.code : ''
    deps.complain(`openshell: cannot run "${program}": ${reasonOf(code)}`)
    resolve(code === 'ENOENT' ? NOT_FOUND : NOT_EXECUTABLE)
  })
  child.once('exit', (code, signal) => {
    resolve(signal === null ? (code ?? 0) : SIGNAL_BASE + constants.signals[signal])
  })
  return promise.finally(() => {
    for (const stop of unhear) stop()
  })
}

function reasonOf(code: unknown): string {
  if (code === 'ENOENT') return 'command not found'
  if (code === 'EACCES') return 'permission denied'
  return String(code)
}
