// Goal: who watches is known until it leaves, and nobody's leave takes another off the roster.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { createRoster, type Watcher } from './roster.ts'

const watcher = (sandboxId: string): Watcher => ({
  sandboxId,
  acknowledged: null,
  pushedAtMs: null,
})

test('a leave that is said twice takes nobody off who came in between', () => {
  const roster = createRoster<Watcher>(new FakeClock())
  const leave = roster.add('w', watcher('first'))
  leave()
  assert.deepEqual([...roster.workspaces()], [])
  const second = watcher('second')
  const leaveSecond = roster.add('w', second)
  leave()
  assert.deepEqual([...roster.members('w')], [second])
  leaveSecond()
  assert.deepEqual([...roster.workspaces()], [])
})
