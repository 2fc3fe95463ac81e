// Goal: the cache builds when it must and no more, whatever the store does.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { bundleOf, routeOf } from '../../test/support/fake-exchange.ts'
import type { Bundle } from '../core/bundle.ts'
import { AppError } from '../core/errors.ts'
import { silentLog } from '../system/log.ts'
import { createBundleCache } from './bundle-cache.ts'

function createWorld(build: () => Promise<Bundle>) {
  const clock = new FakeClock()
  const changes: string[] = []
  const counts = { builds: 0 }
  const cache = createBundleCache({
    build: () => {
      counts.builds += 1
      return build()
    },
    onChange: (_, { revision }) => changes.push(revision),
    clock,
    log: silentLog,
  })
  return { clock, cache, changes, counts }
}
const away = () => Promise.reject(new AppError('store_unavailable', 'Cannot use the database'))

test('one build serves all who come, until something changes', async () => {
  let generation = 1
  const world = createWorld(async () => bundleOf([routeOf({ generation })]))
  await Promise.all(Array.from({ length: 50 }, () => world.cache.current('w')))
  assert.equal(world.counts.builds, 1)
  generation = 2
  world.cache.invalidate('w')
  assert.equal((await world.cache.current('w')).revision, 'r2')
  assert.deepEqual(world.changes, ['r1', 'r2'])
  world.cache.invalidate('w')
  await world.cache.current('w')
  assert.deepEqual(world.changes, ['r1', 'r2'], 'the same content is no change')
})

test('a change that comes while one is being built is not lost, and holds up no push', async () => {
  const gates: PromiseWithResolvers<Bundle>[] = []
  const world = createWorld(() => {
    const gate = Promise.withResolvers<Bundle>()
    gates.push(gate)
    return gate.promise
  })
  const asked = world.cache.current('w')
  world.cache.invalidate('w')
  gates[0]?.resolve(bundleOf([routeOf({ generation: 1 })]))
  while (gates.length < 2) await turn()
  assert.deepEqual(world.changes, ['r1'])
  gates[1]?.resolve(bundleOf([routeOf({ generation: 2 })]))
  assert.equal((await asked).revision, 'r2')
})

test('a refresh of a provider that no route names builds nothing', async () => {
  const world = createWorld(async () => ({
    ...bundleOf([routeOf({ providerName: 'routed' })]),
    failures: [
      {
        ...{ name: 'sandbox-system', providerName: 'failing', code: 'credential_expired' },
        ...{ message: 'gone', sinceMs: 1, nextAttemptAtMs: 2 },
      } as const,
    ],
  }))
  const refresh = async (name: string, workspace = 'w') => {
    world.cache.refreshed({ workspace, name })
    await turn()
    return world.counts.builds
  }
  assert.equal(await refresh('routed'), 0, 'nobody asked for the workspace yet')
  await world.cache.current('w')
  assert.equal(await refresh('other'), 1)
  assert.equal(await refresh('routed', 'elsewhere'), 1)
  assert.equal(await refresh('routed'), 2)
  assert.equal(await refresh('failing'), 3)
  world.cache.invalidate('w')
  assert.equal(await refresh('other'), 5, 'what is being built may name it')
})

test('without the store the last bundle serves while its tokens live, and the store is left in peace', async () => {
  let isAway = false
  let expiresAtMs = new FakeClock().nowMs() + 10_000
  const world = createWorld(() =>
    isAway ? away() : Promise.resolve(bundleOf([routeOf({ expiresAtMs })])),
  )
  const stop = new AbortController()
  const running = world.cache.run(stop.signal)
  await world.cache.current('w')
  isAway = true
  world.cache.invalidate('w')
  assert.equal((await world.cache.current('w')).routes.length, 1)
  await world.clock.advance(9_000)
  const tries = world.counts.builds
  assert.ok(tries >= 9 && tries <= 14, `once a second, not ${tries}`)
  await world.clock.advance(1_000)
  await assert.rejects(world.cache.current('w'), /Cannot use the database/)
  const dead = world.counts.builds
  await world.clock.advance(10_000)
  assert.ok(world.counts.builds - dead <= 11, `${world.counts.builds - dead}`)
  isAway = false
  expiresAtMs += 100_000
  await world.clock.advance(1_000)
  const back = world.counts.builds
  assert.equal((await world.cache.current('w')).routes.length, 1)
  assert.equal(world.counts.builds, back, 'built before anyone asked')
  stop.abort()
  await running
})

test('a store that hangs until a token has died brings no bundle with it', async () => {
  const gates: PromiseWithResolvers<Bundle>[] = []
  const world = createWorld(() => {
    const gate = Promise.withResolvers<Bundle>()
    gates.push(gate)
    return gate.promise
  })
  const expiresAtMs = world.clock.nowMs() + 10_000
  const first = world.cache.current('w')
  gates[0]?.resolve(bundleOf([routeOf({ expiresAtMs })]))
  assert.equal((await first).routes.length, 1)
  await world.clock.advance(9_999)
  world.cache.invalidate('w')
  const second = world.cache.current('w')
  await world.clock.advance(2_000)
  gates[1]?.reject(new AppError('store_unavailable', 'Cannot use the database'))
  await assert.rejects(second, /Cannot use the database/)
  // Another time it answers, with what it read before the token died.
  const third = world.cache.current('w')
  gates[2]?.resolve(bundleOf([routeOf({ expiresAtMs })]))
  while (gates.length < 4) await turn()
  gates[3]?.resolve(bundleOf([]))
  assert.equal((await third).routes.length, 0)
})

test('a store that hangs holds up neither a poll nor the next build', async () => {
  let isHanging = false
  let generation = 1
  const world = createWorld(async () => {
    if (isHanging) await new Promise<never>(() => undefined)
    return bundleOf([routeOf({ generation })])
  })
  await world.cache.current('w')
  isHanging = true
  generation = 2
  world.cache.invalidate('w')
  let answered = ''
  const polled = world.cache.current('w').then(({ revision }) => {
    answered = revision
  })
  await world.clock.advance(999)
  assert.equal(answered, '')
  await world.clock.advance(1)
  await polled
  assert.equal(answered, 'r1', 'what stands is answered after a second')
  isHanging = false
  const stop = new AbortController()
  const running = world.cache.run(stop.signal)
  await world.clock.advance(4_000)
  assert.deepEqual(world.changes, ['r1', 'r2'], 'the next build does not wait for the first')
  stop.abort()
  await world.clock.advance(60_000)
  await running
})
