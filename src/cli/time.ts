import { formatSpan } from '../core/duration.ts'
import type { Terminal } from './terminal.ts'
import type { UsageCheck } from './usage.ts'

const DAY_MS = 86_400_000

/** An instant in the reader's zone with the time left beside it: `14:05:12 (in 42 min)`. */
export function formatInstant(terminal: Terminal, atMs: number): string {
  const nowMs = terminal.clock.nowMs()
  const isNear = Math.abs(atMs - nowMs) < DAY_MS && dayOf(terminal, atMs) === dayOf(terminal, nowMs)
  const text = isNear
    ? clockOf(terminal, atMs)
    : `${dayOf(terminal, atMs)} ${clockOf(terminal, atMs)}`
  const distance = formatSpan(Math.abs(atMs - nowMs))
  return atMs >= nowMs ? `${text} (in ${distance})` : `${text} (${distance} ago)`
}

/** The time of day in the reader's zone: `14:05:12`. */
export function clockOf(terminal: Terminal, atMs: number): string {
  return localParts(terminal, atMs).slice(11)
}

/** RFC 3339, or null where the wire says "none" (0) or "never" (2⁶³−1). */
export function rfc3339(atMs: bigint): string | null {
  const instant = instantOf(atMs)
  return instant === null ? null : new Date(instant).toISOString()
}

/**
 * An instant that a person gave: RFC 3339, or milliseconds since the epoch; null without one. What is
 * neither is noted in `check`.
 */
export function parseInstant(
  check: UsageCheck,
  name: string,
  text: string | undefined,
): number | null {
  if (text === undefined) return null
  const isRfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/i.test(text)
  const atMs = /^\d{1,15}$/.test(text) ? Number(text) : isRfc3339 ? Date.parse(text) : Number.NaN
  if (Number.isNaN(atMs)) {
    check.add(`${name} takes an instant such as 2026-12-01T12:00:00Z, or milliseconds`)
  }
  return Number.isNaN(atMs) ? null : atMs
}

/** A wire instant as a number; null where the wire says "none" (0) or "never" (2⁶³−1). */
export function instantOf(atMs: bigint): number | null {
  // 8.64e15 is the last instant that a Date can hold.
  return atMs <= 0n || atMs > 8_640_000_000_000_000n ? null : Number(atMs)
}

function dayOf(terminal: Terminal, atMs: number): string {
  return localParts(terminal, atMs).slice(0, 10)
}

/** `YYYY-MM-DD HH:MM:SS` in the reader's zone, which is how Swedish writes it. */
function localParts(terminal: Terminal, atMs: number): string {
  return new Intl.DateTimeFormat('sv-SE', {
    timeZone: terminal.timeZone,
    dateStyle: 'short',
    timeStyle: 'medium',
  }).format(atMs)
}
