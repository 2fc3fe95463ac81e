import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bundleOf, routeOf } from '../../test/support/fake-exchange.ts'
import { createRouteTable } from './route-table.ts'

const never = new AbortController().signal

test('a table is empty at first, and is swapped whole', () => {
  const table = createRouteTable()
  assert.equal(table.current(), null)
  const first = bundleOf([routeOf({ generation: 1 })])
  table.swap(first)
  const held = table.current()
  table.swap(bundleOf([]))
  assert.equal(held, first)
  assert.deepEqual(table.current()?.routes, [])
})

test('waiting ends with the newer token, also when it is there already', async () => {
  const table = createRouteTable()
  table.swap(bundleOf([routeOf({ generation: 2 })]))
  assert.equal((await table.waitForNewer('acme', 1, never))?.generation, 2)
  const waiting = [table.waitForNewer('acme', 2, never), table.waitForNewer('acme', 2, never)]
  table.swap(
    bundleOf([routeOf({ generation: 2 }), routeOf({ providerName: 'other', generation: 9 })]),
  )
  table.swap(bundleOf([routeOf({ generation: 3 })]))
  const found = await Promise.all(waiting)
  assert.deepEqual(
    found.map(route => route?.generation),
    [3, 3],
  )
})

test('waiting ends with nothing when the signal aborts or the provider has no route', async () => {
  const table = createRouteTable()
  assert.equal(await table.waitForNewer('acme', 1, never), null)
  table.swap(bundleOf([routeOf({ generation: 1 })]))
  assert.equal(await table.waitForNewer('acme', 1, AbortSignal.abort()), null)
  const stop = new AbortController()
  const stopped = table.waitForNewer('acme', 1, stop.signal)
  const orphaned = table.waitForNewer('acme', 1, never)
  stop.abort()
  assert.equal(await stopped, null)
  table.swap(bundleOf([routeOf({ providerName: 'other', generation: 5 })]))
  assert.equal(await orphaned, null)
})
