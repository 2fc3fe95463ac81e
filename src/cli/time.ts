import { formatSpan } from '../core/duration.ts'
import type { Terminal } from './terminal.ts'

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
