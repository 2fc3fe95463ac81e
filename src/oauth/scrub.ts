import type { Secret } from '../core/secret.ts'

const TEXT_CHARS_MAX = 300

/**
 * Makes a peer's words fit to store and show: one line, at most 300 characters, and without any of
 * the secrets that were sent to it, raw, URL-encoded or base64, with or without what stands before
 * them in a header (`Bearer `).
 */
export function scrub(text: string, secrets: readonly Secret[]): string {
  let clean = text
  for (const secret of secrets) {
    if (secret.isEmpty) continue
    const value = secret.reveal()
    const [, bare = value] = /^(?:Basic|Bearer) +(\S.*)$/is.exec(value) ?? []
    for (const form of [...encodings(value), ...encodings(bare)]) {
      clean = clean.replaceAll(form, '[secret]')
    }
  }
  // Control and format characters, for a terminal would obey them, and every kind of line end.
  const line = clean.replace(/[\p{C}\p{Zl}\p{Zp}]+/gu, ' ').trim()
  return line.length > TEXT_CHARS_MAX ? `${line.slice(0, TEXT_CHARS_MAX)}…` : line
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
