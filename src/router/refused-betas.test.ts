import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { RefusedBetas } from './refused-betas.ts'

test('a refusal holds for its place, and for an hour', async () => {
  const clock = new FakeClock()
  const refused = new RefusedBetas(clock)
  refused.add('a', ['x', 'y'])
  assert.deepEqual(
    ['x', 'y', 'z'].map(value => refused.has('a', value)),
    [true, true, false],
  )
  assert.equal(refused.has('b', 'x'), false)
  await clock.advance(3_600_000 - 1)
  assert.equal(refused.has('a', 'x'), true)
  refused.add('a', ['y'])
  await clock.advance(1)
  assert.deepEqual(
    ['x', 'y'].map(value => refused.has('a', value)),
    [false, true],
  )
})

test('a thousand are remembered, the latest', () => {
  const refused = new RefusedBetas(new FakeClock())
  const values = Array.from({ length: 1_000 }, (_, at) => `v${at}`)
  refused.add('a', values)
  assert.equal(refused.has('a', 'v0'), true)
  refused.add('a', ['v0', 'new'])
  assert.deepEqual(
    ['v0', 'new', 'v1', 'v2'].map(value => refused.has('a', value)),
    [true, true, false, true],
  )
})
