// Goal: people read what the vendor said; nobody reads the token in it, however it is echoed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seed } from '../../test/support/seeded-random.ts'
import { Secret } from '../core/secret.ts'
import { refusalReason } from './refusal-reason.ts'

const token = ['ya29.a0', 'AfB_byC7', 'x-3'.repeat(30)].join('')
const keys = { accessKeyId: 'ASIA1234567890', secretAccessKey: 'kLm/no+pqrstuvwxyz012345' }

const ROWS: readonly (readonly [text: string, credential: string, reason: string])[] = [
  ['', token, ''],
  [
    '{\n  "error": {\n    "code": 401,\n    "status": "UNAUTHENTICATED"\n  }\n}',
    token,
    '{ "error": { "code": 401, "status": "UNAUTHENTICATED" } }',
  ],
  [`Incorrect API key provided: ${token}.`, token, 'Incorrect API key provided: [secret].'],
  [`Token ${token.slice(0, 20)}*** is invalid`, token, 'Token ya29.[secret]*** is invalid'],
  [`"${encodeURIComponent(token)}"`, token, '"[secret]"'],
  [`sent ${Buffer.from(token).toString('base64')}`, token, 'sent [secret]'],
  ['The token t-1 is bad', 't-1', 'The token [secret] is bad'],
  [
    `${keys.accessKeyId} signed ${JSON.stringify(keys.secretAccessKey).replaceAll('/', '\\/')}`,
    JSON.stringify(keys),
    '[secret] signed "[secret]"',
  ],
  [`AccessKeyId=${keys.accessKeyId} is unknown`, JSON.stringify(keys), '[secret] is unknown'],
  [
    'request id 0f8fad5b-d9cb-469f-a165-70867728950e',
    token,
    'request id 0f8fad5b-d9cb-469f-a165-70867728950e',
  ],
  ['x '.repeat(300), token, `${'x '.repeat(100)}…`],
  ['anything', '', 'anything'],
]

for (const [text, credential, reason] of ROWS) {
  test(`a refusal of ${text.length} characters reads "${reason.slice(0, 60)}"`, () => {
    assert.equal(refusalReason(text, new Secret(credential)), reason)
  })
}

test('no eight characters of a token are left, wherever it stands', () => {
  const tokenText = fc.string({
    unit: fc.constantFrom(...'abcXYZ019_-'),
    minLength: 8,
    maxLength: 60,
  })
  const cut = fc.nat(300)
  fc.assert(
    fc.property(tokenText, fc.string({ maxLength: 300 }), cut, (value, around, at) => {
      const echo = `${around.slice(0, at)} ${value} ${around.slice(at)}`
      const reason = refusalReason(echo, new Secret(value))
      assert.ok(!reason.includes(value.slice(0, 8)) || around.includes(value.slice(0, 8)))
      assert.ok(reason.length <= 201)
    }),
    { seed, numRuns: 300 },
  )
})
