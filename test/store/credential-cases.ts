import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Credential, standingOf } from '../../src/core/credential.ts'
import type { Failure } from '../../src/core/failure.ts'
import { Secret } from '../../src/core/secret.ts'
import type { Claim, ProviderStanding } from '../../src/store/store.ts'
import { newStore, type TestDatabase } from './databases.ts'
import { aCredential, aProvider, aToken, present, revealed, rotation } from './records.ts'

const A_FAILURE: Failure = {
  class: 'H',
  code: 'too_many',
  message: 'It said "no"',
  advice: 'Wait',
  recoveryAction: 'retry',
  retryAfterMs: 16,
}

function claimBy(owner: string, nowMs: number): Claim {
  return { owner, nowMs, untilMs: nowMs + 1_000 }
}

export function credentialCases(database: TestDatabase): void {
  /** A store with one provider and one credential that is due at 5 s. */
  const withCredential = async (
    t: Parameters<typeof newStore>[0],
    content: Partial<Credential> = {},
  ) => {
    const opened = await newStore(t, database)
    const provider = aProvider()
    const credential = aCredential(provider, content)
    await opened.store.createProvider(provider, [credential])
    return { ...opened, provider, credential }
  }

  test('every field of a credential is kept, and instants become whole', async t => {
    const { store, provider, credential } = await withCredential(t)
    const written: Credential = {
      ...credential,
      generation: 7,
      token: aToken({ issuedAtMs: 1.4, expiresAtMs: 1_800_000_000_000 }),
      dueAtMs: 10.5,
      mandatoryAtMs: 11,
      lastRefreshAtMs: 12,
      lastAttemptAtMs: 13,
      lastForcedAtMs: 14,
      consecutiveFailures: 15,
      failure: A_FAILURE,
      failingSinceMs: 17,
      isDisabled: true,
      claimedBy: 'gateway-1',
      claimedUntilMs: 18,
    }
    const saved = await store.saveCredential(written, null)
    const expected = {
      ...written,
      version: 2,
      dueAtMs: 11,
      token: { ...present(written.token), issuedAtMs: 1 },
    }
    assert.deepEqual(revealed(saved), revealed(expected))
    assert.deepEqual(revealed(await store.listCredentials(provider.id)), [revealed(expected)])
  })

  test('how credentials stand is read page by page, without any secret, even if a row is damaged', async t => {
    const { store, location } = await newStore(t, database)
    const standing = new Map<string, ProviderStanding>()
    for (const [index, name] of ['a', 'b', 'c', 'd'].entries()) {
      const provider = aProvider({ name, id: `id-${4 - index}` })
      const credential = aCredential(provider, {
        ...{ generation: index, token: index === 0 ? null : aToken(), isDisabled: index === 1 },
        ...{ lastRefreshAtMs: index, consecutiveFailures: index, failingSinceMs: index },
        failure: index < 2 ? null : A_FAILURE,
      })
      await store.createProvider(provider, [credential])
      const { id, workspace } = provider
      standing.set(name, { provider: { id, workspace, name }, credential: standingOf(credential) })
    }
    const of = (...names: readonly string[]) => names.map(name => present(standing.get(name)))
    const first = await store.listStandings(null, { after: null, limit: 3 })
    assert.deepEqual(first, of('d', 'c', 'b'))
    const after = present(first[2]).credential
    assert.deepEqual(await store.listStandings(null, { after, limit: 3 }), of('a'))
    assert.deepEqual(await store.listStandings('other', { after: null, limit: 3 }), [])
    assert.equal((await store.listStandings('default', { after: null, limit: 9 })).length, 4)
    await database.run(location, `update credentials set failure = '{', token_envelope = 'x'`)
    const damaged = await store.listStandings(null, { after: null, limit: 9 })
    assert.deepEqual(
      damaged.map(one => one.credential.failure),
      [null, null, null, null],
    )
  })

  test('of many saves at once from one version, one wins', async t => {
    const { store, openAgain, credential } = await withCredential(t)
    const other = await openAgain()
    const outcomes = await Promise.all(
      [store, other, store, other].map((one, index) =>
        one.saveCredential({ ...credential, generation: index }, null),
      ),
    )
    assert.equal(outcomes.filter(one => one !== null).length, 1)
  })

  test('what is due is claimed, the earliest first, up to the limit', async t => {
    const { store } = await newStore(t, database)
    const dueAtMs = [300, 100, null, 200, 401, 400]
    for (const [index, due] of dueAtMs.entries()) {
      const provider = aProvider({ name: `p${index}` })
      await store.createProvider(provider, [aCredential(provider, { dueAtMs: due })])
    }
    const claim = claimBy('a', 400)
    const first = await store.claimDue(claim, 2)
    assert.deepEqual(
      first.map(one => one.dueAtMs),
      [100, 200],
    )
    for (const one of first) {
      assert.equal(one.version, 2)
      assert.equal(one.claimedBy, 'a')
      assert.equal(one.claimedUntilMs, 1_400)
    }
    const rest = await store.claimDue(claim, 10)
    assert.deepEqual(
      rest.map(one => one.dueAtMs),
      [300, 400],
    )
    assert.deepEqual(await store.claimDue(claim, 10), [])
  })

  test('many gateways that claim at once never get the same credential', async t => {
    const { store, openAgain } = await newStore(t, database)
    const keys = Array.from({ length: 200 }, (_, index) => `KEY_${index}`)
    const provider = aProvider()
    const rows = keys.map((key, index) => aCredential(provider, { key, dueAtMs: index }))
    await store.createProvider(provider, rows)
    const gateways = [store, await openAgain(), await openAgain()]
    const claims = await Promise.all(
      gateways.flatMap((gateway, index) =>
        Array.from({ length: 10 }, () => gateway.claimDue(claimBy(`g${index}`, 5_000), 10)),
      ),
    )
    const claimed = claims.flat().map(one => one.key)
    assert.equal(new Set(claimed).size, claimed.length)
    for (const claim of claims) assert.ok(claim.length <= 10, `claimed ${claim.length} of 10`)
    const rest = await store.claimDue(claimBy('last', 5_000), 1_000)
    assert.deepEqual([...claimed, ...rest.map(one => one.key)].sort(), keys.sort())
  })

  test('a claim that ran out is taken over, and the paused claimer then loses', async t => {
    const { store, openAgain } = await withCredential(t)
    const other = await openAgain()
    const [paused] = await store.claimDue(claimBy('paused', 5_000), 10)
    assert.deepEqual(await other.claimDue(claimBy('other', 5_999), 10), [])
    const [taken] = await other.claimDue(claimBy('other', 6_000), 10)
    assert.equal(present(taken).claimedBy, 'other')
    const done = { claimedBy: '', claimedUntilMs: 0, dueAtMs: 9_000_000 }
    const late = await store.saveCredential(
      { ...present(paused), ...done, generation: 1, token: aToken() },
      null,
    )
    assert.equal(late, null)
    const saved = await other.saveCredential(
      { ...present(taken), ...done, generation: 1, token: aToken() },
      null,
    )
    assert.equal(present(saved).version, 4)
    assert.equal(present(saved).claimedBy, '')
  })

  test('one credential is claimed before it is due, unless it is claimed, changed or gone', async t => {
    const { store, credential } = await withCredential(t, { dueAtMs: null })
    const claimed = present(await store.claimCredential(claimBy('a', 100), credential))
    assert.deepEqual(claimed, {
      ...credential,
      version: 2,
      claimedBy: 'a',
      claimedUntilMs: 1_100,
    })
    assert.equal(await store.claimCredential(claimBy('b', 1_099), claimed), null)
    assert.equal(await store.claimCredential(claimBy('b', 1_100), credential), null)
    assert.ok(await store.claimCredential(claimBy('b', 1_100), claimed))
    await store.deleteProvider('default', 'my-vertex')
    const latest = { ...claimed, version: 3 }
    assert.equal(await store.claimCredential(claimBy('c', 9_000), latest), null)
  })

  test('a mint for a provider that was deleted meanwhile is discarded', async t => {
    const { store, location } = await withCredential(t)
    const [minting] = await store.claimDue(claimBy('a', 5_000), 1)
    await store.deleteProvider('default', 'my-vertex')
    const rotatedMaterial = new Map([['REFRESH', new Secret('rotated')]])
    const credential = { ...present(minting), token: aToken() }
    assert.equal(await store.saveCredential(credential, rotation(1, rotatedMaterial)), null)
    assert.deepEqual(await database.run(location, 'select * from provider_secrets'), [])
  })

  test('a mint for a provider that was edited meanwhile is discarded, edit after edit', async t => {
    const { store, provider } = await withCredential(t)
    const [minting] = await store.claimDue(claimBy('a', 5_000), 1)
    const stale = present(minting)
    let current = provider
    for (const rows of [[aCredential(provider)], [], [aCredential(provider)]]) {
      current = present(await store.updateProvider(current, provider, rows))
      await store.claimDue(claimBy('a', 5_000), 1)
      assert.equal(await store.saveCredential(stale, null), null)
      const late = rotation(1, new Map([['REFRESH', new Secret('late')]]))
      assert.equal(await store.saveCredential(stale, late), null)
      assert.ok(!present(await store.getProviderById(provider.id)).material.has('REFRESH'))
    }
    const [standing] = await store.listCredentials(provider.id)
    assert.equal(present(standing).claimedBy, 'a')
  })

  test('rotated material is stored with the token', async t => {
    const { store, provider, credential, clock } = await withCredential(t)
    clock.setMs(3_000_000)
    const rotatedMaterial = new Map([
      ['GOOGLE_SERVICE_ACCOUNT_JSON', new Secret('rotated')],
      ['NEW', new Secret('new')],
    ])
    const token = aToken()
    assert.ok(await store.saveCredential({ ...credential, token }, rotation(1, rotatedMaterial)))
    const after = present(await store.getProvider('default', 'my-vertex'))
    assert.deepEqual(revealed(after.material), revealed(rotatedMaterial))
    assert.equal(after.updatedAtMs, 3_000_000)
    const [stored] = await store.listCredentials(provider.id)
    assert.deepEqual(revealed(stored?.token), revealed(token))
  })

  test('an edit made from material that was rotated meanwhile loses', async t => {
    const { store, provider, credential } = await withCredential(t)
    const rotatedMaterial = new Map([['GOOGLE_SERVICE_ACCOUNT_JSON', new Secret('rotated')]])
    assert.ok(await store.saveCredential(credential, rotation(1, rotatedMaterial)))
    assert.equal(await store.updateProvider(provider, provider, null), null)
    const found = present(await store.getProvider('default', 'my-vertex'))
    assert.deepEqual(revealed(found.material), revealed(rotatedMaterial))
  })

  test('rotation, edit and deletion at once end whole, in any order', async t => {
    const { store, openAgain } = await newStore(t, database)
    const other = await openAgain()
    for (let round = 0; round < 20; round += 1) {
      const provider = aProvider({ name: `p${round}` })
      const credential = aCredential(provider)
      await store.createProvider(provider, [credential])
      const rotatedMaterial = new Map([[`ROTATED_${round}`, new Secret('rotated')]])
      await Promise.all([
        store.saveCredential(credential, rotation(1, rotatedMaterial)),
        other.updateProvider(provider, provider, [credential]),
        other.deleteProvider('default', provider.name),
      ])
      assert.equal(await store.getProviderById(provider.id), null)
    }
    assert.equal(await store.earliestDueAtMs(), null)
  })

  test('the earliest due time is that of a claim that runs out, if that is later', async t => {
    const { store } = await newStore(t, database)
    assert.equal(await store.earliestDueAtMs(), null)
    const rows: readonly (readonly [dueAtMs: number | null, claimedUntilMs: number])[] = [
      [null, 10],
      [100, 5_000],
      [900, 300],
    ]
    for (const [index, [dueAtMs, claimedUntilMs]] of rows.entries()) {
      const provider = aProvider({ name: `p${index}` })
      await store.createProvider(provider, [aCredential(provider, { dueAtMs, claimedUntilMs })])
    }
    assert.equal(await store.earliestDueAtMs(), 900)
    const [claimed] = await store.claimDue(claimBy('a', 7_000), 1)
    assert.equal(present(claimed).dueAtMs, 900)
    assert.equal(await store.earliestDueAtMs(), 5_000)
  })

  test('a failure that cannot be read is left out', async t => {
    const { store, location, provider } = await withCredential(t)
    await database.run(location, `update credentials set failure = '{"class":"Z"}', history = '['`)
    const [claimed] = await store.claimDue(claimBy('a', 5_000), 10)
    assert.deepEqual([claimed?.failure, claimed?.history], [null, []])
    const [listed] = await store.listCredentials(provider.id)
    assert.deepEqual(listed, claimed)
  })
}
