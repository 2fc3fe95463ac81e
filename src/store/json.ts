import { damagedRow } from './trouble.ts'

/** Parses a JSON object that this store wrote; `what` names the row for the message. */
export function parseJsonObject(text: string, what: string): Readonly<Record<string, unknown>> {
  const value = parseJson(text, what)
  if (isObject(value)) return value
  throw damagedRow(what)
}

/** Parses a JSON array of objects that this store wrote. */
export function parseJsonArray(
  text: string,
  what: string,
): readonly Readonly<Record<string, unknown>>[] {
  const value = parseJson(text, what)
  if (Array.isArray(value) && value.every(isObject)) return value
  throw damagedRow(what)
}

function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw damagedRow(what, cause)
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A parsed object of strings as a map. @throws AppError `store_unavailable` when it is none. */
export function stringMap(value: unknown, what: string): ReadonlyMap<string, string> {
  const map = new Map<string, string>()
  if (typeof value !== 'object' || value === null) throw damagedRow(what)
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string') throw damagedRow(what)
    map.set(key, text)
  }
  return map
}
