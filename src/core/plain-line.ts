/**
 * A stranger's words as one line of at most `charsMax` characters, without control and format
 * characters, which a terminal would obey.
 */
export function plainLine(text: string, charsMax: number): string {
  const line = text.replace(/[\p{C}\p{Z}]+/gu, ' ').trim()
  return line.length > charsMax ? `${line.slice(0, charsMax).toWellFormed()}…` : line
}
