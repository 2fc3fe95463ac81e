import { checkEndpoint } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import type { ProviderRules } from './provider-type.ts'

const FILE_CHARS_MAX = 65_536

/** The scope that Vertex AI asks for; what a token may do is decided by roles. */
export const GOOGLE_SCOPE = 'https://www.googleapis.com/auth/cloud-platform'

/** A JSON object of a credential file, whose members are read by name and checked as they are read. */
export interface GoogleFile {
  /** A member that must be there. */
  text(name: string): string
  /** A member that may be missing; '' then. */
  optionalText(name: string): string
  /** A URL that would receive a credential or brings one: on Google's host or an allowed one. */
  url(name: string, options: { readonly host: string; readonly fallback: string }): URL
  /** An object in the object; null when it is missing. */
  object(name: string): GoogleFile | null
  /** Any member as it is, `undefined` when it is missing. */
  raw(name: string): unknown
  refusal(reason: string): AppError
}

/** How a file is called in messages, and where a person passes it. */
export interface GoogleFileName {
  readonly what: string
  readonly hint: string
}

/**
 * Reads the text of a credential file.
 *
 * @throws AppError `invalid_credential`, without a byte of the text, when it is no JSON object.
 */
export function readGoogleFile(
  json: Secret,
  name: GoogleFileName,
  rules: ProviderRules,
): GoogleFile {
  return fileOf(parseObject(json, name), { name, path: '', rules })
}

/** The `type` that a credential file says; '' when it says none or cannot be read. */
export function googleFileType(json: Secret): string {
  try {
    const type = parseObject(json, { what: 'credential file', hint: '' }).get('type')
    return typeof type === 'string' ? type : ''
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    return ''
  }
}

interface Place {
  readonly name: GoogleFileName
  /** What stands before a member's name: `credential_source.`. */
  readonly path: string
  readonly rules: ProviderRules
}

function fileOf(fields: ReadonlyMap<string, unknown>, place: Place): GoogleFile {
  const refusal = (reason: string) => unusable(place.name, reason)
  const file: GoogleFile = {
    refusal,
    raw: name => fields.get(name),
    optionalText(name) {
      const value = fields.get(name)
      return typeof value === 'string' ? value : ''
    },
    text(name) {
      const value = file.optionalText(name)
      if (value !== '') return value
      throw refusal(`the field "${place.path}${name}" is missing`)
    },
    url(name, { host, fallback }) {
      const isGiven = fields.has(name) || fallback === ''
      return checkEndpoint(isGiven ? file.text(name) : fallback, {
        label: `The "${place.path}${name}" of the ${place.name.what}`,
        vendorHosts: [host],
        allowList: place.rules.allowList,
      })
    },
    object(name) {
      const value = fields.get(name)
      if (value === undefined) return null
      const path = `${place.path}${name}.`
      if (isObject(value)) return fileOf(new Map(Object.entries(value)), { ...place, path })
      throw refusal(`the field "${place.path}${name}" is not an object`)
    },
  }
  return file
}

function parseObject(json: Secret, name: GoogleFileName): ReadonlyMap<string, unknown> {
  const text = json
    .reveal()
    .replace(/^\uFEFF/, '')
    .trim()
  if (text.length > FILE_CHARS_MAX) throw unusable(name, 'it is larger than 64 KiB')
  try {
    const value: unknown = JSON.parse(text)
    if (isObject(value)) return new Map(Object.entries(value))
  } catch (error) {
    // The parser's message quotes the text, which holds the key.
    if (!(error instanceof SyntaxError)) throw error
  }
  throw unusable(name, 'it is not a JSON object')
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function unusable({ what, hint }: GoogleFileName, reason: string): AppError {
  return new AppError('invalid_credential', `Cannot use the ${what}: ${reason}`, { hint })
}
