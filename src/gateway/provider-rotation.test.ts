// Goal: whatever happens while new single-use material is taken in, no refresh token is lost or sent
// too often, and what serves goes on serving. Method: the real desk over a real SQLite store and a
// vendor that rotates; the desk's gateway dies at chosen points, and the refresh task goes on.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { present, revealed } from '../../test/store/records.ts'
import { refusal } from '../../test/support/gateway.ts'
import { type Death, mortalLife } from '../../test/support/mortal.ts'
import { noExecute, noFiles, rulesOf } from '../../test/support/outside.ts'
import {
  createRefreshWorld,
  HOSTS,
  type RefreshWorldOptions,
} from '../../test/support/refresh-world.ts'
import { type Deed, rotatingVendor } from '../../test/support/rotating-vendor.ts'
import { seededRandom } from '../../test/support/seeded-random.ts'
import { AppError } from '../core/errors.ts'
import { createRefresher } from '../providers/refresher.ts'
import { findProviderType } from '../providers/registry.ts'
import { silentLog } from '../system/log.ts'
import { createProviderDesk } from './provider-desk.ts'

const KEY = 'OAUTH2_REFRESH_TOKEN'
const PLACE = { workspace: 'default', name: 'one', type: 'oauth2' }
const CONFIG = {
  OAUTH2_TOKEN_URL: `https://${HOSTS[0]}/token`,
  OAUTH2_BASE_URL: `https://${HOSTS[0]}/v1`,
  OAUTH2_CLIENT_ID: 'client',
}
const REFUSED = () => Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
const DOWN = new AppError('store_unavailable', 'Cannot use the database')
const SCOPES = { OAUTH2_SCOPES: 'more' }

const wish = (
  refreshToken: string | null,
  more: {
    readonly config?: Readonly<Record<string, string>>
    readonly isUnverified?: boolean
  } = {},
) => ({
  material: refreshToken === null ? {} : { [KEY]: refreshToken },
  config: more.config ?? {},
  isUnverified: more.isUnverified ?? false,
})

interface Setup extends RefreshWorldOptions {
  readonly deedOf?: (index: number, refreshToken: string) => Deed
  readonly isTolerant?: boolean
  /** Of the gateway whose desk it is. */
  readonly death?: Death
}

/** A desk, and the refresh task of the same gateway, or of the next, that does not run yet. */
async function deskWorld(t: Parameters<typeof createRefreshWorld>[0], setup: Setup = {}) {
  const { death, wrapStore, ...rest } = setup
  const vendor = rotatingVendor(rest)
  const world = await createRefreshWorld(t, { ...rest, answerOf: vendor.answerOf })
  const life = mortalLife(null)
  const { clock } = world
  const changes: string[] = []
  const random = seededRandom()
  const rules = rulesOf(HOSTS)
  const deskOf = (mortal: typeof life) => {
    const outside = { clock, random, files: noFiles, execute: noExecute, rules }
    const refresher = createRefresher(findProviderType('oauth2'), {
      ...{ ...outside, fetch: mortal.fetch(world.peer.fetch) },
    })
    return createProviderDesk({
      ...{ store: mortal.store(wrapStore?.(world.store) ?? world.store), owner: 'gateway-1' },
      ...{ clock, random, rules, log: silentLog, refresherOf: () => refresher },
      onMint: event => changes.push(event.outcome.kind),
      stopping: new AbortController().signal,
      onChange: () => changes.push('changed'),
    })
  }
  const stored = async () => present(await world.store.getProvider('default', 'one'))
  const credential = async () => world.credentialOf(await stored())
  return {
    ...{ world, vendor, changes, stored, credential, desk: deskOf(life) },
    /** A desk whose gateway dies. */
    dyingDesk: () => deskOf(mortalLife(death ?? null)),
    /** Adds the provider with the refresh token `old-0`, which is `old-1` then. */
    add: () => deskOf(life).create(PLACE, wish('old-0', { config: CONFIG })),
    /** Begins what its gateway does not live to end. */
    async begin(work: Promise<unknown>) {
      work.catch(() => undefined)
      await world.rest()
    },
  }
}

test('a new refresh token is stored before it is spent, and what came of it after', async t => {
  const { vendor, desk, stored, credential, changes, world } = await deskWorld(t, {
    deedOf: () => 'answer',
  })
  const receipt = await desk.create(PLACE, wish('old-0', { config: CONFIG }))
  assert.equal(receipt.warning, '')
  assert.deepEqual(revealed(receipt.provider), revealed(await stored()))
  assert.equal((await stored()).material.get(KEY)?.reveal(), 'old-1')
  const { generation, spends, claimedBy, failure } = await credential()
  assert.deepEqual([generation, spends, claimedBy, failure], [1, 0, '', null])
  assert.deepEqual([vendor.arrived, changes], [['old-0'], ['minted', 'changed']])
  world.run()
  await world.clock.advance(3_600_000)
  assert.deepEqual(vendor.arrived, ['old-0', 'old-1'])
})

