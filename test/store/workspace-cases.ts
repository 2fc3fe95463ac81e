import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import type { WorkspaceMember } from '../../src/core/workspace.ts'
import { newStore, type TestDatabase } from './databases.ts'
import { aProvider, aSandbox, aWorkspace, present } from './records.ts'

const PAGE = { limit: 10, offset: 0 }
const EMPTY = { sandboxes: 0, providers: 0, profiles: 0 }

function aMember(content: Partial<WorkspaceMember> = {}): WorkspaceMember {
  const place = { workspace: 'default', subject: 'ann@example.com' }
  return { id: randomUUID(), ...place, role: 'user', createdAtMs: 3, ...content }
}

export function workspaceCases(database: TestDatabase): void {
  test('the default workspace is there from the beginning', async t => {
    const { store } = await newStore(t, database)
    const standing = present(await store.getWorkspace('default'))
    assert.deepEqual([standing.name, standing.version], ['default', 1])
    assert.deepEqual(await store.listWorkspaces(new Map(), PAGE), [standing])
  })

  test('a workspace is made once, found, listed by label and deleted', async t => {
    const { store } = await newStore(t, database)
    const team = aWorkspace('team', { labels: new Map([['env', 'test']]) })
    await store.createWorkspace(team)
    await assert.rejects(store.createWorkspace(aWorkspace('team')), { code: 'already_exists' })
    assert.deepEqual(await store.getWorkspace('team'), team)
    assert.deepEqual(await store.listWorkspaces(team.labels, PAGE), [team])
    const second = await store.listWorkspaces(new Map(), { limit: 1, offset: 1 })
    assert.deepEqual(second, [team])
    assert.deepEqual(await store.deleteWorkspace('team'), EMPTY)
    assert.equal(await store.deleteWorkspace('team'), null)
    assert.equal(await store.getWorkspace('team'), null)
  })

  test('a workspace with something in it stays; routes and members go with it', async t => {
    const { store } = await newStore(t, database)
    await store.createWorkspace(aWorkspace('w'))
    await store.createSandbox(aSandbox({ workspace: 'w' }))
    await store.createProvider(aProvider({ workspace: 'w', name: 'p' }), [])
    await store.addWorkspaceMember(aMember({ workspace: 'w' }))
    const route = { workspace: 'w', name: 'inference.local', providerName: 'p' } as const
    await store.saveRoute({ ...route, modelId: 'm', timeoutSeconds: 0, version: 0 })
    assert.deepEqual(await store.deleteWorkspace('w'), { sandboxes: 1, providers: 1, profiles: 0 })
    await store.deleteSandbox('w', 'box')
    await store.deleteProvider('w', 'p')
    assert.deepEqual(await store.deleteWorkspace('w'), EMPTY)
    await store.createWorkspace(aWorkspace('w'))
    assert.deepEqual(await store.listRoutes('w'), [])
    assert.deepEqual(await store.listWorkspaceMembers('w', PAGE), [])
  })

  test('nothing is put into a workspace that does not exist', async t => {
    const { store } = await newStore(t, database)
    const unknown = { code: 'not_found', message: 'Workspace "none" does not exist' }
    await assert.rejects(store.createSandbox(aSandbox({ workspace: 'none' })), unknown)
    await assert.rejects(store.createProvider(aProvider({ workspace: 'none' }), []), unknown)
    await assert.rejects(store.addWorkspaceMember(aMember({ workspace: 'none' })), unknown)
    const route = { workspace: 'none', name: 'inference.local', providerName: 'p' } as const
    const saving = store.saveRoute({ ...route, modelId: 'm', timeoutSeconds: 0, version: 0 })
    await assert.rejects(saving, unknown)
  })

  test('of a deletion and what is put in at the same time, one wins', async t => {
    const { store, openAgain } = await newStore(t, database)
    const other = await openAgain()
    for (let round = 0; round < 10; round += 1) {
      const workspace = `w${round}`
      await store.createWorkspace(aWorkspace(workspace))
      const [remains, created] = await Promise.all([
        store.deleteWorkspace(workspace),
        other.createSandbox(aSandbox({ workspace })).then(
          () => true,
          () => false,
        ),
      ])
      const isThere = (await store.getWorkspace(workspace)) !== null
      assert.deepEqual([present(remains).sandboxes, isThere], created ? [1, true] : [0, false])
    }
  })

  test('members are added once, listed and removed', async t => {
    const { store } = await newStore(t, database)
    const [ann, bob] = [aMember(), aMember({ subject: 'bob', role: 'admin' })]
    for (const member of [bob, ann]) await store.addWorkspaceMember(member)
    await assert.rejects(store.addWorkspaceMember(aMember()), { code: 'already_exists' })
    assert.deepEqual(await store.listWorkspaceMembers('default', PAGE), [ann, bob])
    assert.deepEqual(await store.listWorkspaceMembers('default', { limit: 1, offset: 1 }), [bob])
    assert.equal(await store.removeWorkspaceMember('default', 'bob'), true)
    assert.equal(await store.removeWorkspaceMember('default', 'bob'), false)
  })

  test('what holds for all sandboxes is changed from the revision that was read', async t => {
    const { store } = await newStore(t, database)
    const empty = await store.getGatewayConfig()
    assert.deepEqual(empty, { settings: new Map(), policy: null, revision: 0 })
    const policy = { bytes: new Uint8Array([1, 2]), version: 1, hash: 'h' }
    const wanted = { ...empty, settings: new Map([['providers_v2_enabled', true]]), policy }
    const first = present(await store.saveGatewayConfig(wanted))
    assert.deepEqual(first, { ...wanted, revision: 1 })
    assert.equal(await store.saveGatewayConfig(wanted), null)
    assert.deepEqual(await store.getGatewayConfig(), first)
    const second = present(await store.saveGatewayConfig({ ...first, policy: null }))
    assert.deepEqual(await store.getGatewayConfig(), { ...first, policy: null, revision: 2 })
    assert.equal(second.revision, 2)
    assert.equal(await store.saveGatewayConfig(first), null)
  })
}
