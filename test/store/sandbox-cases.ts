import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FullSandbox } from '../../src/core/sandbox.ts'
import { newStore, type TestDatabase } from './databases.ts'
import { aProvider, aSandbox, aWorkspace, present } from './records.ts'

const PAGE = { limit: 10, offset: 0 }

/** A sandbox with something in each field. */
const FULL: Partial<FullSandbox> = {
  labels: new Map([
    ['env', 'test'],
    ['team', 'a'],
  ]),
  annotations: new Map([['note', 'with "quotes"']]),
  spec: new Uint8Array([0, 255, 1]),
  policy: { bytes: new Uint8Array([9, 0]), version: 3, hash: 'abc' },
  settings: new Map<string, string | boolean>([
    ['ocsf_json_enabled', true],
    ['proposal_approval_mode', 'auto'],
  ]),
  loadedPolicyVersion: 2,
  mainProcessId: 'run-1',
  exitCode: -1,
}

export function sandboxCases(database: TestDatabase): void {
  test('a sandbox is found by name and by id until it is deleted', async t => {
    const { store } = await newStore(t, database)
    const sandbox = aSandbox(FULL)
    await store.createSandbox(sandbox)
    assert.deepEqual(await store.getSandbox('default', 'box'), sandbox)
    assert.deepEqual(await store.getFullSandbox(sandbox.id), sandbox)
    const { id, workspace, name, createdAtMs } = sandbox
    const record = { id, workspace, name, createdAtMs }
    assert.deepEqual(await store.getSandboxById(sandbox.id), record)
    assert.equal(await store.getSandbox('other', 'box'), null)
    assert.equal(await store.deleteSandbox('default', 'box'), true)
    assert.equal(await store.deleteSandbox('default', 'box'), false)
    assert.equal(await store.getSandboxById(sandbox.id), null)
  })

  test('a sandbox name is taken once in a workspace', async t => {
    const { store } = await newStore(t, database)
    await store.createSandbox(aSandbox())
    await assert.rejects(store.createSandbox(aSandbox()), {
      code: 'already_exists',
      message: 'Sandbox "box" exists already',
    })
    await store.createWorkspace(aWorkspace('other'))
    await store.createSandbox(aSandbox({ workspace: 'other' }))
  })

  test('sandboxes are listed by page, of one workspace or of all', async t => {
    const { store } = await newStore(t, database)
    for (const name of ['c', 'a', 'b']) await store.createSandbox(aSandbox({ name }))
    await store.createWorkspace(aWorkspace('other'))
    await store.createSandbox(aSandbox({ name: 'a', workspace: 'other' }))
    const names = async (workspace: string | null, limit: number, offset: number) =>
      (await store.listSandboxes(workspace, new Map(), { limit, offset })).map(one => one.name)
    assert.deepEqual(await names('default', 2, 1), ['b', 'c'])
    assert.deepEqual(await names(null, 10, 0), ['a', 'a', 'b', 'c'])
  })

  test('labels select, to the letter', async t => {
    const { store } = await newStore(t, database)
    const labelled = (name: string, ...labels: [string, string][]) =>
      store.createSandbox(aSandbox({ name, labels: new Map(labels) }))
    await labelled('both', ['env', 'test'], ['team', 'a'])
    await labelled('one', ['env', 'test'])
    await labelled('case', ['env', 'Test'])
    await labelled('longer', ['xenv', 'test'], ['env', 'test2'])
    await labelled('none')
    const names = async (...labels: [string, string][]) =>
      (await store.listSandboxes('default', new Map(labels), PAGE)).map(one => one.name)
    assert.deepEqual(await names(['env', 'test']), ['both', 'one'])
    assert.deepEqual(await names(['team', 'a'], ['env', 'test']), ['both'])
    assert.deepEqual(await names(['env', '%']), [])
    assert.equal((await names()).length, 5)
  })

  test('a sandbox is changed from the version that was read', async t => {
    const { store } = await newStore(t, database)
    const created = aSandbox()
    await store.createSandbox(created)
    const changed = present(await store.updateSandbox({ ...created, ...FULL }))
    assert.deepEqual(changed, { ...created, ...FULL, version: 2 })
    assert.deepEqual(await store.getSandbox('default', 'box'), changed)
    assert.equal(await store.updateSandbox({ ...created, exitCode: 7 }), null)
    assert.deepEqual(await store.getSandbox('default', 'box'), changed)
    await store.deleteSandbox('default', 'box')
    assert.equal(await store.updateSandbox(changed), null)
  })

  test('a spec is sealed: an agent’s environment may hold secrets', async t => {
    const { store, location } = await newStore(t, database)
    const spec = Buffer.from('a secret of the agent')
    await store.createSandbox(aSandbox({ spec: new Uint8Array(spec) }))
    const rows = await database.run(location, 'select * from sandboxes')
    const text = JSON.stringify(rows)
    assert.ok(!text.includes(spec.toString()) && !text.includes(spec.toString('base64')))
  })

  test('providers are attached in order, and only those of the workspace that exist', async t => {
    const { store } = await newStore(t, database)
    for (const name of ['a', 'b']) await store.createProvider(aProvider({ name }), [])
    await store.createWorkspace(aWorkspace('other'))
    await store.createProvider(aProvider({ name: 'foreign', workspace: 'other' }), [])
    const created = aSandbox({ providers: ['b', 'a'] })
    await store.createSandbox(created)
    assert.deepEqual(await store.getSandbox('default', 'box'), created)
    for (const name of ['foreign', 'none']) {
      const wrong = { code: 'failed_precondition', message: `Provider "${name}" does not exist` }
      await assert.rejects(store.updateSandbox({ ...created, providers: [name] }), wrong)
      await assert.rejects(store.createSandbox(aSandbox({ name, providers: [name] })), wrong)
      assert.equal(await store.getSandbox('default', name), null)
    }
    // What failed changed nothing, the version included.
    const swapped = present(await store.updateSandbox({ ...created, providers: ['a'] }))
    assert.deepEqual((await store.getSandbox('default', 'box'))?.providers, ['a'])
    assert.equal(swapped.version, 2)
  })

  test('an attached provider is not deleted, and says where it is attached', async t => {
    const { store } = await newStore(t, database)
    const [one, other, alone] = ['one', 'other', 'alone'].map(name => aProvider({ name }))
    for (const provider of [one, other, alone]) await store.createProvider(present(provider), [])
    await store.createSandbox(aSandbox({ name: 'x', providers: ['one', 'other'] }))
    await store.createSandbox(aSandbox({ name: 'y', providers: ['one'] }))
    await assert.rejects(store.deleteProvider('default', 'one'), {
      code: 'failed_precondition',
      message: 'Provider "one" is attached to sandbox "x"',
    })
    const id = present(one).id
    const holders = async (limit: number, offset: number) =>
      (await store.listProviderSandboxes(id, { limit, offset })).map(sandbox => sandbox.name)
    assert.deepEqual(await holders(10, 0), ['x', 'y'])
    assert.deepEqual(await holders(1, 1), ['y'])
    assert.deepEqual(await store.listProvidersBeside(id), [present(other).id])
    assert.deepEqual(await store.listProvidersBeside(present(alone).id), [])
    await store.deleteSandbox('default', 'x')
    await store.deleteSandbox('default', 'y')
    assert.ok(await store.deleteProvider('default', 'one'))
  })
}
