import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createNewest } from './newest.ts'

test('the newest are kept, up to the limit; what is set again is new again', () => {
  const newest = createNewest<number>(2)
  const kept = () => ['a', 'b', 'c'].map(name => newest.get(name) ?? null)
  newest.set('a', 1)
  newest.set('b', 2)
  assert.deepEqual(kept(), [1, 2, null])
  newest.set('a', 3)
  newest.set('c', 4)
  assert.deepEqual(kept(), [3, null, 4])
  newest.delete('a')
  newest.set('b', 5)
  assert.deepEqual(kept(), [null, 5, 4])
})

test('all are forgotten at once', () => {
  const newest = createNewest<number>(2)
  newest.set('a', 1)
  newest.clear()
  assert.equal(newest.get('a'), undefined)
})
