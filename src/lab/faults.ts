import { validateHeaderName, validateHeaderValue } from 'node:http'
import { parseDurationMs } from '../core/duration.ts'
import { AppError } from '../core/errors.ts'
import type { Header } from './header.ts'
import { splitWords } from './words.ts'

const BOMB_BYTES_MAX = 268_435_456
const SIZE_UNIT = new Map([
  ['', 1],
  ['KiB', 1_024],
  ['MiB', 1_048_576],
])

/** What a fault does to a call. `null`, 0, false and an empty list mean: nothing of that kind. */
export interface FaultEffect {
  /** `status=503`: the answer's status, with a body in the vendor's dialect. */
  readonly status: number | null
  /** `header='Retry-After: 120'`, `retry_after=120`, `age=30`: added, or in place of the usual. */
  readonly headers: readonly Header[]
  /** `body=TEXT`: the answer's body as it stands; the status is 200 unless another is given. */
  readonly body: string | null
  /** `error=invalid_grant`: an OAuth error body; the status is 200 unless another is given. */
  readonly error: string | null
  /** `description=TEXT`: the `error_description` beside `error`. */
  readonly description: string | null
  /** `redirect=URL`: to there, by 307 unless another status is given. */
  readonly redirect: string | null
  /** `gzip_bomb=50MiB`: so many bytes, compressed to a thousandth. */
  readonly bombBytes: number
  /** `endless`: a body without an end. */
  readonly isEndless: boolean
  /** `delay=20s`: silence before the answer's head. */
  readonly delayMs: number
  /** `hang`: no answer at all, on a connection that stays open. */
  readonly isHanging: boolean
  /** `reset=before` or `reset=after`: a connection reset, before or right after the head. */
  readonly reset: 'before' | 'after' | null
  /** `drip_head=1s`: the pause after each byte of the head. */
  readonly dripHeadMs: number
  /** `drip=1s`: the pause after each byte of the body. */
  readonly dripMs: number
  /** `truncate=10`: the connection closes after so many bytes of the body. */
  readonly truncateBytes: number | null
  /** `break_after=5`: a stream's connection closes after so many events. Matches streams only. */
  readonly breakAfter: number | null
  /** `date_offset=-1h`: how far the `Date` header lies. */
  readonly dateOffsetMs: number
  /** `clock_offset=10m`: how far the vendor's clock is off, in its judgement and in `Date`. */
  readonly clockOffsetMs: number
  /** `expires_in=JSON`: said instead of the lifetime, as spelt; `missing` leaves it out. */
  readonly expiresIn: string | null
  /** `token_type=JSON`, likewise. */
  readonly tokenType: string | null
  /** `access_token=JSON`, likewise; no API takes what is said here. */
  readonly accessToken: string | null
  /** `same_token`: the previous token again, while it lives, with the life that it has left. */
  readonly isSameToken: boolean
  /** `expired`: the token is dead on arrival, whatever the answer says. */
  readonly isExpired: boolean
  /** `revoke`: the token that the call brings or gets is revoked. */
  readonly isRevoked: boolean
}

/** What happens to a call that no fault matches. */
export const NO_EFFECT: FaultEffect = {
  status: null,
  headers: [],
  body: null,
  error: null,
  description: null,
  redirect: null,
  bombBytes: 0,
  isEndless: false,
  delayMs: 0,
  isHanging: false,
  reset: null,
  dripHeadMs: 0,
  dripMs: 0,
  truncateBytes: null,
  breakAfter: null,
  dateOffsetMs: 0,
  clockOffsetMs: 0,
  expiresIn: null,
  tokenType: null,
  accessToken: null,
  isSameToken: false,
  isExpired: false,
  isRevoked: false,
}