test('a new refresh token that is refused leaves nothing behind', async t => {
  const { vendor, desk, world } = await deskWorld(t)
  const created = desk.create(PLACE, wish('unknown', { config: CONFIG }))
  await assert.rejects(
    created,
    refusal('mint_refused', /Cannot get a token for "one".*invalid_grant/),
  )
  assert.equal(await world.store.getProvider('default', 'one'), null)
  assert.equal(await world.store.earliestDueAtMs(), null)
  assert.deepEqual(vendor.arrived, ['unknown'])
})

test('a new refresh token whose answer got lost is stored, and sent once more', async t => {
  const { vendor, desk, world, credential } = await deskWorld(t, {
    deedOf: index => (index === 0 ? 'lose' : 'answer'),
  })
  const { warning } = await desk.create(PLACE, wish('old-0', { config: CONFIG }))
  assert.match(warning, /^No token yet: /)
  assert.equal((await credential()).spends, 1)
  world.run()
  await world.clock.advance(600_000)
  assert.deepEqual(vendor.arrived, ['old-0', 'old-0'])
  assert.equal((await credential()).failure?.recoveryAction, 'reauthorize')
})

for (const [death, arrived, isLost] of [
  [{ at: 'after createProvider', nth: 1 }, ['old-0'], false],
  [{ at: 'before fetch', nth: 1 }, ['old-0'], false],
  [{ at: 'after fetch', nth: 1 }, ['old-0', 'old-0'], true],
  [{ at: 'before saveCredential', nth: 1 }, ['old-0', 'old-0'], true],
  [{ at: 'after saveCredential', nth: 1 }, ['old-0'], false],
] as const) {
  test(`killed ${death.at} of a creation, the next gateway finds it and goes on`, async t => {
    const { dyingDesk, begin, world, vendor, credential } = await deskWorld(t, { death })
    await begin(dyingDesk().create(PLACE, wish('old-0', { config: CONFIG })))
    world.run()
    await world.clock.advance(30_000)
    assert.deepEqual(vendor.arrived, arrived)
    const { failure, generation, dueAtMs } = await credential()
    assert.equal(generation, isLost ? 0 : 1)
    assert.equal(failure?.recoveryAction, isLost ? 'reauthorize' : undefined)
    assert.equal(dueAtMs === null, isLost)
  })
}

test('killed before the provider is stored, nothing was sent', async t => {
  const death: Death = { at: 'before createProvider', nth: 1 }
  const { dyingDesk, begin, world, vendor } = await deskWorld(t, { death })
  await begin(dyingDesk().create(PLACE, wish('old-0', { config: CONFIG })))
  assert.equal(await world.store.getProvider('default', 'one'), null)
  assert.deepEqual(vendor.arrived, [])
})

test('a new refresh token that works replaces content and token, whole', async t => {
  const { add, desk, stored, credential, vendor } = await deskWorld(t)
  const { provider } = await add()
  const { warning } = await desk.update(provider, wish('new-0', { config: SCOPES }), 0)
  const { material, config, candidate } = await stored()
  assert.deepEqual(revealed(material), [[KEY, { secret: 'new-1' }]])
  assert.deepEqual([config.get('OAUTH2_SCOPES'), candidate, warning], ['more', null, ''])
  const { generation, spends, candidateSpends, candidateFailure } = await credential()
  assert.deepEqual([generation, spends, candidateSpends, candidateFailure], [2, 0, 0, null])
  assert.deepEqual(vendor.arrived, ['old-0', 'new-0'])
})

test('a new refresh token that is refused changes nothing, and says who serves', async t => {
  const { add, desk, stored, credential, vendor, world } = await deskWorld(t)
  const { provider } = await add()
  const [before, row] = [await stored(), await credential()]
  const update = desk.update(provider, wish('unknown', { config: SCOPES }), 0)
  await assert.rejects(update, refusal('mint_refused', /the standing credential serves on/))
  const { material, config, candidate } = await stored()
  assert.deepEqual(
    revealed({ material, config, candidate }),
    revealed({
      ...{ material: before.material, config: before.config, candidate: null },
    }),
  )
  const { version: _now, ...now } = await credential()
  const { version: _then, ...then } = row
  assert.deepEqual(revealed(now), revealed(then))
  world.run()
  await world.clock.advance(3_600_000)
  assert.deepEqual(vendor.arrived, ['old-0', 'unknown', 'old-1'])
})

