import type { TokenAnswer } from './token-request.ts'

/** A `Date` header stands for a whole second. */
const DATE_RESOLUTION_MS = 1_000

/** A server's clock that is further off than this is a lie. */
const OFFSET_MS_MAX = 86_400_000

/**
 * Reads an instant of RFC 3339. A text without `Z` or an offset is local time to JavaScript, which
 * nobody meant: it is none, as is whatever else is no instant. Null then.
 */
export function parseInstantMs(value: unknown): number | null {
  if (typeof value !== 'string') return null
  const pattern = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,3})?\d{0,6}(Z|[+-]\d\d:\d\d)$/
  const [, second = '', fraction = '', zone = ''] = pattern.exec(value) ?? []
  const atMs = Date.parse(`${second}${fraction}${zone}`)
  return Number.isNaN(atMs) ? null : atMs
}

/**
 * The server's time when it answered, which is what an absolute end is to be held against: its own
 * `Date`, within that second our clock, unless the answer came from a cache or the time is absurd;
 * then ours.
 */
export function answeredAtMs(answer: TokenAnswer, nowMs: number): number {
  const dateMs = Date.parse(answer.headers.get('date') ?? '')
  const isSane = Math.abs(dateMs - nowMs) <= OFFSET_MS_MAX
  if (!isSane || answer.headers.has('age')) return nowMs
  return Math.max(dateMs, Math.min(nowMs, dateMs + DATE_RESOLUTION_MS))
}
