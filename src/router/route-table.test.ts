import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bundleOf, routeOf } from '../../test/support/fake-exchange.ts'
import type { Bundle } from '../core/bundle.ts'
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

test('waiting ends with a bundle that is as asked for, also when it is there already', async () => {
  const table = createRouteTable()
  table.swap(bundleOf([routeOf({ generation: 2 })]))
  const hasNewer = (than: number) => (bundle: Bundle | null) =>
    bundle?.routes.some(route => route.generation > than) ?? false
  await table.waitUntil(hasNewer(1), never)
  const ended: number[] = []
  const waiting = [2, 3].map(than =>
    table.waitUntil(hasNewer(than), never).then(() => ended.push(than)),
  )
  table.swap(bundleOf([routeOf({ generation: 2 })]))
  table.swap(bundleOf([routeOf({ generation: 3 })]))
  await waiting[0]
  assert.deepEqual(ended, [2])
  table.swap(bundleOf([routeOf({ generation: 4 })]))
  await waiting[1]
  assert.deepEqual(ended, [2, 3])
})

test('waiting ends with its signal', async () => {
  const table = createRouteTable()
  await table.waitUntil(() => false, AbortSignal.abort())
  const stop = new AbortController()
  const stopped = table.waitUntil(() => false, stop.signal)
  stop.abort()
  await stopped
})
