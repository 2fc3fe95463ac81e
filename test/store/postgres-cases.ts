import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { Client } from 'pg'
import { AppError } from '../../src/core/errors.ts'
import { Secret } from '../../src/core/secret.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import { realClock, realRandom } from '../../src/system/real.ts'
import { openCuttingProxy } from '../support/cutting-proxy.ts'
import { freePort } from '../support/postgres.ts'
import { newStore, type TestDatabase } from './databases.ts'
import { aCredential, aProvider, present, rotation } from './records.ts'

const deps = { clock: realClock, random: realRandom, masterKey: randomBytes(32) }

/** Each dead connection of the pool fails one question, in words, before a new one is opened. */
async function untilBack(store: Store): Promise<void> {
  for (let dead = 0; ; dead += 1) {
    const trouble = await store.ping().then(
      () => null,
      (error: unknown) => error,
    )
    if (trouble === null) return
    assert.ok(trouble instanceof AppError && trouble.code === 'store_unavailable')
    assert.ok(dead < 10, 'the pool has ten connections at most')
  }
}

/** What only a database server can do to its clients. */
export function postgresCases(postgres: TestDatabase): void {
  test('a server that refuses is named, without the password', async () => {
    const good = new URL(await postgres.newLocation())
    const closed = await freePort()
    const cases: readonly (readonly [change: (url: URL) => void, reason: RegExp])[] = [
      [url => (url.port = String(closed)), /ECONNREFUSED/],
      [url => (url.password = 'pass-word-1'), /password authentication failed/],
      [url => (url.pathname = '/nowhere'), /database "nowhere" does not exist/],
    ]
    for (const [change, reason] of cases) {
      const url = new URL(good)
      change(url)
      await assert.rejects(openStore(deps, url.href), (error: Error) => {
        assert.ok('code' in error && error.code === 'store_unavailable')
        const named = `postgres://postgres@${url.host}${url.pathname}`
        assert.ok(error.message.startsWith(`Cannot use the database "${named}": `))
        assert.match(error.message, reason)
        assert.ok(!error.message.includes(url.password))
        return true
      })
    }
  })

  test('a store whose connections were cut goes on with new ones', async t => {
    const { store, location } = await newStore(t, postgres)
    await postgres.run(
      location,
      `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name like 'openshell-%' and datname = current_database()`,
    )
    await untilBack(store)
  })

  test('a connection that is cut in the middle of a statement fails that statement alone', async t => {
    const { store: direct, location, masterKey } = await newStore(t, postgres)
    const provider = aProvider()
    await direct.createProvider(provider, [])
    const wire = await openCuttingProxy(Number(new URL(location).port))
    const store = await openStore({ ...deps, masterKey }, wire.through(location))
    t.after(async () => {
      await store.close()
      await wire[Symbol.asyncDispose]()
    })
    const holder = new Client({ connectionString: location })
    await holder.connect()
    await holder.query('begin')
    await holder.query('select 1 from providers for update')
    const stuck = assert.rejects(store.deleteProvider('default', provider.name), {
      code: 'store_unavailable',
    })
    const waiting = `select 1 from pg_stat_activity where wait_event_type = 'Lock'`
    while ((await postgres.run(location, waiting)).length === 0) await direct.ping()
    wire.cut()
    await stuck
    await holder.query('rollback')
    await holder.end()
    await store.deleteProvider('default', provider.name)
    assert.equal(await store.getProviderById(provider.id), null)
  })

  test('a database that became read-only refuses writes in words, and is whole when that ends', async t => {
    const { store, location } = await newStore(t, postgres)
    const provider = aProvider()
    await store.createProvider(provider, [aCredential(provider)])
    const database = new URL(location).pathname.slice(1)
    const setReadOnly = async (value: 'on' | 'off') => {
      const setting = `alter database "${database}" set default_transaction_read_only = ${value}`
      await postgres.run(location, `begin read write; ${setting}; commit`)
      await postgres.run(
        location,
        `select pg_terminate_backend(pid) from pg_stat_activity
         where application_name like 'openshell-%' and datname = current_database()`,
      )
      await untilBack(store)
    }
    await setReadOnly('on')
    const [row] = await store.listCredentials(provider.id)
    const refused = { code: 'store_unavailable', message: /read-only transaction$/ }
    const rotated = rotation(1, new Map([['ROTATED', new Secret('r')]]))
    await assert.rejects(store.saveCredential(present(row), rotated), refused)
    await assert.rejects(store.deleteProvider('default', provider.name), refused)
    await setReadOnly('off')
    assert.ok(await store.saveCredential(present(row), rotated))
    assert.equal((await store.getProviderById(provider.id))?.material.size, 2)
  })
}
