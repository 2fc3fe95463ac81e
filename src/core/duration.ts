const UNIT_MS = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
])

/** Parses `10m`, `20s`, `500ms`, `1h`, or bare seconds (`90`) to milliseconds; null if it is none. */
export function parseDurationMs(text: string): number | null {
  const match = /^(\d{1,9})(ms|s|m|h|d)?$/.exec(text.trim())
  if (match === null) return null
  const unitMs = UNIT_MS.get(match[2] ?? 's')
  return unitMs === undefined ? null : Number(match[1]) * unitMs
}

/** A span for people: `45 s`, `12 min`, `3 h 5 min`, `2 d 4 h`. Negative spans count as zero. */
export function formatSpan(spanMs: number): string {
  const seconds = Math.max(0, Math.round(spanMs / 1_000))
  if (seconds < 120) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 120) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  return `${Math.floor(hours / 24)} d ${hours % 24} h`
}
