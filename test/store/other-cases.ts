import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { InferenceRoute } from '../../src/core/provider.ts'
import { Secret } from '../../src/core/secret.ts'
import { newStore, type TestDatabase } from './databases.ts'
import { aWorkspace, present } from './records.ts'

function aRoute(content: Partial<InferenceRoute> = {}): InferenceRoute {
  return {
    workspace: 'default',
    name: 'inference.local',
    providerName: 'my-vertex',
    modelId: 'claude-3-7-sonnet',
    timeoutSeconds: 0,
    version: 0,
    ...content,
  }
}

export function routeCases(database: TestDatabase): void {
  test('a route is created once, then changed from the version that was read', async t => {
    const { store } = await newStore(t, database)
    assert.equal(await store.getRoute('default', 'inference.local'), null)
    const created = present(await store.saveRoute(aRoute()))
    assert.deepEqual(created, aRoute({ version: 1 }))
    assert.equal(await store.saveRoute(aRoute({ modelId: 'other' })), null)
    const changed = present(await store.saveRoute({ ...created, modelId: 'new' }))
    assert.deepEqual(changed, aRoute({ modelId: 'new', version: 2 }))
    assert.equal(await store.saveRoute({ ...created, modelId: 'late' }), null)
    assert.deepEqual(await store.getRoute('default', 'inference.local'), changed)
  })

  test('a change of a route that is gone is a lost race', async t => {
    const { store } = await newStore(t, database)
    const created = present(await store.saveRoute(aRoute()))
    assert.equal(await store.deleteRoute('default', 'inference.local'), true)
    assert.equal(await store.deleteRoute('default', 'inference.local'), false)
    assert.equal(await store.saveRoute(created), null)
  })

  test('routes are listed by workspace, and workspaces that have one', async t => {
    const { store } = await newStore(t, database)
    assert.deepEqual(await store.listRouteWorkspaces(), [])
    await store.saveRoute(aRoute({ name: 'sandbox-system' }))
    await store.saveRoute(aRoute())
    await store.createWorkspace(aWorkspace('b'))
    await store.saveRoute(aRoute({ workspace: 'b', timeoutSeconds: 90 }))
    const names = (await store.listRoutes('default')).map(one => one.name)
    assert.deepEqual(names, ['inference.local', 'sandbox-system'])
    assert.deepEqual(await store.listRoutes('none'), [])
    assert.deepEqual(await store.listRouteWorkspaces(), ['b', 'default'])
  })

  test('a route of a name that nobody knows is called damaged', async t => {
    const { store, location } = await newStore(t, database)
    await store.saveRoute(aRoute())
    await database.run(location, `update routes set name = 'elsewhere'`)
    await assert.rejects(store.listRoutes('default'), {
      code: 'store_unavailable',
      message: /route "elsewhere" of workspace "default".*damaged/,
    })
  })
}

export function gatewaySecretCases(database: TestDatabase): void {
  test('a gateway secret is stored once; whoever comes later gets the one that stands', async t => {
    const { store, openAgain } = await newStore(t, database)
    const other = await openAgain()
    assert.equal(await store.getGatewaySecret('signing-key'), null)
    const answers = await Promise.all(
      [store, other, store, other].map((one, index) =>
        one.putGatewaySecret('signing-key', new Secret(`key-${index}`)),
      ),
    )
    const standing = present(await other.getGatewaySecret('signing-key'))
    for (const answer of answers) assert.equal(answer.reveal(), standing.reveal())
  })
}
