import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answeredAtMs, parseInstantMs } from './instant.ts'
import type { TokenAnswer } from './token-request.ts'

test('an instant is RFC 3339 with a zone, to the millisecond', () => {
  const noonMs = Date.UTC(2026, 10, 22, 12)
  const cases: readonly (readonly [text: unknown, atMs: number | null])[] = [
    ['2026-11-22T12:00:00Z', noonMs],
    ['2026-11-22T14:00:00+02:00', noonMs],
    ['2026-11-22T12:00:00.5Z', noonMs + 500],
    ['2026-11-22T12:00:00.123456789Z', noonMs + 123],
    ['2026-11-22T12:00:00', null],
    ['2026-11-22 12:00:00Z', null],
    ['2026-11-22T12:00:00.1234567890Z', null],
    ['2026-11-22T12:00:00+0200', null],
    ['11/22/2026 12:00:00 PM +00:00', null],
    ['2026-11-22', null],
    ['2026-02-31T99:00:00Z', null],
    ['', null],
    [null, null],
    [noonMs, null],
    [new Date(noonMs), null],
  ]
  for (const [text, atMs] of cases) assert.equal(parseInstantMs(text), atMs, String(text))
})

test('the server’s own date is its time, as far as it is fresh and sane', () => {
  const nowMs = Date.UTC(2026, 10, 22, 12)
  const at = (headers: Readonly<Record<string, string>>) => {
    const rest = { kind: 'answer', status: 200, body: null, elapsedMs: 0, sent: [] } as const
    const answer: TokenAnswer = { ...rest, headers: new Map(Object.entries(headers)) }
    return answeredAtMs(answer, nowMs)
  }
  const ahead = new Date(nowMs + 600_000).toUTCString()
  assert.equal(at({ date: ahead }), nowMs + 600_000)
  assert.equal(at({ date: ahead, age: '5' }), nowMs)
  assert.equal(at({ date: new Date(0).toUTCString() }), nowMs)
  assert.equal(at({ date: 'yesterday' }), nowMs)
  assert.equal(at({}), nowMs)
})

test('within the second that the server’s date stands for, our own clock is finer', () => {
  const dateMs = Date.UTC(2026, 10, 22, 12)
  const answer: TokenAnswer = {
    ...{ kind: 'answer', status: 200, body: null, elapsedMs: 0, sent: [] },
    headers: new Map([['date', new Date(dateMs).toUTCString()]]),
  }
  assert.equal(answeredAtMs(answer, dateMs + 700), dateMs + 700)
  assert.equal(answeredAtMs(answer, dateMs + 5_000), dateMs + 1_000)
  assert.equal(answeredAtMs(answer, dateMs - 5_000), dateMs)
})
