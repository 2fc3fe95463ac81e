import { RouterError } from '../errors.ts'

/** A JSON object of which nothing is known yet. */
export type JsonObject = Readonly<Record<string, unknown>>

declare global {
  // "JSON.parse source text access", which the engine has and TypeScript does not know yet.
  interface JSON {
    rawJSON(text: string): unknown
    isRawJSON(value: unknown): boolean
    parse(
      text: string,
      reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
    ): unknown
  }
}

/** Numbers that JavaScript may not hold as they are written: many digits, or an exponent. */
const DELICATE_NUMBER = /\d{16}|\d[eE]/

/**
 * Parses an agent's body. A number that would not survive (`12345678901234567890`, `1e400`) is kept as
 * its text and written again as it was. Keys written with escapes are the engine's to get right.
 *
 * @throws RouterError `bad_request` when the body is no JSON object.
 */
export function parseBody(bytes: Uint8Array): JsonObject {
  const text = decoded(bytes)
  // Asking for the text of each number is slow, and few bodies have one that needs it.
  const body = text === null ? null : DELICATE_NUMBER.test(text) ? parse(text, exact) : parse(text)
  if (body !== null) return body
  throw new RouterError('bad_request', 'The request body is not a JSON object')
}

/** Parses a vendor's answer or event; null when it is no JSON object. */
export function parseAnswer(text: string): JsonObject | null {
  return parse(text)
}

/** Whether a parsed value is an object: neither null, nor an array, nor a number kept as text. */
export function isObject(value: unknown): value is JsonObject {
  return (
    typeof value === 'object' && value !== null && !Array.isArray(value) && !JSON.isRawJSON(value)
  )
}

/** The objects among the elements when the value is an array, else none. */
export function objectsIn(value: unknown): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : []
}

/** The object without some of its members. */
export function without(object: JsonObject, names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)))
}

function parse(text: string, reviver?: typeof exact): JsonObject | null {
  try {
    const value: unknown = reviver === undefined ? JSON.parse(text) : JSON.parse(text, reviver)
    return isObject(value) ? value : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}

function exact(_: string, value: unknown, { source }: { readonly source?: string }): unknown {
  const isChanged = typeof value === 'number' && source !== undefined && String(value) !== source
  return isChanged ? JSON.rawJSON(source) : value
}

function decoded(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (error) {
    // What the decoder throws for bytes that are no UTF-8.
    if (error instanceof TypeError) return null
    throw error
  }
}
