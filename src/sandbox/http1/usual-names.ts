import { USUAL_NAMES } from '../../router/field-names.ts'

/** Names by where they may stand: few share a place. */
const PLACES = 1_024
const byPlace: readonly string[][] = Array.from({ length: PLACES }, () => [])
for (const name of USUAL_NAMES) {
  const last = name.length - 1
  byPlace[placeOf(name.length, name.charCodeAt(0), name.charCodeAt(last))]?.push(name)
}

/**
 * The usual field name that stands in `[start, end)`, always the same string, so that whoever compares
 * it or looks it up need not read it again; '' when it is another one.
 */
export function usualName(bytes: Uint8Array, start: number, end: number): string {
  const place = placeOf(end - start, bytes[start] ?? 0, bytes[end - 1] ?? 0)
  const candidates = byPlace[place] ?? []
  for (let index = 0; index < candidates.length; index += 1) {
    const name = candidates[index] ?? ''
    if (standsAt(name, bytes, { start, end })) return name
  }
  return ''
}

function placeOf(length: number, first: number, last: number): number {
  return (length * 67 + first * 13 + last * 5) % PLACES
}

function standsAt(
  name: string,
  bytes: Uint8Array,
  { start, end }: { readonly start: number; readonly end: number },
): boolean {
  if (name.length !== end - start) return false
  for (let at = 0; at < name.length; at += 1) {
    if (bytes[start + at] !== name.charCodeAt(at)) return false
  }
  return true
}