/** A scripted misbehaviour, for so many calls, for a while, or until it is cleared. */
export interface Fault {
  /** A vendor's name, a path prefix beginning with `/`, or `*` for everything. */
  readonly target: string
  /** How many calls it meets; null for any number. */
  readonly count: number | null
  /** How long it stays; null for no end. */
  readonly forMs: number | null
  readonly effect: FaultEffect
  /** The fault as it was written. */
  readonly text: string
}

/** A line of the grammar: set a fault, or clear those of one target (`*`: all). */
export type FaultCommand =
  | { readonly kind: 'set'; readonly fault: Fault }
  | { readonly kind: 'clear'; readonly target: string }

/**
 * Parses `TARGET key=value… [count=N] [for=SPAN]`, `TARGET clear`, or `clear`.
 *
 * A value ends at white space, except inside `"…"`, `{…}` and `[…]`, so that JSON is written as it
 * is; a value in single quotes is taken literally, without them.
 *
 * @throws AppError `invalid_usage`.
 */
export function parseFault(text: string, vendorNames: readonly string[]): FaultCommand {
  const words = splitWords(text)
  if (words === null) throw misuse('leaves a quote or a bracket open')
  return parseFaultWords(words, vendorNames)
}

/** The same grammar, already split as a shell splits it: no quoting, one word an element. */
export function parseFaultWords(
  words: readonly string[],
  vendorNames: readonly string[],
): FaultCommand {
  const [target = '', ...settings] = words
  if (target === 'clear' && settings.length === 0) return { kind: 'clear', target: '*' }
  checkTarget(target, vendorNames)
  if (settings.length === 1 && settings[0] === 'clear') return { kind: 'clear', target }
  if (settings.length === 0) throw misuse('says nothing to do')
  let effect = NO_EFFECT
  let count: number | null = null
  let forMs: number | null = null
  const seen = new Set<string>()
  for (const setting of settings) {
    const [, key = '', value = null] = /^([^=]*)(?:=([\s\S]*))?$/.exec(setting) ?? []
    if (seen.has(key) && key !== 'header') throw misuse(`says "${key}" twice`)
    seen.add(key)
    if (key === 'count') count = wholeNumber(key, value ?? '', 1)
    else if (key === 'for') forMs = span(key, value ?? '')
    else effect = { ...effect, ...settingOf(key, value, effect) }
  }
  if (effect === NO_EFFECT) throw misuse('says nothing to do')
  return { kind: 'set', fault: { target, count, forMs, effect, text: words.join(' ') } }
}

type SettingParser = (value: string, key: string, before: FaultEffect) => Partial<FaultEffect>

const SETTINGS: ReadonlyMap<string, SettingParser> = new Map<string, SettingParser>([
  ['status', (value, key) => ({ status: wholeNumber(key, value, 200, 599) })],
  ['header', (value, _key, before) => ({ headers: [...before.headers, headerOf(value)] })],
  ['retry_after', (value, _key, before) => withHeader(before, `Retry-After: ${value}`)],
  ['age', (value, _key, before) => withHeader(before, `Age: ${value}`)],
  ['body', value => ({ body: value })],
  ['error', value => ({ error: value })],
  ['description', value => ({ description: value })],
  ['redirect', value => ({ redirect: urlOf(value) })],
  ['gzip_bomb', (value, key) => ({ bombBytes: size(key, value) })],
  ['delay', (value, key) => ({ delayMs: span(key, value) })],
  ['reset', value => ({ reset: resetOf(value) })],
  ['drip_head', (value, key) => ({ dripHeadMs: span(key, value) })],
  ['drip', (value, key) => ({ dripMs: span(key, value) })],
  ['truncate', (value, key) => ({ truncateBytes: wholeNumber(key, value, 0) })],
  ['break_after', (value, key) => ({ breakAfter: wholeNumber(key, value, 0) })],
  ['date_offset', (value, key) => ({ dateOffsetMs: offset(key, value) })],
  ['clock_offset', (value, key) => ({ clockOffsetMs: offset(key, value) })],
  ['expires_in', (value, key) => ({ expiresIn: jsonOrMissing(key, value) })],
  ['token_type', (value, key) => ({ tokenType: jsonOrMissing(key, value) })],
  ['access_token', (value, key) => ({ accessToken: jsonOrMissing(key, value) })],
])

