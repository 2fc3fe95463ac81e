import { CommanderError } from 'commander'
import { AppError, type ErrorCode } from '../core/errors.ts'
import { noteLine, paint, printable, type Terminal } from './terminal.ts'

/** The exit codes of the command line. `sandbox run` passes its child's instead. */
export const EXIT = { done: 0, failed: 1, usage: 2, unreachable: 3, denied: 4 } as const

/** One of {@link EXIT}. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** The codes that do not end with 1, "refused or failed". */
const EXIT_OF: ReadonlyMap<ErrorCode, ExitCode> = new Map<ErrorCode, ExitCode>([
  ['invalid_usage', EXIT.usage],
  ['gateway_unreachable', EXIT.unreachable],
  ['unauthenticated', EXIT.denied],
  ['permission_denied', EXIT.denied],
])

/** Says on standard error what went wrong, never with a stack, and answers the exit code. */
export function reportError(terminal: Terminal, error: unknown): ExitCode {
  // Commander has said it already, or has shown the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage
  if (!(error instanceof AppError)) {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : 'an unknown value'
    noteLine(terminal, `${paint(terminal.err, 'red', 'internal error:')} ${printable(text)}`)
    return EXIT.failed
  }
  noteLine(terminal, `${paint(terminal.err, 'red', 'error:')} ${printable(error.message)}`)
  if (error.hint !== '') {
    noteLine(terminal, `${paint(terminal.err, 'dim', 'hint:')} ${printable(error.hint)}`)
  }
  return EXIT_OF.get(error.code) ?? EXIT.failed
}
