import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createLimiter } from './limiter.ts'

test('so many at a time per key, the others in order, and no key holds up another', async () => {
  const limiter = createLimiter(2)
  const began: string[] = []
  const doors = new Map<string, PromiseWithResolvers<void>>()
  const enter = (key: string, name: string) => {
    const door = Promise.withResolvers<void>()
    doors.set(name, door)
    return limiter.run(key, async () => {
      began.push(name)
      await door.promise
      return name
    })
  }
  const all = ['a1', 'a2', 'a3', 'a4', 'b1'].map(name => enter(name.slice(0, 1), name))
  await Promise.resolve()
  await Promise.resolve()
  assert.deepEqual(began, ['a1', 'a2', 'b1'])
  doors.get('a2')?.resolve()
  await all[1]
  doors.get('a3')?.reject(new Error('a failure leaves, too'))
  await assert.rejects(all[2] ?? Promise.resolve(), /leaves/)
  assert.deepEqual(began, ['a1', 'a2', 'b1', 'a3', 'a4'])
  for (const name of ['a1', 'a4', 'b1']) doors.get(name)?.resolve()
  assert.deepEqual(await Promise.all([all[0], all[3], all[4]]), ['a1', 'a4', 'b1'])
})
