import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError } from './errors.ts'
import { parseListen } from './listen.ts'

test('a listen address is a host and a port', () => {
  const ROWS = [
    ['127.0.0.1:17670', '127.0.0.1', 17_670],
    ['localhost:0', 'localhost', 0],
    ['[::1]:65535', '::1', 65_535],
  ] as const
  for (const [text, host, port] of ROWS) assert.deepEqual(parseListen(text), { host, port })
})

test('anything else is wrong usage', () => {
  for (const text of ['', '17670', ':1', 'host', 'host:65536', 'host:1x', '::1:80', 'a b:1']) {
    assert.throws(
      () => parseListen(text),
      error => error instanceof AppError && error.code === 'invalid_usage',
      text,
    )
  }
})
