import { styleText } from 'node:util'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'

/** Standard output or standard error. */
export interface OutputStream {
  readonly isTerminal: boolean
  readonly hasColor: boolean
  write(text: string): void
}

/** Everything outside that a command may touch, handed in by `main.ts` or by a test. */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly out: OutputStream
  readonly err: OutputStream
  /** The reader's time zone, as IANA names it; undefined is the machine's, which is slow to ask. */
  readonly timeZone: string | undefined
  readonly clock: Pick<Clock, 'nowMs' | 'sleep'>
  /**
   * Aborts at the first SIGINT or SIGTERM; the second one kills. Until a command asks for it, the
   * first one kills.
   */
  stopSignal(): AbortSignal
  /** A log on standard error: for people on a terminal, as JSON elsewhere. */
  openLog(level: 'debug' | 'info' | 'warn' | 'error'): Promise<Log>
}

/** How a piece of text stands out, where the stream shows colour. */
export type Emphasis = 'red' | 'green' | 'yellow' | 'bold' | 'dim'

/** Colours `text` if the stream shows colour. */
export function paint(stream: OutputStream, emphasis: Emphasis, text: string): string {
  return stream.hasColor ? styleText(emphasis, text, { validateStream: false }) : text
}

/** Writes one line to standard output. */
export function printLine(terminal: Terminal, line: string): void {
  terminal.out.write(`${line}\n`)
}

/** Writes one line to standard error: what is not the answer itself. */
export function noteLine(terminal: Terminal, line: string): void {
  terminal.err.write(`${line}\n`)
}

/** `pretty` where a person reads along, `json` where a program does. */
export function logFormatFor(terminal: Pick<Terminal, 'err'>): 'json' | 'pretty' {
  return terminal.err.isTerminal ? 'pretty' : 'json'
}

/** Writes `✓ …`: a change that was made. */
export function printDone(terminal: Terminal, text: string): void {
  printLine(terminal, `${paint(terminal.out, 'green', '✓')} ${text}`)
}

/** Text from elsewhere without control characters, so that it cannot steer a terminal. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is taken out
  return text.replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')
}
