import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Credential } from '../../src/core/credential.ts'
import type { Failure } from '../../src/core/failure.ts'
import type { ProviderContent, ProviderRecord } from '../../src/core/provider.ts'
import { Secret } from '../../src/core/secret.ts'
import type { ContentChange } from '../../src/store/store.ts'
import { newStore, type TestDatabase } from './databases.ts'
import { aCredential, aProvider, aToken, present, revealed, rotation } from './records.ts'

const KEY = 'OAUTH2_REFRESH_TOKEN'

function content(refreshToken: string, more: Readonly<Record<string, string>> = {}) {
  const config = new Map(Object.entries({ OAUTH2_CLIENT_ID: 'client', ...more }))
  return { material: new Map([[KEY, new Secret(refreshToken)]]), config }
}

const NEW: ProviderContent = content('candidate', { OAUTH2_SCOPES: 'ключ "a"' })

function change(provider: ProviderRecord, more: Partial<ContentChange>): ContentChange {
  const nothing = { rotatedMaterial: new Map(), candidate: 'kept' } as const
  return { providerVersion: provider.version, ...nothing, ...more }
}

const rotatedTo = (value: string) => new Map([[KEY, new Secret(value)]])

export function candidateCases(database: TestDatabase): void {
  /** A provider that serves, with a candidate beside it. */
  const withCandidate = async (t: Parameters<typeof newStore>[0]) => {
    const opened = await newStore(t, database)
    const provider = aProvider({ ...content('standing'), type: 'oauth2' })
    await opened.store.createProvider(provider, [aCredential(provider, { token: aToken() })])
    const [row] = await opened.store.listCredentials(provider.id)
    const written = { ...present(row), candidateSpends: 1 }
    const staged = present(await opened.store.stageProvider(provider, NEW, written))
    const read = async (): Promise<ProviderRecord> =>
      present(await opened.store.getProviderById(provider.id))
    const rowNow = async (): Promise<Credential> =>
      present((await opened.store.listCredentials(provider.id))[0])
    return { ...opened, before: provider, ...staged, read, rowNow }
  }

  test('a candidate stands beside the content, whole, until it is promoted', async t => {
    const { store, before, provider, credential, read, rowNow, openAgain } = await withCandidate(t)
    const expected = { ...before, candidate: NEW, version: 2, updatedAtMs: 1_000_000 }
    assert.deepEqual(revealed(provider), revealed(expected))
    assert.deepEqual(revealed(await read()), revealed(expected))
    const again = await openAgain()
    assert.deepEqual(revealed(await again.getProvider('default', before.name)), revealed(expected))
    const page = await store.listProviders(null, { limit: 10, offset: 0 })
    assert.deepEqual(revealed(page), revealed({ providers: [expected], damaged: [] }))
    assert.deepEqual(revealed(await rowNow()), revealed(credential))
    assert.deepEqual([credential.version, credential.candidateSpends], [2, 1])
  })

  test('no part of a candidate lies in the database in clear', async t => {
    const { location } = await withCandidate(t)
    const rows = await database.run(location, 'select * from providers')
    const text = JSON.stringify(rows)
    assert.ok(text.includes('"candidate_envelope":"v1.'))
    for (const word of ['"candidate"', 'OAUTH2_SCOPES', 'ключ'])
      assert.ok(!text.includes(word), word)
  })

  test('of a staging that lost either race nothing is written', async t => {
    const { store, provider, credential, read, rowNow } = await withCandidate(t)
    const other = content('other')
    const oldProvider = { ...provider, version: 1 }
    const oldCredential = { ...credential, version: 1, candidateSpends: 9 }
    const [before, rowBefore] = [await read(), await rowNow()]
    assert.equal(await store.stageProvider(oldProvider, other, credential), null)
    assert.equal(await store.stageProvider(provider, other, oldCredential), null)
    assert.deepEqual(revealed(await read()), revealed(before))
    assert.deepEqual(revealed(await rowNow()), revealed(rowBefore))
    await store.deleteProvider('default', provider.name)
    assert.equal(await store.stageProvider(provider, other, credential), null)
    assert.equal(await store.getProviderById(provider.id), null)
  })

  test('a staging makes the mint that is under way lose', async t => {
    const { store, provider, credential, rowNow } = await withCandidate(t)
    const claim = { owner: 'minting', nowMs: 5_000, untilMs: 35_000 }
    const minting = present(await store.claimCredential(claim, credential))
    const written = { ...minting, claimedBy: '', claimedUntilMs: 0 }
    assert.ok(await store.stageProvider(provider, content('third'), written))
    const late = { ...minting, generation: 9, token: aToken() }
    assert.equal(await store.saveCredential(late, null), null)
    assert.notEqual((await rowNow()).generation, 9)
  })

  test('a promoted candidate takes the place of the content whole, rotated material over it', async t => {
    const { store, provider, credential, read, clock } = await withCandidate(t)
    clock.setMs(2_000_000)
    const rotatedMaterial = rotatedTo('rotated from the candidate')
    const promotion = change(provider, { rotatedMaterial, candidate: 'promoted' })
    const saved = await store.saveCredential({ ...credential, token: aToken() }, promotion)
    assert.equal(present(saved).version, credential.version + 1)
    const expected = {
      ...{ ...provider, config: NEW.config, material: rotatedMaterial, candidate: null },
      ...{ version: 3, updatedAtMs: 2_000_000 },
    }
    assert.deepEqual(revealed(await read()), revealed(expected))
  })

  test('of the content that a promoted candidate replaces no key is left', async t => {
    const { store, provider, credential, read } = await withCandidate(t)
    const other = { material: new Map([['OTHER', new Secret('o')]]), config: new Map() }
    const restaged = present(await store.stageProvider(provider, other, credential))
    const promotion = change(restaged.provider, { candidate: 'promoted' })
    assert.ok(await store.saveCredential(restaged.credential, promotion))
    const { material, config, candidate } = await read()
    assert.deepEqual(
      revealed({ material, config, candidate }),
      revealed({ ...other, candidate: null }),
    )
  })

  test('a dropped candidate leaves the standing content as it was', async t => {
    const { store, before, provider, credential, read } = await withCandidate(t)
    const rotatedMaterial = rotatedTo('rotated from the standing')
    const dropping = change(provider, { rotatedMaterial, candidate: 'dropped' })
    assert.ok(await store.saveCredential(credential, dropping))
    const { material, config, candidate, version } = await read()
    assert.deepEqual(revealed(material), revealed(rotatedMaterial))
    assert.deepEqual([config, candidate, version], [before.config, null, 3])
  })

  test('rotation of the standing material keeps a waiting candidate', async t => {
    const { store, provider, credential, read } = await withCandidate(t)
    assert.ok(await store.saveCredential(credential, rotation(provider.version, rotatedTo('next'))))
    const { material, candidate } = await read()
    assert.equal(material.get(KEY)?.reveal(), 'next')
    assert.deepEqual(revealed(candidate), revealed(NEW))
  })

  test('an update replaces the candidate, too', async t => {
    const { store, provider, read } = await withCandidate(t)
    assert.ok(await store.updateProvider(provider, content('edited'), [aCredential(provider)]))
    const { material, candidate } = await read()
    assert.deepEqual([material.get(KEY)?.reveal(), candidate], ['edited', null])
  })

  test('rotated material outlives a lost race: it is stored, and the faster one’s work is void', async t => {
    const { store, provider, credential, read, rowNow, clock } = await withCandidate(t)
    clock.setMs(77_000)
    const claim = { owner: 'faster', nowMs: 50_000, untilMs: 80_000 }
    const faster = present(await store.claimCredential(claim, credential))
    const late = { ...credential, token: aToken(), spends: 0, dueAtMs: 9_000_000 }
    const rescue = rotation(provider.version, rotatedTo('rescued'))
    assert.equal(await store.saveCredential(late, rescue), null)
    assert.equal((await read()).material.get(KEY)?.reveal(), 'rescued')
    const { dueAtMs, spends, claimedBy, claimedUntilMs, token } = await rowNow()
    assert.deepEqual([dueAtMs, spends, claimedBy, claimedUntilMs], [77_000, 0, '', 0])
    assert.deepEqual(revealed(token), revealed(credential.token), 'the late token is not believed')
    assert.equal(await store.saveCredential({ ...faster, generation: 9 }, null), null)
  })

  test('a rescue after a promotion stores what was rotated from the candidate', async t => {
    const { store, provider, credential, read } = await withCandidate(t)
    await store.claimCredential({ owner: 'faster', nowMs: 1, untilMs: 2 }, credential)
    const rotatedMaterial = rotatedTo('rescued')
    const promotion = change(provider, { rotatedMaterial, candidate: 'promoted' })
    assert.equal(await store.saveCredential(credential, promotion), null)
    const { material, config, candidate } = await read()
    const expected = { material: rotatedMaterial, config: NEW.config, candidate: null }
    assert.deepEqual(revealed({ material, config, candidate }), revealed(expected))
  })

  test('without rotated material a lost race changes nothing, whatever became of the candidate', async t => {
    const { store, provider, credential, read, rowNow } = await withCandidate(t)
    await store.claimCredential({ owner: 'faster', nowMs: 1, untilMs: 2 }, credential)
    const [before, rowBefore] = [await read(), await rowNow()]
    for (const candidate of ['kept', 'promoted', 'dropped'] as const) {
      assert.equal(await store.saveCredential(credential, change(provider, { candidate })), null)
    }
    assert.deepEqual(revealed(await read()), revealed(before))
    assert.deepEqual(revealed(await rowNow()), revealed(rowBefore))
  })

  test('material rotated from content that was replaced meanwhile never comes back', async t => {
    const { store, provider, credential, read } = await withCandidate(t)
    const updated = await store.updateProvider(provider, content('edited'), [aCredential(provider)])
    const late = rotation(provider.version, rotatedTo('of the old'))
    assert.equal(await store.saveCredential(credential, late), null)
    assert.deepEqual(revealed(await read()), revealed(updated))
  })

  test('material rotated from other content is not written, even with a row of the right version', async t => {
    const { store, provider, credential, read, rowNow } = await withCandidate(t)
    const updated = await store.updateProvider(provider, content('edited'), null)
    const late = rotation(provider.version, rotatedTo('of the old'))
    const rowBefore = await rowNow()
    assert.equal(await store.saveCredential({ ...credential, generation: 9 }, late), null)
    assert.deepEqual(revealed(await read()), revealed(updated))
    assert.deepEqual(revealed(await rowNow()), revealed(rowBefore))
  })

  test('a rescue leaves a credential that was switched off meanwhile off', async t => {
    const { store, provider, credential, read, rowNow } = await withCandidate(t)
    const off = { ...credential, isDisabled: true, dueAtMs: null }
    assert.ok(await store.saveCredential(off, null))
    const rescue = rotation(provider.version, rotatedTo('rescued'))
    assert.equal(await store.saveCredential(credential, rescue), null)
    assert.equal((await read()).material.get(KEY)?.reveal(), 'rescued')
    const { isDisabled, dueAtMs } = await rowNow()
    assert.deepEqual([isDisabled, dueAtMs], [true, null])
  })

  test('every column of a life comes back: intents, the candidate’s failure, the history', async t => {
    const { store, credential, rowNow } = await withCandidate(t)
    const failure: Failure = {
      ...{ class: 'Q', code: 'admin', message: 'A "no"', advice: 'Ask' },
      ...{ recoveryAction: 'fix_configuration', retryAfterMs: 0 },
    }
    const states = ['pending', 'valid', 'degraded', 'expired', 'failed', 'disabled'] as const
    const classes = ['', 'T', 'H', 'S', 'C', 'P', 'Q', 'X'] as const
    const history = classes.map((one, index) => ({
      atMs: index,
      state: states[index % states.length] ?? 'valid',
      class: one,
      code: one === '' ? '' : `code_${one}`,
    }))
    const written = {
      ...credential,
      spends: 2,
      candidateSpends: 1,
      candidateDueAtMs: 77_000,
      candidateFailure: failure,
      history,
    }
    const saved = await store.saveCredential(written, null)
    const expected = { ...written, version: credential.version + 1 }
    assert.deepEqual(revealed(saved), revealed(expected))
    assert.deepEqual(revealed(await rowNow()), revealed(expected))
  })

  test('promotion, staging, edit and deletion at once end whole, in any order', async t => {
    const { store, openAgain } = await newStore(t, database)
    const other = await openAgain()
    for (let round = 0; round < 20; round += 1) {
      const provider = aProvider({ ...content(`standing-${round}`), name: `p${round}` })
      await store.createProvider(provider, [aCredential(provider)])
      const [row] = await store.listCredentials(provider.id)
      const staged = present(
        await store.stageProvider(provider, content(`new-${round}`), present(row)),
      )
      const promotion = change(staged.provider, {
        rotatedMaterial: rotatedTo(`rotated-${round}`),
        candidate: 'promoted',
      })
      const isDeleted = round % 2 === 0
      await Promise.all([
        store.saveCredential(staged.credential, promotion),
        other.stageProvider(staged.provider, content(`third-${round}`), staged.credential),
        other.updateProvider(staged.provider, content(`edit-${round}`), [present(row)]),
        ...(isDeleted ? [other.deleteProvider('default', provider.name)] : []),
      ])
      const end = await store.getProviderById(provider.id)
      assert.equal(end === null, isDeleted)
      if (end === null) continue
      const found = `${end.material.get(KEY)?.reveal()} ${end.candidate?.material.get(KEY)?.reveal()}`
      const whole = [
        `rotated-${round} undefined`,
        `edit-${round} undefined`,
        `standing-${round} third-${round}`,
      ]
      assert.ok(whole.includes(found), found)
    }
  })
}
