import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { Secret } from '../../src/core/secret.ts'
import { openOperations } from '../../src/store/operations.ts'
import { SEALED_COLUMNS } from '../../src/store/sealed-columns.ts'
import { realRandom } from '../../src/system/real.ts'
import { newStore, type TestDatabase } from './databases.ts'
import {
  aCredential,
  aGrant,
  aProvider,
  aSandbox,
  aToken,
  present,
  revealed,
  rotation,
} from './records.ts'

/** More than a batch, so that a walk has a second one. */
const PROVIDERS = 230

const silent = () => undefined

export function rekeyCases(database: TestDatabase): void {
  /** A store with something in every sealed column, whose gateway reads `keys` whenever it looks. */
  async function filled(t: TestContext, count = 3) {
    const keys = [randomBytes(32)]
    const opened = await newStore(t, database, async () => keys)
    const { store, location, clock } = opened
    const providers = Array.from({ length: count }, (_, index) => aProvider({ name: `p${index}` }))
    for (const provider of providers) {
      const credential = aCredential(provider, { token: aToken() })
      await store.createProvider(provider, [credential])
      const candidate = {
        material: new Map([['NEXT', new Secret('next')]]),
        config: new Map([['A', 'b']]),
      }
      const [row] = await store.listCredentials(provider.id)
      assert.ok(await store.stageProvider(provider, candidate, present(row)))
      const configured = aCredential(provider, { key: 'CONFIGURED', version: 0, grant: aGrant() })
      assert.ok(await store.configureCredential(configured))
    }
    await store.putGatewaySecret('signing-key', new Secret('the key'))
    await store.createSandbox(aSandbox({ spec: new Uint8Array([1, 2, 3]) }))
    await store.announce('gateway')
    const operations = async (held: readonly Uint8Array[] = keys) => {
      const deps = { clock, random: realRandom, masterKey: async () => held }
      const one = await openOperations(deps, location)
      t.after(() => one.close())
      return one
    }
    return { ...opened, keys, providers, operations }
  }
  const contentOf = async (opened: Awaited<ReturnType<typeof filled>>) => {
    const page = await opened.store.listProviders(null, { limit: 1_000, offset: 0 })
    const rows = await Promise.all(page.providers.map(one => opened.store.listCredentials(one.id)))
    const key = await opened.store.getGatewaySecret('signing-key')
    return revealed([page, rows, key, await opened.store.getSandbox('default', 'box')])
  }
  const envelopesOf = async (location: string): Promise<readonly string[]> => {
    const texts = SEALED_COLUMNS.map(({ table, column }) =>
      database.run(
        location,
        `select ${column} as envelope from ${table} where ${column} is not null`,
      ),
    )
    return (await Promise.all(texts)).flat().map(row => String(row.envelope))
  }

  test('every column that holds envelopes is known to the rekey', async t => {
    const { location } = await newStore(t, database)
    const columns =
      database.name === 'SQLite'
        ? `select m.name as tab, c.name as col from sqlite_schema m, pragma_table_info(m.name) c
           where m.type = 'table' and c.name like '%envelope%'`
        : `select table_name as tab, column_name as col from information_schema.columns
           where table_schema = 'public' and column_name like '%envelope%'`
    const found = (await database.run(location, columns)).map(row => `${row.tab}.${row.col}`)
    const known = SEALED_COLUMNS.map(one => `${one.table}.${one.column}`)
    assert.deepEqual(found.sort(), known.sort())
  })

  test('a rekey puts all under the new key while a gateway goes on; the old one opens nothing', async t => {
    const opened = await filled(t, PROVIDERS)
    const { store, keys, location, openAgain } = opened
    const before = await contentOf(opened)
    const fresh = randomBytes(32)
    keys.push(fresh)
    await store.announce('gateway')
    const told: number[] = []
    const operations = await opened.operations()
    const running = operations.rekey(rewrapped => told.push(rewrapped))
    // The gateway reads and writes meanwhile.
    for (const provider of opened.providers.slice(0, 20)) {
      assert.ok(await store.getProviderById(provider.id))
      const [credential] = await store.listCredentials(provider.id)
      assert.ok(await store.saveCredential(present(credential), null))
    }
    const report = await running
    assert.equal(report.outcome, 'done')
    assert.deepEqual(report.unreadable, [])
    assert.ok(report.rewrapped >= 4 * PROVIDERS - 20 && told.at(-1) === report.rewrapped)
    const envelopes = await envelopesOf(location)
    assert.equal(envelopes.length, 4 * PROVIDERS + 3)
    for (const envelope of envelopes) assert.equal(envelope.split('.')[1], report.keyId)
    const versions = /"version":\d+/g
    const text = (value: unknown) => JSON.stringify(value).replace(versions, '')
    assert.equal(text(await contentOf(opened)), text(before))
    await store.close()
    await assert.rejects(openAgain(present(keys[0])), { code: 'wrong_master_key' })
    assert.ok(await (await openAgain(fresh)).getProvider('default', 'p0'))
  })

  test('a gateway that does not hold the new key yet stops the rekey, by name, before it begins', async t => {
    const { keys, location, operations, store, clock } = await filled(t)
    const both = [...keys, randomBytes(32)]
    const before = await envelopesOf(location)
    const one = await operations(both)
    assert.deepEqual(await one.gatewaysWithoutNewestKey(), ['gateway'])
    await assert.rejects(one.rekey(silent), {
      code: 'failed_precondition',
      message: /do not hold the new master key [0-9a-f]{8} yet: "gateway"$/,
    })
    assert.deepEqual(await envelopesOf(location), before)
    const status = await one.status()
    assert.deepEqual([status.leavingMasterKeys, status.envelopesToRewrap], [[], 0])
    // One that was killed is forgotten, one that stopped at once.
    clock.setMs(clock.nowMs() + 60_000)
    assert.deepEqual(await one.gatewaysWithoutNewestKey(), [])
    await store.announce('gateway')
    await store.withdraw('gateway')
    assert.equal((await one.rekey(silent)).outcome, 'done')
  })

  test('the rows of gateways that were killed do not pile up', async t => {
    const { store, clock, location } = await filled(t)
    clock.setMs(clock.nowMs() + 86_400_001)
    await store.announce('another')
    const rows = await database.run(location, 'select id from gateways')
    assert.deepEqual(
      rows.map(row => row.id),
      ['another'],
    )
  })

  test('a rekey that is cut off goes on where it was; meanwhile it takes both keys', async t => {
    const opened = await filled(t, PROVIDERS)
    const { keys, operations, openAgain, store } = opened
    const [old] = keys
    keys.push(randomBytes(32))
    await store.announce('gateway')
    const before = await contentOf(opened)
    const one = await operations()
    await assert.rejects(
      one.rekey(() => {
        throw new TypeError('killed')
      }),
      TypeError,
    )
    const status = await one.status()
    assert.equal(status.leavingMasterKeys.length, 1)
    assert.ok(status.envelopesToRewrap > 0 && status.envelopesToRewrap < 4 * PROVIDERS)
    assert.deepEqual(await contentOf(opened), before)
    for (const single of keys) {
      await assert.rejects(openAgain(single), { code: 'wrong_master_key', hint: /both|give/ })
    }
    assert.ok(await (await openAgain(async () => keys)).getProvider('default', 'p1'))
    await assert.rejects((await operations([...keys, randomBytes(32)])).rekey(silent), {
      code: 'failed_precondition',
      message: /^A rekey from master key [0-9a-f]{8} to [0-9a-f]{8} is not finished$/,
    })
    const report = await (await operations()).rekey(silent)
    assert.deepEqual([report.outcome, report.rewrapped], ['done', status.envelopesToRewrap])
    assert.equal((await one.rekey(silent)).outcome, 'current')
    assert.deepEqual(await contentOf(opened), before)
    await assert.rejects(
      (await operations(keys)).rekey(silent).then(() => openAgain(old)),
      {
        code: 'wrong_master_key',
      },
    )
  })

  test('of two rekeys at once to different keys one is refused, and nothing is lost', async t => {
    const opened = await filled(t)
    const { keys, operations, store } = opened
    const before = await contentOf(opened)
    await store.withdraw('gateway')
    const rings = [1, 2].map(() => [...keys, randomBytes(32)])
    const hands = await Promise.all(rings.map(ring => operations(ring)))
    const outcomes = await Promise.allSettled(hands.map(hand => hand.rekey(silent)))
    const refused = outcomes.filter(one => one.status === 'rejected')
    assert.equal(refused.length, 1)
    assert.match(String(refused[0]?.reason.code), /^(failed_precondition|wrong_master_key)$/)
    keys.push(...rings.map(ring => present(ring.at(-1))))
    await store.announce('gateway')
    assert.deepEqual(await contentOf(opened), before)
  })

  test('a key that sealed before is not used again', async t => {
    const { keys, operations, store } = await filled(t)
    await store.withdraw('gateway')
    const [old] = keys
    const fresh = randomBytes(32)
    await (await operations([present(old), fresh])).rekey(silent)
    await assert.rejects((await operations([fresh, present(old)])).rekey(silent), {
      code: 'failed_precondition',
      message: /sealed this database before$/,
    })
  })

  test('a gateway that has not heard of the change seals with the new key at its next write', async t => {
    const { keys, operations, store, location, providers } = await filled(t)
    keys.push(randomBytes(32))
    await store.announce('gateway')
    const report = await (await operations()).rekey(silent)
    const [first, second] = providers
    const [row] = await store.listCredentials(present(first).id)
    const provider = present(await store.getProviderById(present(first).id))
    const rotated = rotation(provider.version, new Map([['ROTATED', new Secret('r')]]))
    assert.ok(await store.saveCredential({ ...present(row), token: aToken() }, rotated))
    await store.putGatewaySecret('another', new Secret('a'))
    await store.createProvider(aProvider({ name: 'new' }), [])
    assert.ok(await store.getProviderById(present(second).id))
    for (const envelope of await envelopesOf(location))
      assert.equal(envelope.split('.')[1], report.keyId)
  })

  test('a gateway without the new key loses nothing: it refuses, and recovers with the key', async t => {
    const opened = await filled(t)
    const { keys, operations, store, clock, providers } = opened
    const before = await contentOf(opened)
    const [old] = keys
    const fresh = randomBytes(32)
    // It was paused for so long that the rekey did not wait for it.
    await store.withdraw('gateway')
    await (await operations([present(old), fresh])).rekey(silent)
    const [provider] = providers
    const id = present(provider).id
    await assert.rejects(store.getProviderById(id), { code: 'wrong_master_key' })
    await assert.rejects(store.listCredentials(id), { code: 'wrong_master_key' })
    await assert.rejects(store.createProvider(aProvider({ name: 'x' }), []), {
      code: 'wrong_master_key',
    })
    await assert.rejects(store.ping(), { code: 'wrong_master_key' })
    await assert.rejects(store.announce('gateway'), { code: 'wrong_master_key' })
    const claim = { owner: 'g', nowMs: clock.nowMs(), untilMs: clock.nowMs() + 1 }
    assert.deepEqual(await store.claimDue(claim, 9), [])
    keys.push(fresh)
    await store.announce('gateway')
    await store.ping()
    const text = (value: unknown) =>
      JSON.stringify(value).replace(/"(version|claimed\w+)":[^,}]+/g, '')
    assert.equal(text(await contentOf(opened)), text(before))
  })

  test('what no key opens is named, left alone, and does not hold up the rest', async t => {
    const { keys, operations, store, location, openAgain } = await filled(t)
    await store.withdraw('gateway')
    const fresh = randomBytes(32)
    const cut = `substr(envelope, 1, 40)`
    await database.run(
      location,
      `update provider_secrets set envelope = ${cut}
       where provider_id = (select id from providers where name = 'p1')`,
    )
    await database.run(
      location,
      `update credentials set token_envelope = substr(token_envelope, 1, 40)
       where provider_id = (select id from providers where name = 'p2')`,
    )
    const report = await (await operations([present(keys[0]), fresh])).rekey(silent)
    assert.deepEqual(
      report.unreadable.map(place => place.split('/')[0]),
      ['provider', 'token'],
    )
    const again = await openAgain(fresh)
    assert.ok(await again.getProvider('default', 'p0'))
    await assert.rejects(again.getProvider('default', 'p1'), { code: 'store_unavailable' })
    const p2 = present(await again.getProvider('default', 'p2'))
    assert.equal((await again.listCredentials(p2.id))[0]?.token, null)
  })
}
