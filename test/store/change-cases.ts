import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Change, Store } from '../../src/store/store.ts'
import { until } from '../support/gateway.ts'
import { newStore, type TestDatabase } from './databases.ts'
import { aCredential, aProvider, aSandbox, aToken, present } from './records.ts'

const ROUTE = {
  ...{ workspace: 'default', name: 'inference.local' as const, providerName: 'my-vertex' },
  ...{ modelId: 'm', timeoutSeconds: 0, version: 0 },
}

/** What a store hears from now on. */
async function follow(t: { after(work: () => Promise<void>): void }, store: Store) {
  const heard: Change[] = []
  const trouble: string[] = []
  const stop = new AbortController()
  const following = store.followChanges(
    await store.readChanges(),
    {
      changed: change => heard.push(change),
      lost: () => trouble.push('lost'),
      found: () => trouble.push('found'),
    },
    stop.signal,
  )
  t.after(async () => {
    stop.abort()
    await following
  })
  /** Waits for the next word, and forgets all that were heard. */
  const hears = async (what: string) => {
    await until(() => heard.length > 0, what)
    return heard.splice(0)
  }
  return { heard, hears, trouble }
}

export function changeCases(database: TestDatabase): void {
  test('every write that can be seen is told to another store, and no other is', async t => {
    const { store, openAgain, clock } = await newStore(t, database)
    const { heard, hears } = await follow(t, await openAgain())
    const provider = aProvider()
    const place = { workspace: 'default', kind: 'bundle' }
    const isTold = async (what: string, id: string | null) => {
      for (const change of await hears(what)) {
        assert.deepEqual(
          [change.workspace, change.kind, change.isOwn],
          ['default', 'bundle', false],
        )
        assert.ok(change.id === id || change.id === null, what)
      }
    }
    const count = async (kind = 'bundle') => (await store.readChanges()).get(`${kind} default`) ?? 0

    await store.createProvider(provider, [aCredential(provider, { dueAtMs: 5 })])
    await isTold('a new provider', provider.id)
    const before = await count()
    const claim = { owner: 'a', nowMs: clock.nowMs(), untilMs: clock.nowMs() + 100 }
    const [claimed] = await store.claimDue(claim, 1)
    const intent = present(await store.saveCredential({ ...present(claimed), spends: 1 }, null))
    assert.equal(await count(), before, 'a claim and an intent are nobody’s business')

    const minted = { ...intent, token: aToken(), generation: 1, claimedBy: '', claimedUntilMs: 0 }
    const saved = present(await store.saveCredential(minted, null))
    await isTold('a mint', provider.id)
    const content = { material: provider.material, config: new Map([['A', 'b']]) }
    await store.updateProvider(provider, content, null)
    await isTold('an edit', provider.id)
    await store.saveCredential({ ...saved, isDisabled: true }, null)
    await isTold('switching off', provider.id)
    const route = present(await store.saveRoute(ROUTE))
    await isTold('a new route', null)
    await store.saveRoute({ ...route, modelId: 'n' })
    await isTold('another model', null)
    await store.deleteRoute('default', 'inference.local')
    await isTold('a route that is gone', null)
    await store.deleteProvider('default', provider.name)
    await isTold('a provider that is gone', provider.id)

    const bundles = await count()
    await store.createSandbox(aSandbox({ id: 's' }))
    assert.equal(await count('sandboxes'), 0)
    await store.deleteSandbox('default', 'box')
    const [gone] = await hears('a sandbox that is gone')
    assert.deepEqual([gone?.kind, gone?.workspace], ['sandboxes', 'default'])
    assert.ok(gone?.id === 's' || gone?.id === null)
    assert.equal(await count(), bundles)
    assert.deepEqual(heard, [], `nothing more of ${place.workspace}`)
  })

  test('what happened between the reading of the counters and the listening is told', async t => {
    const { store, openAgain } = await newStore(t, database)
    const other = await openAgain()
    const since = await other.readChanges()
    await store.saveRoute(ROUTE)
    const heard: Change[] = []
    const stop = new AbortController()
    const listener = { changed: (change: Change) => heard.push(change), lost() {}, found() {} }
    const following = other.followChanges(since, listener, stop.signal)
    t.after(async () => {
      stop.abort()
      await following
    })
    await until(() => heard.length > 0, 'the change before')
    assert.deepEqual(heard, [{ kind: 'bundle', workspace: 'default', id: null, isOwn: false }])
  })

  test('a write that is undone counts as none', async t => {
    const { store } = await newStore(t, database)
    const provider = aProvider()
    await store.createProvider(provider, [])
    const before = await store.readChanges()
    await assert.rejects(store.createProvider({ ...provider, id: 'other' }, []), {
      code: 'already_exists',
    })
    assert.equal(await store.saveRoute({ ...ROUTE, version: 7 }), null)
    assert.deepEqual(await store.readChanges(), before)
  })

  test('many writes to one workspace from several stores are all counted, and none waits in a circle', async t => {
    const { store, openAgain } = await newStore(t, database)
    const stores = [store, await openAgain(), await openAgain()]
    const before = (await store.readChanges()).get('bundle default') ?? 0
    await Promise.all(
      stores.flatMap((one, at) =>
        [0, 1, 2, 3].map(async nth => {
          const provider = aProvider({ name: `p-${at}-${nth}` })
          await one.createProvider(provider, [aCredential(provider)])
          const [row] = await one.listCredentials(provider.id)
          const content = { material: provider.material, config: new Map([['A', 'b']]) }
          const staged = present(await one.stageProvider(provider, content, present(row)))
          await one.saveCredential({ ...staged.credential, generation: 9 }, null)
        }),
      ),
    )
    const after = (await store.readChanges()).get('bundle default') ?? 0
    assert.ok(after - before >= 3 * stores.length * 4, `${after - before} changes`)
  })

  test('what a gateway says of its routers is read by the others, and fades when it dies', async t => {
    const { store, location, openAgain, clock } = await newStore(t, database)
    const other = await openAgain()
    const one = new Map([['r1', 2]])
    const elsewhere = (except: string, workspace = 'w') =>
      other.listRouterCounts({ workspace, except })
    await store.saveRouterCounts('a', new Map([['w', one]]))
    await store.saveRouterCounts(
      'b',
      new Map([
        ['w', new Map([['r1', 1]])],
        ['v', one],
      ]),
    )
    assert.deepEqual(await elsewhere('b'), [one])
    assert.deepEqual(await elsewhere('c', 'v'), [one])
    assert.equal((await elsewhere('c')).length, 2)
    const later = new Map([
      ['r2', 3],
      ['r1', 1],
    ])
    await store.saveRouterCounts('a', new Map([['w', later]]))
    assert.deepEqual(await elsewhere('b'), [later])

    clock.setMs(clock.nowMs() + 15_000)
    assert.equal((await elsewhere('b')).length, 1)
    clock.setMs(clock.nowMs() + 1)
    assert.deepEqual(await elsewhere('b'), [], 'nothing was heard of it for too long')
    await store.confirmRouterCounts('a')
    assert.deepEqual(await elsewhere('b'), [later])
    await store.saveRouterCounts('a', new Map([['w', new Map()]]))
    assert.deepEqual(await elsewhere('b'), [])
    clock.setMs(clock.nowMs() + 60_000)
    await store.confirmRouterCounts('a')
    const left = await database.run(location, 'select gateway_id from gateway_routers')
    assert.deepEqual(left, [], 'what the dead left is taken away')
  })
}
