/**
 * Splits a line at white space, but not inside `"…"`, `{…}` or `[…]`; `key='…'` is taken literally
 * and loses its quotes. Null when a quote or a bracket stays open.
 */
export function splitWords(line: string): readonly string[] | null {
  const words: string[] = []
  let at = 0
  while (at < line.length) {
    if (isSpace(line, at)) {
      at += 1
      continue
    }
    const end = wordEnd(line, at)
    if (end === null) return null
    words.push(line.slice(at, end).replace(/^([^\s='"]+=)'([^']*)'$/s, '$1$2'))
    at = end
  }
  return words
}

/** Where the word that starts at `start` ends. */
function wordEnd(line: string, start: number): number | null {
  let depth = 0
  for (let at = start; at < line.length; at += 1) {
    const character = line[at] ?? ''
    if (depth === 0 && isSpace(line, at)) return at
    if (character === '{' || character === '[') depth += 1
    if (character === '}' || character === ']') depth -= 1
    const isLiteral = character === "'" && depth === 0 && line[at - 1] === '='
    if (character === '"' || isLiteral) {
      const close = quoteEnd(line, at, character)
      if (close === null) return null
      at = close
    }
  }
  return depth === 0 ? line.length : null
}

/** Where the quote that opens at `open` closes; a backslash escapes in double quotes alone. */
function quoteEnd(line: string, open: number, quote: string): number | null {
  for (let at = open + 1; at < line.length; at += 1) {
    if (line[at] === quote) return at
    if (quote === '"' && line[at] === '\\') at += 1
  }
  return null
}

function isSpace(line: string, at: number): boolean {
  return /\s/.test(line[at] ?? '')
}
