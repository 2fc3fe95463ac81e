import type { Secret } from '../core/secret.ts'

const TEXT_CHARS_MAX = 300

/** So many characters of a secret in a row are no coincidence. */
const PART_CHARS_MIN = 12

/**
 * Makes a peer's words fit to store and show: one line, at most 300 characters, and without any of
 * the secrets that were sent to it, raw, URL-encoded or base64, with or without what stands before
 * them in a header (`Bearer `), whole or in part.
 */
export function scrub(text: string, secrets: readonly Secret[]): string {
  const forms = secrets.flatMap(formsOf)
  let clean = text
  for (const form of forms) clean = clean.replaceAll(form, '[secret]')
  for (const form of forms) clean = withoutParts(clean, form)
  // Control and format characters, for a terminal would obey them, and every kind of line end.
  const line = clean.replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ').trim()
  return line.length > TEXT_CHARS_MAX ? `${line.slice(0, TEXT_CHARS_MAX)}…` : line
}

function formsOf(secret: Secret): readonly string[] {
  if (secret.isEmpty) return []
  const value = secret.reveal()
  const [, bare = value] = /^(?:Basic|Bearer) +(\S.*)$/is.exec(value) ?? []
  return [...encodings(value), ...encodings(bare)]
}

/** Without runs of a secret's characters, such as its beginning in a peer's shortened quotation. */
function withoutParts(text: string, secret: string): string {
  if (secret.length < PART_CHARS_MIN || text.length < PART_CHARS_MIN) return text
  const parts = new Set<string>()
  for (let at = 0; at + PART_CHARS_MIN <= secret.length; at += 1) {
    parts.add(secret.slice(at, at + PART_CHARS_MIN))
  }
  let clean = ''
  let at = 0
  while (at < text.length) {
    let end = at
    while (parts.has(text.slice(end, end + PART_CHARS_MIN))) end += 1
    if (end > at) {
      clean += '[secret]'
      at = end - 1 + PART_CHARS_MIN
    } else {
      clean += text[at] ?? ''
      at += 1
    }
  }
  return clean
}

function encodings(secret: string): readonly string[] {
  // A lone surrogate cannot be encoded, neither by us nor by whoever echoes it.
  const value = secret.toWellFormed()
  const bytes = Buffer.from(value)
  return [
    secret,
    encodeURIComponent(value),
    new URLSearchParams([['', value]]).toString().slice(1),
    bytes.toString('base64'),
    bytes.toString('base64url'),
  ]
}
