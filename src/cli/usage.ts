import { formatSpan, parseDurationMs } from '../core/duration.ts'
import { isLoopback } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import type { ListenAddress } from '../core/listen.ts'
import { OUTPUT_FORMATS, type OutputFormat } from './output.ts'

/**
 * Reads flags and collects what is wrong with them, so that a person hears of all of it at once.
 * What a reader answers for a wrong flag is used by nobody: `finish` throws before.
 */
export class UsageCheck {
  readonly #problems: string[] = []

  /** Notes that something is wrong. `problem` names the flag and never quotes a secret. */
  add(problem: string): void {
    this.#problems.push(problem)
  }

  /** Runs a reader that throws `AppError`, and notes what it says. */
  attempt<T>(read: () => T, otherwise: T): T {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      this.add(error.message)
      return otherwise
    }
  }

  required(flag: string, text: string | undefined): string {
    if (text === undefined || text === '') this.add(`${flag} is required`)
    return text ?? ''
  }

  oneOf<T extends string>(flag: string, text: string, choices: readonly [T, ...T[]]): T {
    const choice = choices.find(one => one === text)
    if (choice === undefined) this.add(`${flag} takes ${choices.join(', ')}, not "${text}"`)
    return choice ?? choices[0]
  }

  outputFormat(text: string): OutputFormat {
    const format = OUTPUT_FORMATS.find(one => one === text)
    if (format === undefined) this.add(`-o takes ${OUTPUT_FORMATS.join(', ')}, not "${text}"`)
    return format ?? 'table'
  }

  /** A span such as `10m`, `20s`, `500ms` or bare seconds, within limits. */
  durationMs(
    flag: string,
    text: string,
    limits: { readonly minMs: number; readonly maxMs: number },
  ): number {
    const spanMs = parseDurationMs(text)
    if (spanMs === null) {
      this.add(`${flag} takes a span such as 10m, 20s or 500ms, not "${text}"`)
    } else if (spanMs < limits.minMs || spanMs > limits.maxMs) {
      const range = `${formatSpan(limits.minMs)} to ${formatSpan(limits.maxMs)}`
      this.add(`${flag} takes ${range}, not "${text}"`)
    }
    return spanMs ?? 0
  }

  /** `HOST:PORT`, `[IPV6]:PORT` or `:PORT` and bare `PORT` on 127.0.0.1; port 0 is any free one. */
  listenAddress(flag: string, text: string): ListenAddress {
    const match = /^(?:(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]*):)?(\d{1,5})$/.exec(text)
    const port = Number(match?.[2] ?? 0)
    if (match === null || port > 65_535) this.add(`${flag} takes HOST:PORT, not "${text}"`)
    const host = match?.[1] ?? ''
    return { host: host === '' ? '127.0.0.1' : host.replace(/^\[|\]$/g, ''), port }
  }

  /** An `http:` or `https:` address of a server, without a path. */
  serverUrl(flag: string, text: string): URL {
    const url = URL.parse(text)
    const isServer =
      url !== null && /^https?:$/.test(url.protocol) && url.pathname === '/' && url.username === ''
    if (!isServer) this.add(`${flag} takes http://HOST:PORT or https://HOST:PORT, not "${text}"`)
    return url ?? new URL('http://127.0.0.1')
  }

  /** Throws `invalid_usage` with every problem in one line, if there is one. */
  finish(): void {
    if (this.#problems.length > 0) throw new AppError('invalid_usage', this.#problems.join('; '))
  }
}

/** `HOST:PORT` as a URL writes it. */
export function formatListen(address: ListenAddress): string {
  return address.host.includes(':')
    ? `[${address.host}]:${address.port}`
    : `${address.host}:${address.port}`
}

/** Whether only this machine can reach the address. */
export function isLoopbackListen(address: ListenAddress): boolean {
  return isLoopback(address.host) || address.host === '::1'
}
