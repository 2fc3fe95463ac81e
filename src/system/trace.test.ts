import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatTraceparent, parseTraceparent } from './trace.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'

test('a traceparent is read as W3C says, and anything else is none', () => {
  const rows: readonly (readonly [text: string, isSampled: boolean | null])[] = [
    [`00-${TRACE}-${SPAN}-01`, true],
    [`00-${TRACE}-${SPAN}-00`, false],
    [`00-${TRACE}-${SPAN}-03`, true],
    [`00-${TRACE}-${SPAN}-02`, false],
    [`01-${TRACE}-${SPAN}-01`, true],
    [`01-${TRACE}-${SPAN}-01-more`, true],
    [`00-${TRACE}-${SPAN}-01-more`, null],
    [`ff-${TRACE}-${SPAN}-01`, null],
    [`00-${'0'.repeat(32)}-${SPAN}-01`, null],
    [`00-${TRACE}-${'0'.repeat(16)}-01`, null],
    [`00-${TRACE.toUpperCase()}-${SPAN}-01`, null],
    [`00-${TRACE}-${SPAN}`, null],
    [`00-${TRACE}-${SPAN}-1`, null],
    [` 00-${TRACE}-${SPAN}-01`, null],
    [`00-${TRACE}-${SPAN}-01\r\nx: y`, null],
    ['', null],
  ]
  for (const [text, isSampled] of rows) {
    const read = parseTraceparent(text)
    assert.deepEqual(read, isSampled === null ? null : { traceId: TRACE, spanId: SPAN, isSampled })
  }
})

test('what is written is read back', () => {
  for (const isSampled of [true, false]) {
    const context = { traceId: TRACE, spanId: SPAN, isSampled }
    assert.deepEqual(parseTraceparent(formatTraceparent(context)), context)
  }
})
