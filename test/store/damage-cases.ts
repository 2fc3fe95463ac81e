import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Claim } from '../../src/store/store.ts'
import { newStore, type TestDatabase } from './databases.ts'
import { aCredential, aProvider, aToken, present, revealed } from './records.ts'

const DAMAGED_ENVELOPES = ["'v1.00'", "''", "'v9.0123abcd.AAAA'"] as const

function claimBy(owner: string, nowMs: number): Claim {
  return { owner, nowMs, untilMs: nowMs + 30_000 }
}

export function damageCases(database: TestDatabase): void {
  test('a damaged provider stands beside the others, by name, in its place on the page', async t => {
    const { store, location } = await newStore(t, database)
    const providers = ['a', 'b', 'c', 'd'].map(name => aProvider({ name }))
    for (const one of providers) await store.createProvider(one, [aCredential(one)])
    await database.run(location, `update providers set config = '{' where name = 'b'`)
    await database.run(
      location,
      `update provider_secrets set envelope = 'v1.00' where provider_id = '${providers[2]?.id}'`,
    )
    const { providers: read, damaged } = await store.listProviders('default', {
      limit: 9,
      offset: 0,
    })
    assert.deepEqual(
      read.map(one => one.name),
      ['a', 'd'],
    )
    const [b, c] = [present(providers[1]), present(providers[2])]
    const place = `provider/${c.id}/GOOGLE_SERVICE_ACCOUNT_JSON`
    const rest = { workspace: 'default', type: 'google-vertex-ai' }
    assert.deepEqual(damaged, [
      {
        ...{ id: b.id, name: 'b', ...rest },
        message: 'Cannot read provider "b" from the database: it is damaged',
      },
      {
        ...{ id: c.id, name: 'c', ...rest },
        message: `Cannot unseal "${place}": it is damaged or was sealed for another place`,
      },
    ])
    const second = await store.listProviders('default', { limit: 2, offset: 1 })
    assert.deepEqual([second.providers.length, second.damaged.length], [0, 2])
  })

  test('a damaged provider can be deleted, and its name is free again', async t => {
    const { store, location } = await newStore(t, database)
    const provider = aProvider()
    await store.createProvider(provider, [aCredential(provider, { token: aToken() })])
    await database.run(location, `update provider_secrets set envelope = 'v1.00'`)
    await database.run(location, `update providers set config = '{'`)
    await assert.rejects(store.getProvider('default', 'my-vertex'), { code: 'store_unavailable' })
    const { id, workspace, name, type, version } = provider
    const deleted = await store.deleteProvider('default', 'my-vertex')
    assert.deepEqual({ ...deleted }, { id, workspace, name, type, version })
    for (const table of ['credentials', 'provider_secrets'])
      assert.deepEqual(await database.run(location, `select * from ${table}`), [], table)
    await store.createProvider(aProvider(), [])
    assert.ok(await store.getProvider('default', 'my-vertex'))
  })

  test('a damaged candidate takes down nothing but itself', async t => {
    const { store, location } = await newStore(t, database)
    const provider = aProvider()
    await store.createProvider(provider, [aCredential(provider)])
    const [row] = await store.listCredentials(provider.id)
    const candidate = { material: new Map(), config: new Map([['A', 'b']]) }
    assert.ok(await store.stageProvider(provider, candidate, present(row)))
    for (const envelope of DAMAGED_ENVELOPES) {
      await database.run(location, `update providers set candidate_envelope = ${envelope}`)
      const found = await store.getProvider('default', 'my-vertex')
      assert.deepEqual(revealed(found?.material), revealed(provider.material), envelope)
      assert.equal(found?.candidate, null)
      const { damaged } = await store.listProviders(null, { limit: 9, offset: 0 })
      assert.deepEqual(damaged, [])
    }
  })

  for (const envelope of DAMAGED_ENVELOPES) {
    test(`a token that cannot be read is left out, and its row made due: ${envelope}`, async t => {
      const { store, location, clock } = await newStore(t, database)
      const provider = aProvider()
      const token = aToken({ expiresAtMs: 9_000_000 })
      const credential = aCredential(provider, { token, dueAtMs: 8_000_000, generation: 4 })
      await store.createProvider(provider, [credential])
      await database.run(location, `update credentials set token_envelope = ${envelope}`)
      clock.setMs(1_234_000)
      const expected = { ...credential, version: 2, token: null, dueAtMs: 1_234_000 }
      assert.deepEqual(await store.listCredentials(provider.id), [expected])
      assert.equal(await store.earliestDueAtMs(), 1_234_000)
      // Once is enough: the next look changes nothing.
      clock.setMs(1_240_000)
      assert.deepEqual(await store.listCredentials(provider.id), [expected])
      const [claimed] = await store.claimDue(claimBy('a', 1_240_000), 1)
      assert.equal(claimed?.generation, 4)
      const saved = await store.saveCredential({ ...present(claimed), token }, null)
      assert.deepEqual(revealed(saved?.token), revealed(token))
    })
  }

  test('a token whose instants are gone is as good as none', async t => {
    const { store, location } = await newStore(t, database)
    const provider = aProvider()
    await store.createProvider(provider, [aCredential(provider, { token: aToken() })])
    await database.run(location, 'update credentials set token_expires_at_ms = null')
    const [row] = await store.listCredentials(provider.id)
    assert.deepEqual([row?.token, row?.dueAtMs], [null, 1_000_000])
  })

  test('a lost token does not disturb the mint that is under way', async t => {
    const { store, location, clock } = await newStore(t, database)
    const provider = aProvider()
    await store.createProvider(provider, [aCredential(provider, { token: aToken() })])
    const [minting] = await store.claimDue(claimBy('a', 1_000_000), 1)
    await database.run(location, `update credentials set token_envelope = 'v1.00'`)
    clock.setMs(1_029_999)
    const [seen] = await store.listCredentials(provider.id)
    assert.deepEqual([seen?.token, seen?.version], [null, minting?.version])
    const token = aToken()
    assert.ok(await store.saveCredential({ ...present(minting), token }, null))
    const [after] = await store.listCredentials(provider.id)
    assert.deepEqual(revealed(after?.token), revealed(token))
  })

  test('a lost token brings nothing back that a person or the vendor has stopped', async t => {
    const { store, location } = await newStore(t, database)
    for (const [index, isDisabled] of [true, false].entries()) {
      const provider = aProvider({ name: `p${index}` })
      const parked = { token: aToken(), dueAtMs: null, isDisabled }
      await store.createProvider(provider, [aCredential(provider, parked)])
      await database.run(location, `update credentials set token_envelope = 'v1.00'`)
      const [row] = await store.listCredentials(provider.id)
      assert.deepEqual([row?.token, row?.dueAtMs, row?.isDisabled], [null, null, isDisabled])
    }
    assert.equal(await store.earliestDueAtMs(), null)
  })

  test('what cannot be read of a credential hides nothing else of it', async t => {
    const { store, location } = await newStore(t, database)
    const provider = aProvider()
    const token = aToken()
    const history = [{ atMs: 1, state: 'valid', class: '', code: '' }] as const
    await store.createProvider(provider, [aCredential(provider, { token, history, spends: 1 })])
    const entry = (more: string) => `'[{"atMs":1,"state":"valid","class":"","code":""${more}}]'`
    const cases: readonly (readonly [column: string, value: string])[] = [
      ['history', `'{}'`],
      ['history', `'[null]'`],
      ['history', entry(',"state":"refreshing"')],
      ['history', entry(',"class":"Z"')],
      ['history', entry(',"atMs":"1"')],
      ['candidate_failure', `'{"class":"P"}'`],
      ['candidate_failure', `'nothing'`],
      ['failure', `'[]'`],
    ]
    for (const [column, value] of cases) {
      await database.run(location, `update credentials set ${column} = ${value}`)
      const [row] = await store.listCredentials(provider.id)
      assert.deepEqual(revealed(row?.token), revealed(token), value)
      assert.deepEqual([row?.spends, row?.failure, row?.candidateFailure], [1, null, null], value)
      if (column === 'history') assert.deepEqual(row?.history, [], value)
    }
  })

  test('instants from a clock that was ahead are made due, those of others are left', async t => {
    const { store } = await newStore(t, database)
    const NOW_MS = 1_000_000
    const rows = {
      misdated: { token: aToken({ issuedAtMs: 2_000_000 }), dueAtMs: 5_000_000, lastForcedAtMs: 7 },
      fine: { token: aToken({ issuedAtMs: 900_000 }), dueAtMs: 5_000_000 },
      untouched: { token: null, dueAtMs: 5_000_000 },
      parked: { token: aToken({ issuedAtMs: 2_000_000 }), dueAtMs: null },
      minting: {
        ...{ token: aToken({ issuedAtMs: 2_000_000 }), dueAtMs: 5_000_000 },
        ...{ claimedBy: 'other', claimedUntilMs: NOW_MS + 10_000 },
      },
      abandoned: {
        ...{ token: aToken({ issuedAtMs: 2_000_000 }), dueAtMs: 5_000_000 },
        ...{ claimedBy: 'killed', claimedUntilMs: 90_000_000 },
      },
    }
    const ids = new Map<string, string>()
    for (const [name, row] of Object.entries(rows)) {
      const provider = aProvider({ name })
      ids.set(name, provider.id)
      await store.createProvider(provider, [aCredential(provider, row)])
    }
    const dueOf = async (name: keyof typeof rows) =>
      (await store.listCredentials(ids.get(name) ?? ''))[0]
    const claim = claimBy('gateway', NOW_MS)
    assert.equal(await store.renewMisdated(claim, { futureMs: NOW_MS + 60_000 }), 2)
    for (const name of ['misdated', 'abandoned'] as const) {
      const row = await dueOf(name)
      assert.deepEqual([row?.dueAtMs, row?.version, row?.lastForcedAtMs], [NOW_MS, 2, 0], name)
      assert.deepEqual([row?.claimedBy, row?.claimedUntilMs], ['', 0], name)
    }
    for (const name of ['fine', 'untouched', 'parked', 'minting'] as const)
      assert.equal((await dueOf(name))?.version, 1, name)
    assert.equal(await store.renewMisdated(claim, { futureMs: null }), 4)
    for (const name of ['parked', 'minting'] as const)
      assert.equal((await dueOf(name))?.version, 1, name)
  })

  test('a claim that ran out does not keep a credential from being made due', async t => {
    const { store } = await newStore(t, database)
    const provider = aProvider()
    const token = aToken({ issuedAtMs: 2_000_000 })
    const stale = { token, dueAtMs: 5_000_000, claimedBy: 'killed', claimedUntilMs: 999_999 }
    await store.createProvider(provider, [aCredential(provider, stale)])
    const claim = claimBy('gateway', 1_000_000)
    assert.equal(await store.renewMisdated(claim, { futureMs: 1_060_000 }), 1)
    assert.equal(await store.earliestDueAtMs(), 1_000_000)
  })
}
