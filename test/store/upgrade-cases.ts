import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type { Failure } from '../../src/core/failure.ts'
import { bareSandbox } from '../../src/core/sandbox.ts'
import { Secret } from '../../src/core/secret.ts'
import { SEALED_COLUMNS } from '../../src/store/sealed-columns.ts'
import { newStore, type TestDatabase } from './databases.ts'
import { aCredential, aProvider, aToken, present, revealed, rotation } from './records.ts'

const FENCES = [
  ...SEALED_COLUMNS.map(({ table, column }) => `${table}_${column}`),
  ...['providers_moved', 'credentials_moved'],
]

const TRIGGERS = [
  ...['insert', 'update', 'delete'].flatMap(event => [`providers_${event}`, `routes_${event}`]),
  ...['credentials_insert', 'credentials_update', 'sandboxes_delete'],
]
const TRIGGERS_OF_SQLITE = TRIGGERS.map(name => `drop trigger ${name}_counted`)
const TRIGGERS_OF_POSTGRES = [
  ...TRIGGERS.map(name => `drop function openshell_${name}_counted cascade`),
  'drop function openshell_raise',
]

/** Takes away what the later steps of the schema added, so that what the first made is left. */
const toFirstStep = (database: TestDatabase) => [
  ...FENCES.flatMap(fence =>
    ['insert', 'update'].map(event =>
      database.name === 'SQLite'
        ? `drop trigger ${fence}_${event}`
        : `drop function ${fence}_${event} cascade`,
    ),
  ),
  ...['retired_master_keys', 'gateways', 'store_marks', 'schema_steps'].map(
    table => `drop table ${table}`,
  ),
  ...(database.name === 'SQLite' ? TRIGGERS_OF_SQLITE : TRIGGERS_OF_POSTGRES),
  ...['changes', 'gateway_routers'].map(table => `drop table ${table}`),
  'alter table credentials drop column claimed_from',
  ...['sandbox_providers', 'workspace_members', 'workspaces', 'gateway_config'].map(
    table => `drop table ${table}`,
  ),
  ...[
    ...['version', 'labels', 'annotations', 'settings', 'spec_envelope', 'policy'],
    ...['policy_version', 'policy_hash', 'loaded_policy_version', 'main_process_id', 'exit_code'],
  ].map(column => `alter table sandboxes drop column ${column}`),
  'drop table profiles',
  ...['profile_workspace', 'expiries', 'labels', 'annotations'].map(
    column => `alter table providers drop column ${column}`,
  ),
  ...['grant_envelope', 'grant_epoch'].map(
    column => `alter table credentials drop column ${column}`,
  ),
  'alter table providers drop column candidate_envelope',
  ...['spends', 'candidate_spends', 'candidate_due_at_ms', 'candidate_failure', 'history'].map(
    column => `alter table credentials drop column ${column}`,
  ),
  `delete from openshell_migrations where name > '0001'`,
]

/** All steps of the schema, in the order in which they run. */
export const STEPS = ['0001', '0002', '0003', '0004', '0005', '0006']

const FAILURE: Failure = {
  ...{ class: 'T', code: 'down', message: 'Down', advice: 'Wait' },
  ...{ recoveryAction: 'retry', retryAfterMs: 0 },
}

