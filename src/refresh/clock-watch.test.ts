// Goal: however the wall clock is set, no dead token passes for a living one. Method: as in
// task.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { present } from '../../test/store/records.ts'
import { createRefreshWorld } from '../../test/support/refresh-world.ts'
import { usableToken } from '../core/credential.ts'
import { Secret } from '../core/secret.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

test('a wall clock that jumps ahead is noticed within 5 s', async t => {
  const world = await createRefreshWorld(t)
  const provider = await world.add('one')
  world.run()
  await world.clock.advance(MINUTE_MS)
  world.clock.stepWall(2 * HOUR_MS)
  assert.equal(usableToken(await world.credentialOf(provider), world.clock.nowMs()), null)
  await world.clock.advance(5_000)
  assert.ok(usableToken(await world.credentialOf(provider), world.clock.nowMs()) !== null)
  assert.equal(world.peer.requests.length, 2)
})

test('a wall clock that is set back is noticed within 5 s: no dead token passes for a living one', async t => {
  const world = await createRefreshWorld(t)
  const provider = await world.add('one')
  world.run()
  await world.clock.advance(30 * MINUTE_MS)
  world.clock.stepWall(-HOUR_MS)
  await world.clock.advance(5_000)
  assert.equal(world.peer.requests.length, 2)
  const credential = await world.credentialOf(provider)
  assert.ok(present(credential.token).expiresAtMs <= world.clock.nowMs() + HOUR_MS)
  await world.clock.advance(HOUR_MS)
  assert.equal(world.peer.requests.length, 3)
})

test('a stored token that comes from the future is renewed at the start; a parked one is left', async t => {
  const world = await createRefreshWorld(t)
  const nowMs = world.clock.nowMs()
  const stamped = (aheadMs: number) => ({
    token: {
      value: new Secret('old'),
      issuedAtMs: nowMs + aheadMs,
      expiresAtMs: nowMs + aheadMs + HOUR_MS,
    },
    dueAtMs: nowMs + aheadMs + 55 * MINUTE_MS,
  })
  const future = await world.add('future', { credential: stamped(HOUR_MS) })
  const fine = await world.add('fine', { credential: stamped(MINUTE_MS) })
  const parked = await world.add('parked', { credential: { ...stamped(HOUR_MS), dueAtMs: null } })
  world.run()
  await world.rest()
  assert.deepEqual(
    await Promise.all(
      [future, fine, parked].map(async one => (await world.credentialOf(one)).generation),
    ),
    [1, 0, 0],
  )
})

test('what a time server does all day sets nothing in motion', async t => {
  const world = await createRefreshWorld(t)
  await world.add('one')
  world.run()
  await world.clock.advance(MINUTE_MS)
  for (const stepMs of [-1_500, 1_500, -1_500, 1_500]) {
    world.clock.stepWall(stepMs)
    await world.clock.advance(10_000)
  }
  assert.equal(world.peer.requests.length, 1)
})
