import { AppError } from './errors.ts'

/** Where a program listens. */
export interface ListenAddress {
  /** A name or an address; IPv6 without its brackets. */
  readonly host: string
  /** 0 takes any free one. */
  readonly port: number
}

/** Parses `HOST:PORT` or `[IPV6]:PORT`. Throws `AppError` `invalid_usage` when it is neither. */
export function parseListen(text: string): ListenAddress {
  const match = /^(\[[0-9a-f:.]+\]|[^:[\]\s]+):(\d{1,5})$/i.exec(text)
  const port = Number(match?.[2])
  if (match?.[1] === undefined || port > 65_535) {
    throw new AppError('invalid_usage', `Cannot listen on "${text}": expected HOST:PORT`)
  }
  return { host: match[1].replace(/^\[|\]$/g, ''), port }
}
