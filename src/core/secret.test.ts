import assert from 'node:assert/strict'
import { test } from 'node:test'
import { format, inspect } from 'node:util'
import { Secret } from './secret.ts'

const secret = new Secret('hush-hush')

for (const [label, print] of [
  ['string conversion', () => String(secret)],
  ['a template', () => `${secret}`],
  ['concatenation', () => `x${secret}`],
  ['JSON', () => JSON.stringify({ a: [secret] })],
  ['inspect', () => inspect(secret)],
  [
    'inspect, deep and with hidden parts',
    () => inspect({ a: new Map([['k', [secret]]]) }, { depth: 9, showHidden: true }),
  ],
  ['format', () => format('%s %o %O %j', secret, secret, { secret }, { secret })],
  ['an error', () => inspect(new Error(`bad ${secret}`, { cause: { secret } }))],
  ['its keys', () => JSON.stringify([Object.getOwnPropertyNames(secret), Object.entries(secret)])],
  ['a copy', () => JSON.stringify({ ...secret })],
  ['a structured clone', () => inspect(structuredClone(secret))],
] as const) {
  test(`a secret does not print by ${label}`, () => assert.ok(!print().includes('hush')))
}

test('a secret says [secret], and its text only when asked', () => {
  assert.equal(
    `${secret} ${JSON.stringify(secret)} ${inspect(secret)}`,
    '[secret] "[secret]" [secret]',
  )
  assert.equal(secret.reveal(), 'hush-hush')
  assert.ok(secret.equals(new Secret('hush-hush')))
  assert.ok(!secret.equals(new Secret('hush')))
  assert.deepEqual([secret.isEmpty, new Secret('').isEmpty], [false, true])
})