const FLAGS: ReadonlyMap<string, Partial<FaultEffect>> = new Map<string, Partial<FaultEffect>>([
  ['endless', { isEndless: true }],
  ['hang', { isHanging: true }],
  ['same_token', { isSameToken: true }],
  ['expired', { isExpired: true }],
  ['revoke', { isRevoked: true }],
])

function settingOf(key: string, value: string | null, before: FaultEffect): Partial<FaultEffect> {
  const flag = FLAGS.get(key)
  if (flag !== undefined) {
    if (value !== null) throw misuse(`gives "${key}" a value; it takes none`)
    return flag
  }
  const parse = SETTINGS.get(key)
  if (parse === undefined) throw misuse(`knows no "${key}"`)
  if (value === null) throw misuse(`gives "${key}" no value`)
  return parse(value, key, before)
}

function checkTarget(target: string, vendorNames: readonly string[]): void {
  if (target === '*' || target.startsWith('/') || vendorNames.includes(target)) return
  const known = [...vendorNames, 'a path prefix', '*'].join(', ')
  throw misuse(`names no target "${target}"; there are ${known}`)
}

function wholeNumber(key: string, value: string, min: number, max = 1_000_000_000): number {
  const number = /^\d{1,10}$/.test(value) ? Number(value) : -1
  if (number >= min && number <= max) return number
  throw misuse(`gives ${key}="${value}"; expected a whole number from ${min} to ${max}`)
}

function span(key: string, value: string): number {
  const spanMs = parseDurationMs(value)
  if (spanMs !== null && spanMs > 0) return spanMs
  throw misuse(`gives ${key}="${value}"; expected a span such as 500ms, 20s or 1m`)
}

function offset(key: string, value: string): number {
  const sign = value.startsWith('-') ? -1 : 1
  return sign * span(key, value.replace(/^[+-]/, ''))
}

function size(key: string, value: string): number {
  const match = /^(\d{1,9})(KiB|MiB|)$/.exec(value)
  const bytes = Number(match?.[1] ?? 0) * (SIZE_UNIT.get(match?.[2] ?? '') ?? 0)
  if (bytes > 0 && bytes <= BOMB_BYTES_MAX) return bytes
  throw misuse(`gives ${key}="${value}"; expected a size up to 256MiB, such as 50MiB`)
}

function jsonOrMissing(key: string, value: string): string {
  if (value === 'missing') return value
  try {
    JSON.parse(value)
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    throw misuse(`gives ${key}=${value}; expected a JSON value, or missing`)
  }
  return value
}

function headerOf(value: string): Header {
  const [, name = '', content = ''] = /^([^:]+):\s*(.*)$/s.exec(value) ?? []
  try {
    validateHeaderName(name)
    validateHeaderValue(name, content)
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw misuse(`gives header="${value}"; expected NAME: VALUE`)
  }
  return [name.toLowerCase(), content]
}

function withHeader(before: FaultEffect, line: string): Partial<FaultEffect> {
  return { headers: [...before.headers, headerOf(line)] }
}

function resetOf(value: string): 'before' | 'after' {
  if (value === 'before' || value === 'after') return value
  throw misuse(`gives reset="${value}"; expected before or after (the head)`)
}

function urlOf(value: string): string {
  if (URL.canParse(value)) return value
  throw misuse(`gives redirect="${value}"; expected a URL`)
}

function misuse(what: string): AppError {
  return new AppError('invalid_usage', `Cannot set the fault: it ${what}`, {
    hint: 'For example: google.token status=503 retry_after=5 count=3 · vertex break_after=5 count=1 · google.token expires_in=\'"3599"\' · google.token clear',
  })
}
