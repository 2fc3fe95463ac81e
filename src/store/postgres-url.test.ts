import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AppError } from '../core/errors.ts'
import { parsePostgresUrl } from './postgres-url.ts'

const parse = (text: string) => parsePostgresUrl(new URL(text))

test('a URL says where, who and how; what it does not say has a default', () => {
  const place = parse('postgres://o%40p:se%2Fcret@db.example:6432/gate%20way?sslmode=require')
  assert.deepEqual(
    [place.host, place.port, place.user, place.database, place.password?.().reveal()],
    ['db.example', 6432, 'o@p', 'gate way', 'se/cret'],
  )
  assert.deepEqual([place.connectTimeoutMs, place.connectionsMax], [5_000, 10])
  const other = parse('postgres://u@[::1]/d?connect_timeout=9&pool_max=3')
  assert.deepEqual([other.host, other.port, other.password], ['::1', 5432, undefined])
  assert.deepEqual([other.connectTimeoutMs, other.connectionsMax], [9_000, 3])
  assert.equal(parse('postgres://u@localhost/d?host=/run/postgresql').host, '/run/postgresql')
})

test('the password is never shown', () => {
  const { shown, password } = parse('postgres://u:pass-word@h/d?sslmode=require&pool_max=2')
  assert.equal(shown, 'postgres://u@h/d')
  assert.doesNotMatch(JSON.stringify({ password: password?.() }), /pass-word/)
})

test('a server elsewhere is spoken to with all checks unless something else is said', () => {
  const sslOf = (text: string) => parse(text).ssl
  for (const host of ['127.0.0.1', 'localhost', '[::1]', '127.8.8.8']) {
    assert.equal(sslOf(`postgres://u@${host}/d`), false)
  }
  for (const host of ['db.example', '10.0.0.1', 'localhost.example']) {
    assert.deepEqual(sslOf(`postgres://u@${host}/d`), { rejectUnauthorized: true })
  }
  assert.equal(sslOf('postgres://u@db.example/d?sslmode=disable'), false)
  assert.deepEqual(sslOf('postgres://u@127.0.0.1/d?sslmode=verify-full'), {
    rejectUnauthorized: true,
  })
})

for (const [what, rest] of [
  ['a mode that lets the other side choose', 'sslmode=prefer'],
  ['no mode at all', 'sslmode=yes'],
  ['a misspelt parameter', 'sslmod=require'],
  ['verify-ca without a CA', 'sslmode=verify-ca'],
  ['a CA that is not there', 'sslmode=verify-full&sslrootcert=/nowhere/ca.pem'],
  ['certificates without TLS', `sslmode=disable&sslrootcert=${import.meta.filename}`],
  ['a pool without connections', 'pool_max=0'],
  ['a pool beyond the limit', 'pool_max=101'],
  ['a wait without an end', 'connect_timeout=61'],
] as const) {
  test(`refused, without the password: ${what}`, () => {
    assert.throws(
      () => parse(`postgres://u:pass-word@db.example/d?${rest}`),
      (error: unknown) => {
        assert.ok(error instanceof AppError)
        assert.equal(error.code, 'invalid_argument')
        assert.doesNotMatch(`${error.message} ${error.hint}`, /pass-word/)
        return true
      },
    )
  })
}

test('the limits themselves are accepted', () => {
  const place = parse('postgres://u@h/d?pool_max=100&connect_timeout=60')
  assert.deepEqual([place.connectionsMax, place.connectTimeoutMs], [100, 60_000])
  assert.equal(parse('postgres://u@h/d?pool_max=1').connectionsMax, 1)
})

test('a URL without a user or a database is refused', () => {
  for (const text of ['postgres://h/d', 'postgres://u@h', 'postgres://u@h/']) {
    assert.throws(() => parse(text), { code: 'invalid_argument' })
  }
})
