import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { openStore } from '../../src/store/open.ts'
import { realClock, realRandom } from '../../src/system/real.ts'
import { freePort } from '../support/postgres.ts'
import { newStore, postgres } from './databases.ts'

const deps = { clock: realClock, random: realRandom, masterKey: randomBytes(32) }

/** What only a database server can do to its clients. */
export function postgresCases(): void {
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
       where application_name = 'openshell' and datname = current_database()`,
    )
    const isBack = await store.ping().then(
      () => true,
      (error: unknown) => {
        assert.ok(error instanceof Error && 'code' in error)
        assert.equal(error.code, 'store_unavailable')
        return false
      },
    )
    if (!isBack) await store.ping()
  })
}