/** A provider whose update to `new-0` waits, because its vendor could not be reached. */
async function waiting(t: Parameters<typeof createRefreshWorld>[0]) {
  let isDown = false
  const built = await deskWorld(t, { deedOf: () => (isDown ? REFUSED() : 'answer') })
  const { provider } = await built.add()
  isDown = true
  const receipt = await built.desk.update(provider, wish('new-0'), 0)
  const recover = () => {
    isDown = false
  }
  return { ...built, receipt, recover }
}

test('a new refresh token that cannot be tried waits beside the old one, and the task promotes it', async t => {
  const { receipt, stored, credential, recover, world, vendor } = await waiting(t)
  const words =
    /^The new credential is not in use yet, the standing one is kept until it is: .*ECONNREFUSED/
  assert.match(receipt.warning, words)
  const { material, candidate } = await stored()
  assert.equal(material.get(KEY)?.reveal(), 'old-1')
  assert.equal(candidate?.material.get(KEY)?.reveal(), 'new-0')
  const { generation, failure, candidateSpends } = await credential()
  assert.deepEqual([generation, failure, candidateSpends], [1, null, 0], 'it never left')
  world.run()
  await world.clock.advance(60_000)
  assert.equal((await credential()).generation, 1)
  recover()
  await world.clock.advance(61_000)
  assert.deepEqual([(await credential()).generation, (await stored()).candidate], [2, null])
  assert.equal((await stored()).material.get(KEY)?.reveal(), 'new-1')
  assert.equal(vendor.replays, 0)
})

test('asking for what stands drops what waits, and nothing is sent', async t => {
  const { desk, stored, credential, recover, world, vendor } = await waiting(t)
  recover()
  const sent = vendor.arrived.length
  const receipt = await desk.update(await stored(), wish('old-1'), 0)
  assert.deepEqual([receipt.warning, receipt.provider.candidate], ['', null])
  const { candidateFailure, candidateSpends, generation } = await credential()
  assert.deepEqual([candidateFailure, candidateSpends, generation], [null, 0, 1])
  world.run()
  await world.clock.advance(60_000)
  assert.equal(vendor.arrived.length, sent)
})

test('what waits is gone with a change around the refresh token that serves', async t => {
  const { desk, stored, credential, recover, world, vendor } = await waiting(t)
  recover()
  await desk.update(await stored(), wish('old-1', { config: SCOPES }), 0)
  const { material, config, candidate } = await stored()
  assert.deepEqual([material.get(KEY)?.reveal(), candidate], ['old-2', null])
  assert.equal(config.get('OAUTH2_SCOPES'), 'more')
  assert.equal((await credential()).candidateFailure, null)
  const sent = vendor.arrived.length
  world.run()
  await world.clock.advance(3_000_000)
  assert.equal(vendor.arrived.length, sent, 'nothing is due before the renewal')
})

test('a second update builds on what waits, and a refused one does not touch what serves', async t => {
  const { desk, stored, credential, recover, vendor } = await waiting(t)
  recover()
  await desk.update(await stored(), wish(null, { config: SCOPES }), 0)
  assert.equal(vendor.arrived.at(-1), 'new-0')
  const { material, config } = await stored()
  assert.deepEqual([material.get(KEY)?.reveal(), config.get('OAUTH2_SCOPES')], ['new-1', 'more'])
  await assert.rejects(desk.update(await stored(), wish('unknown'), 0), refusal('mint_refused'))
  assert.equal((await stored()).material.get(KEY)?.reveal(), 'new-1')
  assert.equal((await credential()).generation, 2)
})

for (const [death, generation, refreshToken, isDropped] of [
  [{ at: 'before stageProvider', nth: 1 }, 1, 'old-1', false],
  [{ at: 'after stageProvider', nth: 1 }, 2, 'new-1', false],
  [{ at: 'before fetch', nth: 1 }, 2, 'new-1', false],
  [{ at: 'after fetch', nth: 1 }, 1, 'old-1', true],
  [{ at: 'before saveCredential', nth: 1 }, 1, 'old-1', true],
  [{ at: 'after saveCredential', nth: 1 }, 2, 'new-1', false],
] as const) {
  test(`killed ${death.at} of an update, what serves is whole and no token was sent thrice`, async t => {
    const { add, dyingDesk, begin, world, vendor, stored, credential } = await deskWorld(t, {
      death,
    })
    const { provider } = await add()
    await begin(dyingDesk().update(provider, wish('new-0', { config: SCOPES }), 0))
    world.run()
    // What is staged is tried when the standing one is due, if not before.
    await world.clock.advance(3_400_000)
    const row = await credential()
    assert.equal(row.candidateFailure?.recoveryAction, isDropped ? 'reauthorize' : undefined)
    assert.ok(row.generation >= generation)
    assert.equal(row.failure, null)
    const { material, config, candidate } = await stored()
    assert.equal(material.get(KEY)?.reveal().slice(0, 3), refreshToken.slice(0, 3))
    assert.equal(config.has('OAUTH2_SCOPES'), refreshToken.startsWith('new'))
    assert.equal(candidate, null)
    for (const [token, sent] of Map.groupBy(vendor.arrived, one => one))
      assert.ok(sent.length <= (isDropped ? 2 : 1), `${token} ${sent.length} times`)
  })
}

