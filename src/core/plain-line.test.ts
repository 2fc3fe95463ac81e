import assert from 'node:assert/strict'
import { test } from 'node:test'
import { plainLine } from './plain-line.ts'

const ROWS: readonly (readonly [text: string, line: string])[] = [
  ['', ''],
  ['  a \t b\r\n\u2028c ', 'a b c'],
  ['\u001b[31mred\u202e\u200b', '[31mred'],
  ['\ud800x', 'x'],
  ['Größe 1 — 😀', 'Größe 1 — 😀'],
  ['x'.repeat(20), 'x'.repeat(20)],
  ['x'.repeat(21), `${'x'.repeat(20)}…`],
  [`${'x'.repeat(19)}😀`, `${'x'.repeat(19)}\ufffd…`],
]

for (const [text, line] of ROWS) {
  test(`${JSON.stringify(text)} reads ${JSON.stringify(line)}`, () => {
    assert.equal(plainLine(text, 20), line)
  })
}
