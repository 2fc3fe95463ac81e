import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Secret } from '../../src/core/secret.ts'
import { newStore, type TestDatabase } from './databases.ts'
import { aCredential, aGrant, aProvider, aToken, present, revealed } from './records.ts'

const CLAIM = { owner: 'a', nowMs: 10_000, untilMs: 20_000 }

export function configuredCases(database: TestDatabase): void {
  const opened = async (t: Parameters<typeof newStore>[0]) => {
    const { store, location } = await newStore(t, database)
    const provider = aProvider()
    await store.createProvider(provider, [aCredential(provider)])
    const wanted = aCredential(provider, { key: 'KEY', version: 0, grant: aGrant(), dueAtMs: 1 })
    return { store, location, provider, wanted }
  }

  test('a configured grant comes back whole, beside what the type mints', async t => {
    const { store, location, provider, wanted } = await opened(t)
    const saved = present(await store.configureCredential(wanted))
    const rows = await store.listCredentials(provider.id)
    assert.equal(rows.length, 2)
    assert.deepEqual(revealed(rows[1]), revealed(saved))
    const [text] = await database.run(location, "select * from credentials where grant_epoch <> ''")
    const secret = present(wanted.grant?.material.get('refresh_token')).reveal()
    assert.ok(!JSON.stringify(text).includes(secret), 'it is sealed')
  })

  test('of two first configurations one wins, and a later one wins over a mint under way', async t => {
    const { store, wanted } = await opened(t)
    const both = await Promise.all([
      store.configureCredential(wanted),
      store.configureCredential(wanted),
    ])
    const [first, ...none] = both.filter(one => one !== null)
    assert.deepEqual(none, [])
    const claimed = present(await store.claimCredential(CLAIM, present(first)))
    const other = { ...claimed, grant: aGrant() }
    const second = present(await store.configureCredential(other))
    assert.ok(second.version > claimed.version)
    assert.equal(await store.saveCredential({ ...claimed, token: aToken() }, null), null)
    assert.equal(await store.keepRotated(claimed, present(claimed.grant).epoch), false)
  })

  test('what was rotated outlives a lost claim, unless the material is another by now', async t => {
    const { store, provider, wanted } = await opened(t)
    const first = present(await store.configureCredential(wanted))
    const epoch = present(first.grant).epoch
    const late = present(await store.claimCredential(CLAIM, first))
    const [again] = await store.claimDue({ owner: 'b', nowMs: 30_000, untilMs: 40_000 }, 9)
    assert.equal(again?.key, 'KEY')
    const material = new Map([['refresh_token', new Secret('rotated')]])
    const rotated = { ...late, grant: aGrant({ material, epoch: 'next' }) }
    assert.equal(await store.saveCredential(rotated, null), null)
    assert.equal(await store.keepRotated(rotated, epoch), true)
    const row = (await store.listCredentials(provider.id)).find(one => one.key === 'KEY')
    assert.equal(row?.grant?.material.get('refresh_token')?.reveal(), 'rotated')
    assert.equal(row?.claimedBy, '')
    assert.equal(await store.keepRotated(rotated, epoch), false, 'once')
  })

  test('new content of the provider leaves what was configured alone', async t => {
    const { store, provider, wanted } = await opened(t)
    const saved = present(await store.configureCredential(wanted))
    const standing = present(await store.getProviderById(provider.id))
    assert.ok(await store.updateProvider(standing, standing, [aCredential(provider)]))
    const rows = await store.listCredentials(provider.id)
    assert.deepEqual(revealed(rows.find(one => one.key === 'KEY')), revealed(saved))
  })

  test('a removed credential comes back with a higher version, and is gone for its minter', async t => {
    const { store, provider, wanted } = await opened(t)
    const first = present(await store.configureCredential(wanted))
    assert.equal(await store.removeCredential({ ...first, version: first.version - 1 }), false)
    assert.equal(await store.removeCredential(first), true)
    assert.equal(await store.removeCredential(first), false)
    assert.equal(await store.saveCredential({ ...first, token: aToken() }, null), null)
    const again = present(await store.configureCredential(wanted))
    assert.ok(again.version > first.version)
    await store.deleteProvider(provider.workspace, provider.name)
    assert.equal(await store.configureCredential(wanted), null)
  })

  test('a damaged grant is no grant of another kind: nothing is minted with it', async t => {
    const { store, location, provider, wanted } = await opened(t)
    await store.configureCredential(wanted)
    await database.run(location, `update credentials set grant_envelope = 'v1.x' where key = 'KEY'`)
    const row = (await store.listCredentials(provider.id)).find(one => one.key === 'KEY')
    assert.notEqual(row?.grant, null)
    assert.equal(row?.grant?.material.size, 0)
  })

  test('notes and expiries are kept with the provider', async t => {
    const { store } = await newStore(t, database)
    const provider = aProvider({
      labels: new Map([['team', 'a']]),
      annotations: new Map([['note', 'b']]),
      expiries: new Map([['KEY', 77]]),
      profileWorkspace: 'default',
    })
    await store.createProvider(provider, [])
    const read = present(await store.getProvider(provider.workspace, provider.name))
    assert.deepEqual(revealed(read), revealed(provider))
    const noted = { ...read, labels: new Map([['team', 'c']]), expiries: new Map() }
    const stored = present(await store.updateProvider(noted, read, null))
    assert.deepEqual(revealed(stored.labels), [['team', 'c']])
    const again = present(await store.getProviderById(provider.id))
    assert.deepEqual([again.labels.get('team'), again.expiries.size], ['c', 0])
  })

  test('profiles: all or none are created, changed under their version, deleted when unused', async t => {
    const { store } = await newStore(t, database)
    const profile = (id: string, workspace = 'default') => ({
      ...{ id, workspace, document: '{}', version: 1, createdAtMs: 5, updatedAtMs: 5 },
    })
    await store.createProfiles([profile('b'), profile('a', '')])
    const mixed = store.createProfiles([profile('c'), profile('b')])
    await assert.rejects(mixed, { code: 'already_exists' })
    assert.equal(await store.getProfile('default', 'c'), null)
    const ids = (await store.listProfiles('default')).map(one => one.id)
    assert.deepEqual(ids, ['a', 'b'])
    assert.deepEqual(
      (await store.listProfiles('other')).map(one => one.id),
      ['a'],
    )
    const changed = present(await store.saveProfile({ ...profile('b'), document: '{"x":1}' }))
    assert.deepEqual([changed.version, changed.document], [2, '{"x":1}'])
    assert.equal(await store.saveProfile(profile('b')), null)
    const user = aProvider({ type: 'b', profileWorkspace: 'default' })
    await store.createProvider(user, [])
    await assert.rejects(store.deleteProfile('default', 'b'), { code: 'failed_precondition' })
    await store.deleteProvider(user.workspace, user.name)
    assert.equal(await store.deleteProfile('default', 'b'), true)
    assert.equal(await store.deleteProfile('default', 'b'), false)
  })
}
