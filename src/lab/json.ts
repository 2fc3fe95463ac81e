/** A JSON object of which nothing is known yet. */
export type JsonObject = Readonly<Record<string, unknown>>

/** Whether a parsed value is an object, neither null nor an array. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The object that the bytes spell, or null. A byte order mark or broken UTF-8 is no JSON. */
export function parseObject(bytes: Uint8Array): JsonObject | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : null
  } catch (error) {
    // What the decoder and the parser throw for text that is none; anything else is a bug.
    if (error instanceof SyntaxError || error instanceof TypeError) return null
    throw error
  }
}

/** The elements when the value is an array, else none. */
export function elementsOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}