test('a second update of the same moment sends nothing and says that it lost', async t => {
  const { add, desk, vendor, stored } = await deskWorld(t)
  const { provider } = await add()
  const outcomes = await Promise.allSettled([
    desk.update(provider, wish('new-0'), 0),
    desk.update(provider, wish('new-0', { config: SCOPES }), 0),
    desk.update(provider, wish('other'), provider.version),
  ])
  assert.equal(outcomes.filter(one => one.status === 'fulfilled').length, 1)
  for (const one of outcomes)
    if (one.status === 'rejected') assert.equal(one.reason.code, 'version_conflict')
  assert.deepEqual(vendor.arrived, ['old-0', 'new-0'])
  assert.equal((await stored()).material.get(KEY)?.reveal(), 'new-1')
})

test('stored unverified, a refresh token whose answer got lost is still sent no third time', async t => {
  const { add, desk, vendor, world, stored, credential } = await deskWorld(t, {
    deedOf: index => (index === 0 ? 'answer' : 'lose'),
  })
  const { provider } = await add()
  await desk.update(provider, wish('new-0', { isUnverified: true }), 0)
  assert.equal((await stored()).material.get(KEY)?.reveal(), 'new-0')
  world.run()
  await world.clock.advance(86_400_000)
  assert.deepEqual(vendor.arrived, ['old-0', 'new-0', 'new-0'])
  assert.equal((await credential()).failure?.recoveryAction, 'reauthorize')
})

test('a changed configuration around the same refresh token rotates it once, or changes nothing', async t => {
  let deed: Deed = 'answer'
  const { add, desk, vendor, stored, credential } = await deskWorld(t, { deedOf: () => deed })
  const { provider } = await add()
  await desk.update(provider, wish(null, { config: SCOPES }), 0)
  assert.deepEqual(vendor.arrived, ['old-0', 'old-1'])
  const { material, config } = await stored()
  assert.deepEqual([material.get(KEY)?.reveal(), config.get('OAUTH2_SCOPES')], ['old-2', 'more'])
  deed = 'lose'
  const other = { OAUTH2_SCOPES: 'other' }
  for (const spends of [1, 2]) {
    const update = desk.update(await stored(), wish(null, { config: other }), 0)
    await assert.rejects(update, refusal('mint_refused', /serves on/))
    assert.equal((await credential()).spends, spends)
  }
  await assert.rejects(desk.update(await stored(), wish(null, { config: other }), 0), {
    code: 'mint_refused',
  })
  assert.deepEqual(vendor.arrived.slice(2), ['old-2', 'old-2'], 'never a third time')
  assert.equal((await stored()).config.get('OAUTH2_SCOPES'), 'more')
})

test('a store that falters for a moment loses nothing that the vendor rotated', async t => {
  let failures = 0
  const { add, desk, stored, vendor, credential, world } = await deskWorld(t, {
    wrapStore: store => ({
      ...store,
      async saveCredential(row, change) {
        const isLater = vendor.arrived.length > 0 && change !== null
        if (isLater && failures < 3) {
          failures += 1
          throw DOWN
        }
        failures = 0
        return store.saveCredential(row, change)
      },
    }),
  })
  const added = add()
  await world.clock.advance(3_000)
  const { provider } = await added
  assert.equal((await stored()).material.get(KEY)?.reveal(), 'old-1')
  for (const [refreshToken, config, left] of [
    ['new-0', {}, 'new-1'],
    [null, SCOPES, 'new-2'],
  ] as const) {
    const current = refreshToken === null ? await stored() : provider
    const update = desk.update(current, wish(refreshToken, { config }), 0)
    await world.clock.advance(3_000)
    await update
    assert.equal((await stored()).material.get(KEY)?.reveal(), left)
  }
  assert.deepEqual(vendor.arrived, ['old-0', 'new-0', 'new-1'])
  assert.equal((await credential()).generation, 3)
})
