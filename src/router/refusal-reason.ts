import { plainLine } from '../core/plain-line.ts'
import type { Secret } from '../core/secret.ts'

const REASON_CHARS_MAX = 200
/** How much of a refusal is looked at: enough to fill the line, whatever is taken out of it. */
const TEXT_CHARS_MAX = 2_000

/** No vendor's code or trace id is so long; what is may be a credential in some encoding. */
const LONG_WORD = /[\w+/=%~-]{40,}/g
const WORD = /[\w+/=-]{8,}/g

/**
 * What a refusal says, for people: its first 200 characters as one line, without the credential that
 * was refused, whole, in part (8 characters or more) or encoded.
 */
export function refusalReason(text: string, credential: Secret): string {
  const value = credential.reveal()
  // A credential may be several keys in JSON, and what quotes it may escape slashes.
  const words = value.match(WORD) ?? []
  const isSecret = (word: string): boolean =>
    value.includes(word) || words.some(one => word.includes(one))
  const said = text.slice(0, TEXT_CHARS_MAX).replaceAll('\\/', '/')
  const clean = (credential.isEmpty ? said : said.replaceAll(value, '[secret]'))
    .replace(LONG_WORD, '[secret]')
    .replace(WORD, word => (isSecret(word) ? '[secret]' : word))
  return plainLine(clean, REASON_CHARS_MAX)
}
