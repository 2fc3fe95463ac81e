import type { Call } from './call.ts'
import { type Header, headerValues } from './header.ts'
import { type JsonObject, parseObject } from './json.ts'

/** Headers in which credentials travel; a vendor expects at most one of them. */
export const CREDENTIAL_HEADERS: readonly string[] = [
  'authorization',
  'x-api-key',
  'api-key',
  'x-goog-api-key',
  'x-identity-header',
  'x-amz-security-token',
  'cookie',
  'proxy-authorization',
]

/** RFC 9110 §7.6.1: these end at the next hop and have no business further on. */
const HOP_BY_HOP = ['keep-alive', 'te', 'trailer', 'upgrade']

const SINGLE = ['host', 'content-type', 'content-length', 'authorization', 'x-api-key']

/**
 * A header that only a leaking router sends, said in one sentence; null when there is none.
 * `expected` are the credential headers that this vendor takes.
 */
export function leakIn(headers: readonly Header[], expected: readonly string[]): string | null {
  for (const [name, value] of headers) {
    if (CREDENTIAL_HEADERS.includes(name) && !expected.includes(name))
      return `Header "${name}" must not reach this API`
    if (HOP_BY_HOP.includes(name) || name.startsWith('proxy-') || name.startsWith('x-openshell-'))
      return `Header "${name}" must not be forwarded`
    if (name === 'connection' && !/^(keep-alive|close)$/i.test(value))
      return `Header "connection: ${value}" must not be forwarded`
  }
  const repeated = SINGLE.find(name => headerValues(headers, name).length > 1)
  return repeated === undefined ? null : `Header "${repeated}" was sent more than once`
}

/** Whether the call's one content type is this, parameters aside. */
export function hasContentType(call: Call, type: string): boolean {
  const values = headerValues(call.headers, 'content-type')
  return values.length === 1 && values[0]?.split(';')[0]?.trim().toLowerCase() === type
}

/** The JSON object that the call brings, or in one sentence why it brings none. */
export function readJsonBody(call: Call): JsonObject | string {
  if (!hasContentType(call, 'application/json')) return 'Content-Type must be application/json'
  return parseObject(call.body) ?? 'The body is not a JSON object'
}

/** What follows `Bearer ` in the call's one Authorization header; null for anything else. */
export function bearerOf(headers: readonly Header[]): string | null {
  const values = headerValues(headers, 'authorization')
  if (values.length !== 1) return null
  return /^Bearer (\S+)$/i.exec(values[0] ?? '')?.[1] ?? null
}
