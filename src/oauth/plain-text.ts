/**
 * A member of a peer's JSON as text: a string or number as it is, '' for whatever else. `String` would
 * throw for an object that a hostile peer gave a `toString` of its own.
 */
export function plainText(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}