export function upgradeCases(database: TestDatabase): void {
  /** A database of the first step, written by a program that knew no other, and closed. */
  const written = async (t: Parameters<typeof newStore>[0]) => {
    const opened = await newStore(t, database)
    const { store, location } = opened
    const provider = aProvider()
    const credential = aCredential(provider, {
      ...{ token: aToken(), generation: 7, dueAtMs: 77, failure: FAILURE, failingSinceMs: 3 },
      ...{ consecutiveFailures: 2, claimedBy: 'killed', claimedUntilMs: 88 },
    })
    await store.createProvider(provider, [credential])
    const parked = aProvider({ name: 'parked' })
    await store.createProvider(parked, [aCredential(parked, { dueAtMs: null, isDisabled: true })])
    const place = { workspace: 'default', name: 'inference.local' } as const
    const route = {
      ...place,
      providerName: 'my-vertex',
      modelId: 'm',
      timeoutSeconds: 9,
      version: 0,
    }
    await store.saveRoute(route)
    const sandbox = bareSandbox({ id: 's', workspace: 'default', name: 'box', createdAtMs: 5 })
    await store.createSandbox(sandbox)
    await store.putGatewaySecret('signing-key', new Secret('the key'))
    await store.close()
    for (const statement of toFirstStep(database)) await database.run(location, statement)
    // A workspace was there as soon as something named it.
    const named = `insert into routes values ('team', 'inference.local', 'p', 'm', 0, 1)`
    await database.run(location, named)
    return { ...opened, provider, credential, parked, route, sandbox }
  }
  const stepsOf = async (location: string) => {
    const rows = await database.run(location, 'select name from openshell_migrations order by name')
    return rows.map(row => row.name)
  }

  test('a database of the first step is brought up and keeps everything', async t => {
    const old = await written(t)
    assert.deepEqual(await stepsOf(old.location), ['0001'])
    const store = await old.openAgain()
    assert.deepEqual(await stepsOf(old.location), STEPS)
    const { provider, credential, parked } = old
    assert.deepEqual(revealed(await store.getProvider('default', 'my-vertex')), revealed(provider))
    assert.deepEqual(revealed(await store.listCredentials(provider.id)), [revealed(credential)])
    const [off] = await store.listCredentials(parked.id)
    assert.deepEqual(
      [off?.isDisabled, off?.dueAtMs, off?.spends, off?.history],
      [true, null, 0, []],
    )
    assert.equal(await store.earliestDueAtMs(), 88)
    const route = await store.getRoute('default', 'inference.local')
    assert.deepEqual(route, { ...old.route, version: 1 })
    assert.deepEqual({ ...(await store.getSandbox('default', 'box')) }, old.sandbox)
    assert.equal((await store.getGatewaySecret('signing-key'))?.reveal(), 'the key')
  })

  test('the workspaces that were in use go on, beside the default one', async t => {
    const old = await written(t)
    const store = await old.openAgain()
    const all = await store.listWorkspaces(new Map(), { limit: 9, offset: 0 })
    assert.deepEqual(
      all.map(({ id, name, version }) => [id, name, version]),
      [
        ['default', 'default', 1],
        ['team', 'team', 1],
      ],
    )
  })

  test('what was brought up lives on: claims, rotation, staging and promotion', async t => {
    const old = await written(t)
    const store = await old.openAgain()
    const [claimed] = await store.claimDue({ owner: 'a', nowMs: 100, untilMs: 200 }, 9)
    const minted = { ...present(claimed), token: aToken(), spends: 1, claimedUntilMs: 0 }
    const rotated = rotation(1, new Map([['ROTATED', new Secret('r')]]))
    const saved = present(await store.saveCredential(minted, rotated))
    const provider = present(await store.getProvider('default', 'my-vertex'))
    assert.equal(provider.material.size, 2)
    const next = { material: new Map([['NEXT', new Secret('n')]]), config: new Map() }
    const staged = present(await store.stageProvider(provider, next, saved))
    assert.ok(
      await store.saveCredential(staged.credential, {
        ...{ providerVersion: staged.provider.version, rotatedMaterial: new Map() },
        candidate: 'promoted',
      }),
    )
    const after = present(await store.getProvider('default', 'my-vertex'))
    assert.deepEqual([...after.material.keys()], ['NEXT'])
  })

  test('several gateways may bring a database up at once', async t => {
    const old = await written(t)
    const stores = await Promise.all(Array.from({ length: 4 }, () => old.openAgain()))
    for (const store of stores) assert.ok(await store.getProvider('default', 'my-vertex'))
    assert.deepEqual(await stepsOf(old.location), STEPS)
  })

  test('with a wrong master key an old database stays as it is', async t => {
    const old = await written(t)
    await assert.rejects(old.openAgain(randomBytes(32)), { code: 'wrong_master_key' })
    assert.deepEqual(await stepsOf(old.location), ['0001'])
    await assert.rejects(database.run(old.location, 'select history from credentials'), /history/)
  })
}
