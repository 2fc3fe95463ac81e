import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Secret } from '../../src/core/secret.ts'
import { newStore, type TestDatabase } from './databases.ts'
import { aCredential, aProvider, aToken, aWorkspace, present, revealed } from './records.ts'

export function providerCases(database: TestDatabase): void {
  test('a provider comes back as it was created, by name and by id', async t => {
    const { store } = await newStore(t, database)
    const provider = aProvider({
      material: new Map([
        ['A_KEY', new Secret('')],
        ['B_KEY', new Secret('ключ "quoted"\n\u0000 😀')],
      ]),
      config: new Map([
        ['__proto__', 'x'],
        ['TEXT', 'a "b" \\ \u0000 é'],
      ]),
    })
    await store.createProvider(provider, [aCredential(provider)])
    const found = await store.getProvider('default', 'my-vertex')
    assert.deepEqual(revealed(found), revealed(provider))
    assert.deepEqual(revealed(await store.getProviderById(provider.id)), revealed(provider))
    assert.deepEqual(await store.listCredentials(provider.id), [aCredential(provider)])
  })

  test('a provider may have no material, no configuration and no credential', async t => {
    const { store } = await newStore(t, database)
    const provider = aProvider({ material: new Map(), config: new Map() })
    await store.createProvider(provider, [])
    assert.deepEqual(await store.getProvider('default', 'my-vertex'), provider)
    assert.deepEqual(await store.listCredentials(provider.id), [])
  })

  test('what is not there is null, empty or false', async t => {
    const { store } = await newStore(t, database)
    assert.equal(await store.getProvider('default', 'my-vertex'), null)
    assert.equal(await store.getProviderById('none'), null)
    assert.equal(await store.deleteProvider('default', 'my-vertex'), null)
    assert.deepEqual(await store.listProviders(null, { limit: 10, offset: 0 }), {
      ...{ providers: [], damaged: [] },
    })
    assert.deepEqual(await store.listCredentials('none'), [])
  })

  test('a name is taken once in a workspace, and the second creation leaves nothing', async t => {
    const { store } = await newStore(t, database)
    const [first, second] = [aProvider(), aProvider()]
    await store.createProvider(first, [])
    await assert.rejects(store.createProvider(second, [aCredential(second)]), {
      code: 'already_exists',
      message: 'Provider "my-vertex" exists already',
    })
    assert.equal(await store.getProviderById(second.id), null)
    assert.deepEqual(await store.listCredentials(second.id), [])
    assert.equal(present(await store.getProvider('default', 'my-vertex')).id, first.id)
    await store.createWorkspace(aWorkspace('other'))
    await store.createProvider(aProvider({ workspace: 'other' }), [])
  })

  test('of two creations of one name at once, one wins', async t => {
    const { store, openAgain } = await newStore(t, database)
    const other = await openAgain()
    const outcomes = await Promise.allSettled([
      store.createProvider(aProvider(), []),
      other.createProvider(aProvider(), []),
    ])
    assert.deepEqual(outcomes.map(one => one.status).sort(), ['fulfilled', 'rejected'])
  })

  test('a list is in name order by bytes, by page, of one workspace or of all', async t => {
    const { store } = await newStore(t, database)
    for (const name of ['b', 'a-1', 'B', 'a', 'é', 'a_1'])
      await store.createProvider(aProvider({ name }), [])
    await store.createWorkspace(aWorkspace('other'))
    await store.createProvider(aProvider({ name: 'a', workspace: 'other' }), [])
    const names = async (workspace: string | null, limit: number, offset: number) => {
      const { providers: page } = await store.listProviders(workspace, { limit, offset })
      for (const one of page) assert.equal(one.material.size, 1)
      return page.map(one => `${one.workspace}/${one.name}`)
    }
    const inDefault = ['B', 'a', 'a-1', 'a_1', 'b', 'é'].map(name => `default/${name}`)
    assert.deepEqual(await names('default', 10, 0), inDefault)
    assert.deepEqual(await names('default', 2, 1), inDefault.slice(1, 3))
    assert.deepEqual(await names(null, 3, 0), ['default/B', 'default/a', 'other/a'])
    assert.deepEqual(await names(null, 3, 7), [])
  })

  test('an update replaces material and configuration, and counts version and time', async t => {
    const { store, clock } = await newStore(t, database)
    const provider = aProvider()
    await store.createProvider(provider, [aCredential(provider)])
    clock.setMs(2_000_000)
    const content = {
      material: new Map([['OTHER', new Secret('new')]]),
      config: new Map([['VERTEX_AI_REGION', 'eu']]),
    }
    const updated = await store.updateProvider(provider, content, null)
    const expected = { ...provider, ...content, version: 2, updatedAtMs: 2_000_000 }
    assert.deepEqual(revealed(updated), revealed(expected))
    assert.deepEqual(revealed(await store.getProvider('default', 'my-vertex')), revealed(expected))
    assert.deepEqual(await store.listCredentials(provider.id), [aCredential(provider)])
  })

  test('an update from an old version changes nothing', async t => {
    const { store } = await newStore(t, database)
    const provider = aProvider()
    await store.createProvider(provider, [])
    const content = { material: provider.material, config: new Map([['A', '1']]) }
    assert.ok(await store.updateProvider(provider, content, null))
    const late = { material: new Map(), config: new Map([['A', '2']]) }
    assert.equal(await store.updateProvider(provider, late, [aCredential(provider)]), null)
    const found = present(await store.getProvider('default', 'my-vertex'))
    assert.equal(found.config.get('A'), '1')
    assert.equal(found.material.size, 1)
    assert.deepEqual(await store.listCredentials(provider.id), [])
  })

  test('of many updates at once from one version, one wins', async t => {
    const { store, openAgain } = await newStore(t, database)
    const other = await openAgain()
    const provider = aProvider()
    await store.createProvider(provider, [])
    const outcomes = await Promise.all(
      [store, other, store, other].map((one, index) => {
        const config = new Map([['A', String(index)]])
        return one.updateProvider(provider, { material: new Map(), config }, null)
      }),
    )
    assert.equal(outcomes.filter(one => one !== null).length, 1)
  })

  test('an update of a deleted provider is a lost race, also when the name lives again', async t => {
    const { store } = await newStore(t, database)
    const provider = aProvider()
    await store.createProvider(provider, [])
    assert.equal((await store.deleteProvider('default', 'my-vertex'))?.id, provider.id)
    assert.equal(await store.updateProvider(provider, provider, null), null)
    await store.createProvider(aProvider(), [])
    assert.equal(await store.updateProvider(provider, provider, null), null)
  })

  test('deleting a provider deletes its credentials and secrets', async t => {
    const { store, location } = await newStore(t, database)
    const provider = aProvider()
    await store.createProvider(provider, [aCredential(provider, { token: aToken() })])
    await store.deleteProvider('default', 'my-vertex')
    assert.deepEqual(await store.listCredentials(provider.id), [])
    assert.equal(await store.earliestDueAtMs(), null)
    assert.deepEqual(await database.run(location, 'select * from provider_secrets'), [])
  })
}
