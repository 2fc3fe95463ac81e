import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seed } from '../../test/support/seeded-random.ts'
import { Secret } from '../core/secret.ts'
import { scrub } from './scrub.ts'

const secret = new Secret('s3cr+t/with=odd & "signs" é')

test('a secret is taken out in every form in which a peer may echo it', () => {
  const value = secret.reveal()
  const forms = [
    value,
    encodeURIComponent(value),
    new URLSearchParams({ a: value }).toString().slice(2),
    Buffer.from(value).toString('base64'),
    Buffer.from(value).toString('base64url'),
  ]
  for (const form of forms) {
    assert.equal(
      scrub(`you sent <${form}>, twice: ${form}`, [secret]),
      'you sent <[secret]>, twice: [secret]',
    )
  }
})

test('a part of a secret is taken out, too, but not what is a coincidence', () => {
  const long = new Secret('eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJl')
  const value = long.reveal()
  for (const [said, expected] of [
    [`bad assertion: ${value.slice(0, 30)}...`, 'bad assertion: [secret]...'],
    [`ends with ${value.slice(-12)}`, 'ends with [secret]'],
    [`ends with ${value.slice(-11)}`, `ends with ${value.slice(-11)}`],
    [`${value.slice(0, 20)} and ${value.slice(20)}`, '[secret] and [secret]'],
    ['eyJhbGciOiJ is how they all begin', 'eyJhbGciOiJ is how they all begin'],
  ] as const) {
    assert.equal(scrub(said, [long]), expected)
  }
})

test('a header’s secret is taken out also when its peer repeats it without the scheme', () => {
  for (const scheme of ['Bearer', 'bearer', 'Basic']) {
    const sent = [new Secret(`${scheme} abc.def`)]
    assert.equal(scrub('token abc.def is unknown', sent), 'token [secret] is unknown')
    assert.equal(scrub(`${scheme} abc.def is unknown`, sent), '[secret] is unknown')
  }
})

test('a peer’s words become one line of at most 300 characters that no terminal obeys', () => {
  const cases: readonly (readonly [said: string, expected: string])[] = [
    ['', ''],
    ['  plain words  ', 'plain words'],
    ['two\r\nlines\tand\u0000more', 'two lines and more'],
    ['\u001b[31mred\u009b0m', '[31mred 0m'],
    ['right\u202eleft\u2028next', 'right left next'],
    ['é and 日本 stay', 'é and 日本 stay'],
    ['x'.repeat(300), 'x'.repeat(300)],
    ['x'.repeat(301), `${'x'.repeat(300)}…`],
  ]
  for (const [said, expected] of cases) assert.equal(scrub(said, []), expected)
})

test('a secret at the cut is taken out before the cut', () => {
  const said = `${'x'.repeat(290)}${secret.reveal()}`
  assert.ok(!scrub(said, [secret]).includes('s3cr'))
})

test('an empty secret takes nothing out', () => {
  assert.equal(scrub('all stays', [new Secret('')]), 'all stays')
})

test('no text and no secret make it throw, and no secret of some length comes through', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'binary', minLength: 8 }),
      (text, value) => {
        const clean = scrub(`${text}${value}${text}`, [new Secret(value)])
        assert.ok(!clean.includes(value))
        assert.ok(clean.length <= 301)
      },
    ),
    { seed, numRuns: 50 },
  )
  assert.doesNotThrow(() => scrub('\ud800 text', [new Secret('\ud800lone')]))
})
