import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { open, realpath } from 'node:fs/promises'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { pino } from 'pino'
import type { Clock } from './clock.ts'
import type { Execute, ExecuteResult } from './execute.ts'
import type { Fetch } from './fetch.ts'
import type { Files } from './files.ts'
import type { Log, LogFields } from './log.ts'
import type { Random } from './random.ts'
import type { Vitals } from './vitals.ts'

const SLEEP_MS_MAX = 86_400_000

/** How fine the delay of the event loop is measured. */
const LOOP_RESOLUTION_MS = 20

/** The machine's own clocks. */
export const realClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep(ms, signal) {
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(wake, Math.min(Math.max(ms, 0), SLEEP_MS_MAX))
    function wake(): void {
      clearTimeout(timer)
      signal.removeEventListener('abort', wake)
      resolve()
    }
    signal.addEventListener('abort', wake, { once: true })
    if (signal.aborted) wake()
    return promise
  },
}

/** One turn of the event loop: what the sockets had ready has been read when it resolves. */
export function realTurn(): Promise<void> {
  return new Promise(resolve => void setImmediate(resolve))
}

/** Calls a listener when all that has come in with this turn of the event loop was looked at. */
export function atTurnEnd(listener: () => void): void {
  setImmediate(listener)
}

/** The machine's own chance. */
export const realRandom: Random = {
  fraction: () => Math.random(),
  bytes: count => randomBytes(count),
}

/**
 * HTTP by undici, which is loaded at the first call: it is half of the code that a router would load,
 * and a router asks no token endpoint.
 */
export const realFetch: Fetch = async request => {
  const { fetchByUndici } = await import('./undici-fetch.ts')
  return fetchByUndici(request)
}

/** The machine's files. */
export const realFiles: Files = {
  realPath: path => realpath(path),
  async read(path, bytesMax) {
    await using file = await open(path)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(bytesMax), 0, bytesMax, 0)
    return buffer.subarray(0, bytesRead)
  },
}

/** Programs, started without a shell and with no environment but what they are given. */
export const realExecute: Execute = ({ command, environment, signal, outputBytesMax }) => {
  const { promise, resolve, reject } = Promise.withResolvers<ExecuteResult>()
  const [file = '', ...args] = command
  const options = {
    env: Object.fromEntries(environment),
    maxBuffer: outputBytesMax,
    encoding: 'buffer',
    signal,
  } as const
  const child = execFile(file, args, options, (error, stdout) => {
    const wasStarted = child.pid !== undefined
    if (error !== null && !wasStarted) reject(error)
    else resolve({ code: child.exitCode, stdout })
  })
  return promise
}

/** Begins to watch this process. The watch costs no JavaScript and keeps no program alive. */
export function watchVitals(): Vitals {
  const delay = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS })
  delay.enable()
  return {
    residentBytes: () => process.memoryUsage.rss(),
    cpuSeconds() {
      const { user, system } = process.cpuUsage()
      return (user + system) / 1e6
    },
    loopDelayP99Seconds() {
      // The histogram holds the time between two ticks of a timer, of which the span is not delay.
      const delayMs = delay.percentile(99) / 1e6 - LOOP_RESOLUTION_MS
      delay.reset()
      return Math.max(delayMs, 0) / 1_000
    },
  }
}

/** How a program's log is written. */
export interface LogOptions {
  readonly format: 'json' | 'pretty'
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly write: (line: string) => void
}

/** A structured log, one line an event; `pretty` is for people at a terminal. */
export function createLog(options: LogOptions): Log {
  const stream = {
    write: (line: string) => options.write(options.format === 'json' ? line : prettyLine(line)),
  }
  const logger = pino(
    {
      level: options.level,
      base: null,
      messageKey: 'event',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
    },
    stream,
  )
  const at = (level: LogOptions['level']): Log['info'] =>
    logger.isLevelEnabled(level)
      ? (event, fields = {}) => logger[level](loggable(fields), event)
      : // What nobody reads is not put together first.
        () => {}
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

/** Errors become their messages and codes: a stack or a cause may quote what a peer sent. */
function loggable(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name,
      value instanceof Error ? describeError(value) : value,
    ]),
  )
}

function describeError(error: Error): string {
  const code = 'code' in error ? ` (${String(error.code)})` : ''
  return `${error.name}: ${error.message}${code}`
}

function prettyLine(line: string): string {
  const { time, level, event, ...fields }: Record<string, unknown> = JSON.parse(line)
  const clock = String(time).slice(11, 19)
  const rest = Object.entries(fields).map(([name, value]) => `${name}=${prettyValue(value)}`)
  return `${[clock, String(level).padEnd(5), event, ...rest].join(' ')}\n`
}

/** A text that could move a terminal's cursor or begin a line of its own is shown as JSON. */
function prettyValue(value: unknown): string {
  return typeof value === 'string' && !/\p{C}/u.test(value) ? value : JSON.stringify(value)
}
