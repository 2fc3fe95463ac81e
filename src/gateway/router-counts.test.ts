// Goal: what gateways tell one another of their routers is true again soon after any of them was away.
// Method: two gateways' stores over one file, and clocks that the test moves.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { seededRandom } from '../../test/support/seeded-random.ts'
import { openStore } from '../store/open.ts'
import { silentLog } from '../system/log.ts'
import { tellRouterCounts } from './router-counts.ts'

test('a gateway that was silent until others had forgotten it tells of its routers again', async t => {
  const folder = mkdtempSync(path.join(tmpdir(), 'router-counts-'))
  const clock = new FakeClock()
  const deps = { clock, random: seededRandom(), masterKey: new Uint8Array(32) }
  const store = await openStore(deps, `sqlite:${folder}/gateway.db`)
  const stop = new AbortController()
  const counts = new Map([['w', new Map([['r1', 3]])]])
  const rest = { store, clock, log: silentLog, gateway: 'one' }
  const telling = tellRouterCounts(rest, () => counts, stop.signal)
  t.after(async () => {
    stop.abort()
    await telling
    await store.close()
    rmSync(folder, { recursive: true })
  })
  const known = () => store.listRouterCounts({ workspace: 'w', except: 'two' })
  await clock.advance(1_000)
  assert.deepEqual(await known(), [counts.get('w')])
  // It was stopped, and another gateway took away what it had left.
  clock.stepWall(61_000)
  await store.confirmRouterCounts('two')
  assert.deepEqual(await known(), [])
  await clock.advance(7_000)
  assert.deepEqual(await known(), [counts.get('w')])
})
