// Goal: a disk that is full or takes no writes is told of in words, and what was stored stays whole
// and readable. Method: SQLite's own limits, set on the store's own connection.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { sql } from 'kysely'
import { Secret } from '../../src/core/secret.ts'
import { openKeyRing } from '../../src/store/key-ring.ts'
import { openStore } from '../../src/store/open.ts'
import { createSealer } from '../../src/store/seal.ts'
import { createSqlStore } from '../../src/store/sql-store.ts'
import { openSqlite } from '../../src/store/sqlite.ts'
import type { ContentChange, Store } from '../../src/store/store.ts'
import { realClock, realRandom } from '../../src/system/real.ts'
import { aCredential, aProvider, aToken, present, revealed } from './records.ts'

const KEY = 'GOOGLE_SERVICE_ACCOUNT_JSON'
const LARGE = 'x'.repeat(60_000)

const folder = mkdtempSync(path.join(os.tmpdir(), 'openshell-full-'))
after(() => rmSync(folder, { recursive: true, force: true }))

let files = 0

/** A store with one provider, and a hand on its connection. */
async function openOnDisk() {
  files += 1
  const file = path.join(folder, `${files}.db`)
  const masterKey = randomBytes(32)
  const deps = { clock: realClock, random: realRandom, masterKey }
  const provider = aProvider()
  const made = await openStore(deps, `sqlite:${file}`)
  await made.createProvider(provider, [aCredential(provider, { token: aToken() })])
  await made.close()
  const database = await openSqlite(file, { clock: realClock, gather: async () => {} })
  const ring = await openKeyRing(async () => [masterKey])
  const sealer = createSealer(ring, realRandom)
  const store = createSqlStore({ database, ring, sealer, clock: realClock, random: realRandom })
  const pragma = async (text: string): Promise<Readonly<Record<string, unknown>>> => {
    const { rows } = await sql<
      Readonly<Record<string, unknown>>
    >`${sql.raw(`pragma ${text}`)}`.execute(database.db)
    return rows[0] ?? {}
  }
  return { file, store, provider, pragma }
}

/** All that the store holds, to compare. */
async function contentOf(store: Store): Promise<unknown> {
  const page = await store.listProviders(null, { limit: 100, offset: 0 })
  const rows = await Promise.all(page.providers.map(one => store.listCredentials(one.id)))
  return revealed({ page, rows })
}

function rotationTo(value: string): ContentChange {
  const rotatedMaterial = new Map([[KEY, new Secret(value)]])
  return { providerVersion: 1, rotatedMaterial, candidate: 'kept' }
}

for (const [trouble, on, off, reason] of [
  ['a full disk', 'max_page_count = 1', 'max_page_count = 1000000', 'database or disk is full'],
  [
    'a disk that takes no writes',
    'query_only = 1',
    'query_only = 0',
    'attempt to write a readonly database',
  ],
] as const) {
  test(`${trouble} refuses writes whole, in words, and reads go on`, async () => {
    const { file, store, provider, pragma } = await openOnDisk()
    const [row] = await store.listCredentials(provider.id)
    const before = await contentOf(store)
    await pragma(on)
    const refused = {
      code: 'store_unavailable',
      message: `Cannot use the database "${file}": ${reason}`,
    }
    const large = { material: new Map([[KEY, new Secret(LARGE)]]), config: new Map() }
    const other = aProvider({ name: 'other', ...large })
    const writes: readonly (() => Promise<unknown>)[] = [
      () => store.createProvider(other, [aCredential(other)]),
      () => store.updateProvider(provider, large, [aCredential(provider)]),
      () => store.stageProvider(provider, large, present(row)),
      () => store.saveCredential({ ...present(row), generation: 9 }, rotationTo(LARGE)),
      () => store.putGatewaySecret('large', new Secret(LARGE)),
    ]
    for (const write of writes) await assert.rejects(write(), refused, String(write))
    assert.deepEqual(await contentOf(store), before)
    await store.ping()
    await pragma(off)
    for (const write of writes.slice(3)) assert.ok((await write()) !== null, String(write))
    const stored = await store.getProvider('default', provider.name)
    assert.equal(stored?.material.get(KEY)?.reveal(), LARGE)
    await store.close()
  })
}

test('on a full disk what has its place already can still be renewed and deleted', async () => {
  const { store, provider, pragma } = await openOnDisk()
  const [row] = await store.listCredentials(provider.id)
  await pragma('max_page_count = 1')
  const token = aToken()
  const saved = await store.saveCredential({ ...present(row), token }, null)
  assert.deepEqual(revealed(saved?.token), revealed(token))
  assert.ok(await store.deleteProvider('default', provider.name))
  await store.close()
})
