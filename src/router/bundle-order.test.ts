import assert from 'node:assert/strict'
import { test } from 'node:test'
import { routeOf } from '../../test/support/fake-exchange.ts'
import type { Bundle } from '../core/bundle.ts'
import { isOutdated } from './bundle-order.ts'

const NOW_MS = 1_800_000_000_000

/** A bundle of tokens, given as `provider generation`, the served ones alive for another minute. */
function tokens(generatedAtMs: number, ...words: readonly string[]): Bundle {
  const routes = words.map(word => {
    const [providerName = '', generation] = word.split(' ')
    return routeOf({ providerName, generation: Number(generation), expiresAtMs: NOW_MS + 60_000 })
  })
  return { revision: words.join(), generatedAtMs, changes: 0, routes, failures: [] }
}

const SERVED = tokens(1_000, 'a 5', 'b 2')
const ROWS: readonly (readonly [what: string, arrived: Bundle, expected: boolean])[] = [
  ['an earlier token, generated earlier', tokens(999, 'a 4', 'b 2'), true],
  ['an earlier token, generated at the same instant', tokens(1_000, 'a 4', 'b 2'), true],
  ['an earlier token of the second provider alone', tokens(999, 'a 6', 'b 1'), true],
  ['an earlier token, generated later: the provider is a new one', tokens(1_001, 'a 1'), false],
  ['a later token, although the gateway was set back', tokens(1, 'a 6', 'b 2'), false],
  ['the same tokens, although the gateway was set back', tokens(1, 'a 5', 'b 2'), false],
  ['a provider that has gone', tokens(1, 'b 2'), false],
  ['another provider', tokens(1, 'c 1'), false],
  ['a static key in place of tokens', tokens(1, 'a 0', 'b 2'), false],
  ['nothing', tokens(1), false],
]

for (const [what, arrived, expected] of ROWS) {
  test(`${what}: ${expected ? 'outdated' : 'put to use'}`, () => {
    assert.equal(isOutdated(arrived, { served: SERVED, nowMs: NOW_MS }), expected)
  })
}

test('of two gateways on one database the bundle that knows fewer changes is the older', () => {
  const served = { ...SERVED, changes: 7 }
  const check = (arrived: Bundle, changes: number, nowMs = NOW_MS) =>
    isOutdated({ ...arrived, changes }, { served, nowMs })
  const same = tokens(999, 'a 5', 'b 2')
  assert.equal(check(same, 6), true, 'the route was another one then')
  assert.equal(check(tokens(999), 6), true, 'so it is when there was none')
  assert.equal(check(same, 8), false)
  assert.equal(check(tokens(999, 'a 4'), 8), false, 'the provider was added anew')
  assert.equal(check(tokens(1_001, 'a 4'), 6), false, 'the database was restored')
  assert.equal(check(same, 0), false, 'a gateway that does not count')
  assert.equal(check(same, 6, NOW_MS + 60_000), false, 'what is dead gives way')
  const none = { ...tokens(1_000), changes: 7 }
  const back = { served: none, nowMs: NOW_MS }
  assert.equal(isOutdated({ ...same, changes: 6 }, back), true, 'what was deleted stays deleted')
})

test('a token that is dead gives way to any other', () => {
  const arrived = tokens(999, 'a 4')
  for (const [nowMs, expected] of [
    [NOW_MS + 59_999, true],
    [NOW_MS + 60_000, false],
  ] as const)
    assert.equal(isOutdated(arrived, { served: SERVED, nowMs }), expected)
})
