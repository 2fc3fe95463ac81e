import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Secret } from '../../src/core/secret.ts'
import { NEWEST_STEP } from '../../src/store/migrations.ts'
import { newStore, type TestDatabase } from './databases.ts'
import { migrateToNext, NEXT_STEP } from './next-schema.ts'
import { aCredential, aProvider, aSandbox, aToken, present, revealed, rotation } from './records.ts'

/** A gateway of this version and one of the next on one database. */
export function besideCases(database: TestDatabase): void {
  test('a gateway goes on beneath which the next version migrates, and starts anew', async t => {
    const { store, location, openAgain } = await newStore(t, database)
    const provider = aProvider()
    await store.createProvider(provider, [aCredential(provider, { token: aToken() })])
    await migrateToNext(location, NEWEST_STEP)
    const [claimed] = await store.claimDue({ owner: 'a', nowMs: 9_000, untilMs: 9_999 }, 9)
    const rotated = rotation(1, new Map([['ROTATED', new Secret('r')]]))
    const minted = { ...present(claimed), token: aToken(), claimedUntilMs: 0, dueAtMs: 99_000 }
    assert.ok(await store.saveCredential(minted, rotated))
    const found = present(await store.getProvider('default', 'my-vertex'))
    assert.equal(found.material.size, 2)
    await store.createProvider(aProvider({ name: 'other' }), [])
    await store.createSandbox(aSandbox({ providers: ['other'] }))
    const again = await openAgain()
    assert.deepEqual(revealed(await again.getProvider('default', 'my-vertex')), revealed(found))
    const ran = await database.run(location, 'select max(name) as newest from openshell_migrations')
    assert.deepEqual(
      ran.map(row => row.newest),
      [NEXT_STEP],
    )
    // What the next version added is filled by the database for those that do not know it.
    const rows = await database.run(location, 'select later_count, later_text from providers')
    assert.deepEqual(
      rows.map(row => [Number(row.later_count), row.later_text]),
      [
        [7, null],
        [7, null],
      ],
    )
  })

  test('several gateways of both versions may start at once', async t => {
    const { location, openAgain, store } = await newStore(t, database)
    await store.createProvider(aProvider(), [])
    const started = [openAgain(), migrateToNext(location, NEWEST_STEP), openAgain(), openAgain()]
    await Promise.all(started)
    assert.ok(await (await openAgain()).getProvider('default', 'my-vertex'))
  })

  test('a schema that this version may not work on is refused and left alone', async t => {
    const { location, openAgain, store } = await newStore(t, database)
    await store.close()
    await migrateToNext(location, NEXT_STEP)
    await assert.rejects(openAgain(), {
      code: 'store_unavailable',
      message: new RegExp(`has schema ${NEXT_STEP}, which this version does not know$`),
      hint: /newer version/,
    })
  })
}
