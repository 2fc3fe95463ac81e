// Goal: stores that falter and gateways that stop or are killed lose no token and no due time.
// Method: as in task.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createRefreshWorld } from '../../test/support/refresh-world.ts'
import { AppError } from '../core/errors.ts'

const MINUTE_MS = 60_000

test('what a killed gateway had claimed is minted by the next within half a minute', async t => {
  const world = await createRefreshWorld(t)
  const nowMs = world.clock.nowMs()
  const provider = await world.add('one')
  await world.store.claimDue({ owner: 'killed', nowMs, untilMs: nowMs + 30_000 }, 10)
  world.run()
  await world.clock.advance(29_999)
  assert.equal(world.peer.requests.length, 0)
  await world.clock.advance(1)
  assert.equal((await world.credentialOf(provider)).generation, 1)
})

test('a store that fails for a moment loses no minted token', async t => {
  let failures = 0
  const world = await createRefreshWorld(t, {
    wrapStore: store => ({
      ...store,
      async saveCredential(credential, change) {
        failures += 1
        if (failures <= 3) throw new AppError('store_unavailable', 'Cannot use the database')
        return store.saveCredential(credential, change)
      },
    }),
  })
  const provider = await world.add('one')
  world.run()
  await world.clock.advance(3_000)
  assert.equal((await world.credentialOf(provider)).token?.value.reveal(), 'token-1')
  await world.clock.advance(MINUTE_MS)
  assert.equal(world.peer.requests.length, 1)
})

test('a store that cannot be asked is asked again, and the task goes on', async t => {
  let isDown = true
  const fail = () => {
    if (isDown) throw new AppError('store_unavailable', 'Cannot use the database')
  }
  const world = await createRefreshWorld(t, {
    wrapStore: store => ({
      ...store,
      async claimDue(claim, limit) {
        fail()
        return store.claimDue(claim, limit)
      },
      async getProviderById(id) {
        fail()
        return store.getProviderById(id)
      },
    }),
  })
  const provider = await world.add('one')
  world.run()
  await world.clock.advance(MINUTE_MS)
  assert.equal(world.peer.requests.length, 0)
  isDown = false
  await world.clock.advance(1_000)
  assert.equal((await world.credentialOf(provider)).generation, 1)
})

test('what another gateway is just claiming is looked at again after a moment, not in a circle', async t => {
  let claims = 0
  const world = await createRefreshWorld(t, {
    wrapStore: store => ({
      ...store,
      async claimDue(claim, limit) {
        claims += 1
        // PostgreSQL skips what another has locked, and shows it as due until that one commits.
        return claims <= 2 ? [] : store.claimDue(claim, limit)
      },
    }),
  })
  const provider = await world.add('one')
  world.run()
  await world.clock.advance(99)
  assert.equal(claims, 1)
  await world.clock.advance(1)
  assert.equal(claims, 2)
  await world.clock.advance(100)
  assert.equal((await world.credentialOf(provider)).generation, 1)
})

test('stopping finishes what has begun and lets go of what waits in line', async t => {
  const world = await createRefreshWorld(t, { answerOf: () => 'silence' })
  const providers = []
  for (let index = 0; index < 20; index += 1) providers.push(await world.add(`p-${index}`))
  world.run()
  await world.rest()
  assert.equal(world.peer.requests.length, 16)
  const stopped = world.stop()
  await world.clock.advance(10_000)
  await stopped
  assert.equal(world.peer.requests.length, 16)
  const credentials = await Promise.all(providers.map(world.credentialOf))
  assert.equal(credentials.filter(one => one.failure?.class === 'T').length, 16)
  // The four others are as they were: due, and free for whoever starts next.
  const untouched = credentials.filter(one => one.failure === null)
  assert.equal(untouched.length, 4)
  for (const one of untouched) {
    assert.deepEqual([one.claimedBy, one.dueAtMs], ['', 1_800_000_000_000])
  }
})

test('a wake-up while the task works is not lost, and the sweep finds what nobody announced', async t => {
  const world = await createRefreshWorld(t, { sweepMs: MINUTE_MS })
  world.run()
  world.task.wake()
  await world.rest()
  const silent = await world.add('silent')
  await world.clock.advance(MINUTE_MS)
  assert.equal((await world.credentialOf(silent)).generation, 1)
  const announced = await world.add('announced')
  world.task.wake()
  await world.rest()
  assert.equal((await world.credentialOf(announced)).generation, 1)
})
