import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { aProvider } from '../../test/store/records.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { seededRandom } from '../../test/support/seeded-random.ts'
import { bareSandbox } from '../core/sandbox.ts'
import { newCredential } from '../refresh/transition.ts'
import { openStore } from '../store/open.ts'
import { silentLog } from '../system/log.ts'
import { watchStore } from './store-watch.ts'

test('trouble of the database is told and goes on to the caller; all else passes', async context => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'store-watch-'))
  context.after(() => rmSync(folder, { recursive: true }))
  const outside = { clock: new FakeClock(), random: seededRandom(1), log: silentLog }
  const place = `sqlite:${path.join(folder, 'gateway.db')}`
  const store = await openStore({ ...outside, masterKey: new Uint8Array(32) }, place)
  let troubles = 0
  const seen: string[] = []
  const watched = watchStore(store, {
    onTrouble() {
      troubles += 1
    },
    onCredentials: rows => void seen.push(...rows.map(one => one.providerId)),
  })
  const credential = newCredential('p', 'TOKEN', 1)
  await watched.createProvider(aProvider({ id: 'p' }), [credential])
  assert.equal((await watched.listCredentials('p')).length, 1)
  assert.deepEqual(seen, ['p'])
  const sandbox = bareSandbox({ id: 'i', workspace: 'default', name: 's', createdAtMs: 1 })
  await watched.createSandbox(sandbox)
  assert.deepEqual(await watched.getSandbox('default', 's'), sandbox)
  await assert.rejects(watched.createSandbox(sandbox), { code: 'already_exists' })
  assert.equal(troubles, 0)
  await watched.close()
  await assert.rejects(watched.getSandbox('w', 's'), { code: 'store_unavailable' })
  await assert.rejects(watched.ping(), { code: 'store_unavailable' })
  assert.equal(troubles, 2)
})
