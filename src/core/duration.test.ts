import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatSpan, parseDurationMs } from './duration.ts'

for (const [text, expected] of [
  ['10m', 600_000],
  ['20s', 20_000],
  ['500ms', 500],
  ['1h', 3_600_000],
  ['2d', 172_800_000],
  ['90', 90_000],
  ['0', 0],
  [' 5s ', 5_000],
  ['999999999s', 999_999_999_000],
  ['1000000000s', null],
  ['', null],
  ['s', null],
  ['-5s', null],
  ['1.5h', null],
  ['10 m', null],
  ['10M', null],
  ['1h30m', null],
  ['1e3', null],
  ['٣s', null],
] as const) {
  test(`"${text}" is ${expected ?? 'no'} ms`, () => assert.equal(parseDurationMs(text), expected))
}

for (const [spanMs, expected] of [
  [-1, '0 s'],
  [0, '0 s'],
  [499, '0 s'],
  [500, '1 s'],
  [119_499, '119 s'],
  [119_500, '2 min'],
  [7_169_000, '119 min'],
  [7_170_000, '2 h'],
  [11_100_000, '3 h 5 min'],
  [172_769_000, '47 h 59 min'],
  [172_770_000, '2 d 0 h'],
  [187_200_000, '2 d 4 h'],
] as const) {
  test(`${spanMs} ms are ${expected}`, () => assert.equal(formatSpan(spanMs), expected))
}
