import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { Secret } from '../../src/core/secret.ts'
import { openStore } from '../../src/store/open.ts'
import { openOperations } from '../../src/store/operations.ts'
import { realRandom } from '../../src/system/real.ts'
import { handClock, newStore, type TestDatabase } from './databases.ts'
import { aCredential, aProvider, aToken, revealed } from './records.ts'
import { STEPS } from './upgrade-cases.ts'

const TABLES = [
  'providers',
  'provider_secrets',
  'credentials',
  'routes',
  'gateway_secrets',
] as const

export function openCases(database: TestDatabase): void {
  test('a store that is opened again has kept everything', async t => {
    const { store, openAgain } = await newStore(t, database)
    const provider = aProvider()
    const credential = aCredential(provider, { token: aToken(), dueAtMs: 77 })
    await store.createProvider(provider, [credential])
    await store.close()
    const again = await openAgain()
    assert.deepEqual(revealed(await again.getProvider('default', 'my-vertex')), revealed(provider))
    assert.deepEqual(revealed(await again.listCredentials(provider.id)), [revealed(credential)])
    assert.equal(await again.earliestDueAtMs(), 77)
  })

  test('several gateways may make the same new database at once', async t => {
    const location = await database.newLocation()
    const deps = { clock: handClock(0), random: realRandom, masterKey: randomBytes(32) }
    const stores = await Promise.all(Array.from({ length: 4 }, () => openStore(deps, location)))
    t.after(() => Promise.all(stores.map(store => store.close())))
    await stores[0]?.putGatewaySecret('a', new Secret('b'))
    for (const store of stores) {
      assert.equal((await store.getGatewaySecret('a'))?.reveal(), 'b')
    }
    const ran = await database.run(location, 'select name from openshell_migrations')
    assert.deepEqual(
      ran.map(row => row.name),
      STEPS,
    )
  })

  test('a wrong master key is told apart, and changes nothing', async t => {
    const { store, location, openAgain } = await newStore(t, database)
    const provider = aProvider()
    await store.createProvider(provider, [aCredential(provider, { token: aToken() })])
    const content = async () => {
      const rows = TABLES.map(table => database.run(location, `select * from ${table}`))
      return JSON.stringify(await Promise.all(rows))
    }
    const before = await content()
    await assert.rejects(openAgain(randomBytes(32)), (error: Error) => {
      assert.match(error.message, /^The master key does not open the database "[^"]+"$/)
      assert.ok('code' in error && error.code === 'wrong_master_key')
      assert.ok('hint' in error && error.hint !== '')
      return true
    })
    assert.equal(await content(), before)
    assert.ok(await (await openAgain()).getProvider('default', 'my-vertex'))
  })

  test('of two gateways with different keys that make a database, one is refused', async t => {
    const location = await database.newLocation()
    const outcomes = await Promise.allSettled(
      [randomBytes(32), randomBytes(32)].map(masterKey =>
        openStore({ clock: handClock(0), random: realRandom, masterKey }, location),
      ),
    )
    t.after(async () => {
      for (const one of outcomes) if (one.status === 'fulfilled') await one.value.close()
    })
    const refused = outcomes.filter(one => one.status === 'rejected')
    assert.deepEqual(
      refused.map(one => one.reason.code),
      ['wrong_master_key'],
    )
  })

  test('a schema of a newer version is refused and left alone', async t => {
    const { store, location, openAgain } = await newStore(t, database)
    await store.close()
    await database.run(
      location,
      `insert into openshell_migrations (name, timestamp) values ('0999', '2030-01-01T00:00:00.000Z')`,
    )
    await assert.rejects(openAgain(), {
      code: 'store_unavailable',
      message: /has schema 0999, which this version does not know$/,
      hint: /newer version/,
    })
  })

  test('operations need a store that exists, with the schema of this version', async t => {
    const { location, store, clock, masterKey } = await newStore(t, database)
    await store.close()
    const deps = { clock, random: realRandom, masterKey }
    await database.run(location, `delete from openshell_migrations where name = '${STEPS.at(-1)}'`)
    await assert.rejects(openOperations(deps, location), {
      code: 'failed_precondition',
      message: /has schema 0\d+, this version works on 0\d+$/,
    })
    await assert.rejects(openOperations(deps, await database.newLocation()), { code: 'not_found' })
  })

  test('an envelope that was moved to another row does not open', async t => {
    const { store, location } = await newStore(t, database)
    const [one, other] = [aProvider({ name: 'one' }), aProvider({ name: 'other' })]
    for (const provider of [one, other])
      await store.createProvider(provider, [aCredential(provider, { token: aToken() })])
    const from = (table: string, column: string) =>
      `update ${table} set ${column} = (select ${column} from ${table} where provider_id = '${other.id}')
       where provider_id = '${one.id}'`
    await database.run(location, from('provider_secrets', 'envelope'))
    await database.run(location, from('credentials', 'token_envelope'))
    const refused = (place: string) => ({
      code: 'store_unavailable',
      message: `Cannot unseal "${place}": it is damaged or was sealed for another place`,
    })
    const materialPlace = `provider/${one.id}/GOOGLE_SERVICE_ACCOUNT_JSON`
    await assert.rejects(store.getProvider('default', 'one'), refused(materialPlace))
    const [credential] = await store.listCredentials(one.id)
    assert.equal(credential?.token, null)
    assert.ok(await store.getProvider('default', 'other'))
  })

  test('a damaged configuration is called so, and names its provider', async t => {
    const { store, location } = await newStore(t, database)
    await store.createProvider(aProvider(), [])
    for (const config of ['{"A":', '[]', 'null', '{"A":1}']) {
      await database.run(location, `update providers set config = '${config}'`)
      await assert.rejects(store.getProvider('default', 'my-vertex'), {
        code: 'store_unavailable',
        message: 'Cannot read provider "my-vertex" from the database: it is damaged',
      })
    }
  })

  test('a lost table and a closed store are trouble that names the database', async t => {
    const { store, location } = await newStore(t, database)
    await store.ping()
    await database.run(location, 'drop table routes')
    await assert.rejects(store.listRoutes('default'), (error: Error) => {
      assert.ok('code' in error && error.code === 'store_unavailable')
      assert.match(error.message, /^Cannot use the database "(\/|postgres:)/)
      assert.doesNotMatch(error.message, /postgres:[^@/]+@/)
      return true
    })
    await store.close()
    await assert.rejects(store.ping(), { code: 'store_unavailable' })
    await store.close()
  })
}
