// Goal: within one gateway's life, what may be spent only once is never lost or sent too often, new
// material never harms the standing one, and a hanging vendor costs seconds, not a token. Method: the
// real task over a real SQLite store, a scripted vendor, a clock that only the test moves.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { present } from '../../test/store/records.ts'
import {
  createRefreshWorld,
  freshToken,
  HOSTS,
  type RefreshWorldOptions,
} from '../../test/support/refresh-world.ts'
import { type Deed, rotatingVendor } from '../../test/support/rotating-vendor.ts'
import type { Script } from '../../test/support/scripted-fetch.ts'
import { keyFile } from '../../test/support/service-account.ts'
import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderContent } from '../core/provider.ts'
import { Secret } from '../core/secret.ts'
import type { FetchRequest } from '../system/fetch.ts'

const KEY = 'OAUTH2_REFRESH_TOKEN'
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const REFUSED = () => Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
const DOWN = new AppError('store_unavailable', 'Cannot use the database')

type World = Awaited<ReturnType<typeof createRefreshWorld>>

/** A token with so long to go, due now. */
function living(world: Pick<World, 'clock'>, leftMs: number): Partial<Credential> {
  const nowMs = world.clock.nowMs()
  const life = { issuedAtMs: nowMs - HOUR_MS + leftMs, expiresAtMs: nowMs + leftMs }
  const mandatoryAtMs = life.expiresAtMs - 60_000
  return {
    token: { value: new Secret('t0'), ...life },
    generation: 1,
    dueAtMs: nowMs,
    mandatoryAtMs,
  }
}

/** A single-use provider whose renewal is due, with five minutes to go. */
async function rotating(
  t: Parameters<typeof createRefreshWorld>[0],
  options: Parameters<typeof rotatingVendor>[0] & RefreshWorldOptions = {},
) {
  const vendor = rotatingVendor(options)
  const world = await createRefreshWorld(t, { answerOf: vendor.answerOf, ...options })
  const provider = await world.addRotating('one', living(world, 300_000))
  const now = async () => ({
    ...(await world.credentialOf(provider)),
    stored: present(await world.store.getProviderById(provider.id)),
  })
  world.run()
  return { world, vendor, provider, now }
}

const deeds =
  (...list: readonly Deed[]) =>
  (index: number): Deed =>
    list[Math.min(index, list.length - 1)] ?? 'answer'

test('three days of rotation sends each refresh token once and keeps the newest', async t => {
  const { world, vendor, now } = await rotating(t)
  await world.clock.advance(3 * DAY_MS)
  assert.ok(vendor.arrived.length > 70)
  assert.equal(new Set(vendor.arrived).size, vendor.arrived.length)
  const { stored, generation } = await now()
  assert.equal(stored.material.get(KEY)?.reveal(), vendor.current)
  assert.equal(generation, vendor.arrived.length + 1)
})

test('an answer that got lost is asked for once more; a strict vendor’s refusal is final', async t => {
  const { world, vendor, now } = await rotating(t, { deedOf: deeds('lose', 'answer') })
  await world.rest()
  const first = await now()
  assert.deepEqual([first.failure?.class, first.failure?.code], ['T', 'oauth_outcome_unknown'])
  await world.clock.advance(DAY_MS)
  const { failure, dueAtMs } = await now()
  assert.deepEqual([failure?.class, failure?.recoveryAction, dueAtMs], ['P', 'reauthorize', null])
  assert.deepEqual(vendor.arrived, ['old-0', 'old-0'])
})

test('an answer that got lost is made good by a vendor that answers the same twice', async t => {
  const { world, vendor, now } = await rotating(t, {
    ...{ deedOf: deeds('lose', 'answer'), isTolerant: true },
  })
  await world.clock.advance(60_000)
  const { failure, generation, spends, stored } = await now()
  assert.deepEqual([failure, generation, spends], [null, 2, 0])
  assert.equal(stored.material.get(KEY)?.reveal(), vendor.current)
})

test('after two answers that got lost nothing is sent any more, also not on a forced refresh', async t => {
  const { world, vendor, provider, now } = await rotating(t, {
    ...{ deedOf: deeds('lose'), isTolerant: true },
  })
  await world.clock.advance(60_000)
  assert.equal(vendor.arrived.length, 2)
  const { failure } = await now()
  assert.deepEqual([failure?.class, failure?.recoveryAction], ['P', 'reauthorize'])
  const outcome = await world.task.force(await world.credentialOf(provider), {
    ...{ reason: 'rejected', who: 'sandbox a', reportedAtMs: world.clock.monotonicMs() },
  })
  assert.equal(outcome?.kind, 'failed')
  await world.clock.advance(DAY_MS)
  assert.equal(vendor.arrived.length, 2)
})

test('a vendor that cannot be reached has not taken what was never sent', async t => {
  const { world, vendor, now } = await rotating(t, {
    deedOf: index => (index < 30 ? REFUSED() : 'answer'),
  })
  await world.clock.advance(HOUR_MS / 2)
  const { failure, generation, spends, stored } = await now()
  assert.deepEqual([failure, generation, spends], [null, 2, 0])
  assert.equal(stored.material.get(KEY)?.reveal(), 'old-1')
  assert.equal(vendor.replays, 0)
})

test('silence is an unknown outcome: nothing is sent beside it, and one more try is made', async t => {
  const { world, vendor } = await rotating(t, { deedOf: deeds('silence') })
  await world.clock.advance(9_999)
  assert.equal(vendor.arrived.length, 1, 'no second request beside a single-use one')
  await world.clock.advance(HOUR_MS)
  assert.equal(vendor.arrived.length, 2)
})

test('an answer with new material and no usable token is not asked for again and again', async t => {
  const body = { access_token: 'a', token_type: 'Bearer', expires_in: 'soon', refresh_token: 'r' }
  const { world, vendor } = await rotating(t, { deedOf: deeds({ body }) })
  await world.clock.advance(DAY_MS)
  assert.ok(vendor.arrived.length <= 2, `${vendor.arrived.length} sendings of one refresh token`)
})

test('an intent that the store does not take is not acted upon', async t => {
  let isDown = true
  const { world, vendor, now } = await rotating(t, {
    wrapStore: store => ({
      ...store,
      async saveCredential(credential, change) {
        if (isDown) throw DOWN
        return store.saveCredential(credential, change)
      },
    }),
  })
  await world.clock.advance(120_000)
  assert.deepEqual(vendor.arrived, [])
  isDown = false
  await world.clock.advance(40_000)
  const { generation, spends } = await now()
  assert.deepEqual([generation, spends, vendor.arrived], [2, 0, ['old-0']])
})

test('rotated material is kept until the store takes it, however long that lasts', async t => {
  let isDown = false
  const { world, vendor, now } = await rotating(t, {
    wrapStore: store => ({
      ...store,
      async saveCredential(credential, change) {
        if (change !== null && isDown) throw DOWN
        return store.saveCredential(credential, change)
      },
    }),
    deedOf: () => {
      isDown = true
      return 'answer'
    },
  })
  await world.clock.advance(HOUR_MS)
  assert.deepEqual(vendor.arrived, ['old-0'], 'the old one is not sent while the new one waits')
  assert.equal((await now()).generation, 1)
  isDown = false
  await world.clock.advance(1_000)
  const { generation, stored } = await now()
  assert.deepEqual([generation, stored.material.get(KEY)?.reveal()], [2, 'old-1'])
})

test('a write that was done although the store says otherwise is not done twice', async t => {
  let lies = 0
  const { world, vendor, now } = await rotating(t, {
    wrapStore: store => ({
      ...store,
      async saveCredential(credential, change) {
        const saved = await store.saveCredential(credential, change)
        if (change === null || lies > 0) return saved
        lies += 1
        throw DOWN
      },
    }),
  })
  await world.clock.advance(60_000)
  const { generation, stored } = await now()
  assert.deepEqual([generation, stored.material.get(KEY)?.reveal()], [2, 'old-1'])
  assert.deepEqual(vendor.arrived, ['old-0'])
})

const NEW_ACCOUNT = keyFile({ client_email: 'new@p', token_uri: `https://${HOSTS[1]}/token` })
const CANDIDATE: ProviderContent = {
  material: new Map([['GOOGLE_SERVICE_ACCOUNT_JSON', new Secret(NEW_ACCOUNT)]]),
  config: new Map([['A', 'b']]),
}

/** A service account whose new key waits; the vendor of the new key is at another host. */
async function withCandidate(
  t: Parameters<typeof createRefreshWorld>[0],
  leftMs: number,
  answerOf: (isNew: boolean, index: number) => Script,
) {
  const isNew = ({ url }: FetchRequest) => url.includes(`${HOSTS[1]}/`)
  const asked: string[] = []
  const world = await createRefreshWorld(t, {
    answerOf(request, index) {
      asked.push(isNew(request) ? 'new' : 'old')
      return answerOf(isNew(request), index)
    },
  })
  const fields = { token_uri: `https://${HOSTS[0]}/token` }
  const provider = await world.add('one', { fields, credential: living(world, leftMs) })
  const row = await world.credentialOf(provider)
  assert.ok((await world.store.stageProvider(provider, CANDIDATE, row)) !== null)
  const now = async () => ({
    ...(await world.credentialOf(provider)),
    stored: present(await world.store.getProviderById(provider.id)),
  })
  world.run()
  return { world, asked, now }
}

const REVOKED: Script = { status: 400, body: { error: 'invalid_grant' } }

test('new material that works takes the place of the old, which is not asked', async t => {
  const { world, asked, now } = await withCandidate(t, 50_000, (_isNew, index) => freshToken(index))
  await world.rest()
  const { generation, stored } = await now()
  assert.deepEqual([generation, stored.candidate, asked], [2, null, ['new']])
  assert.equal(stored.config.get('A'), 'b')
  assert.deepEqual(
    world.events.map(one => one.candidate),
    ['promoted'],
  )
})

test('new material in trouble leaves the old one in peace until its renewal presses, then both are asked', async t => {
  const { world, asked, now } = await withCandidate(t, 300_000, (isNew, index) =>
    isNew ? { status: 503 } : freshToken(index),
  )
  await world.clock.advance(300_000 - 90_001)
  assert.deepEqual([asked.length > 4, asked.includes('old')], [true, false], `${asked}`)
  assert.equal((await now()).generation, 1)
  await world.clock.advance(15_000)
  const { generation, failure, candidateFailure, stored } = await now()
  assert.deepEqual([generation, failure, candidateFailure?.class], [2, null, 'T'])
  assert.ok(stored.candidate !== null)
  assert.equal(asked.filter(one => one === 'old').length, 1)
})

test('new material that is refused is dropped once, and the old one is renewed as if it had never been', async t => {
  const { world, asked, now } = await withCandidate(t, 300_000, (isNew, index) =>
    isNew ? REVOKED : freshToken(index),
  )
  await world.rest()
  const { stored, candidateFailure, failure, dueAtMs } = await now()
  assert.deepEqual([stored.candidate, candidateFailure?.class, failure], [null, 'P', null])
  assert.equal(dueAtMs, world.clock.nowMs() + 300_000 - 90_000)
  await world.clock.advance(HOUR_MS)
  assert.equal(asked.filter(one => one === 'new').length, 1)
  assert.ok((await now()).generation >= 2)
})

test('old material that is refused for good does not keep the new from being tried', async t => {
  let isNewUp = false
  const { world, asked, now } = await withCandidate(t, 80_000, (isNew, index) => {
    if (!isNew) return REVOKED
    return isNewUp ? freshToken(index) : { status: 503 }
  })
  await world.clock.advance(180_000)
  assert.equal(asked.filter(one => one === 'old').length, 1, 'a refused key is not sent again')
  isNewUp = true
  await world.clock.advance(60_000)
  const { generation, failure, stored } = await now()
  assert.deepEqual([generation, failure, stored.candidate], [2, null, null])
})

test('new material that became unreadable while it waited is not waited for', async t => {
  const world = await createRefreshWorld(t)
  const waiting = { candidateDueAtMs: world.clock.nowMs() - 1_000 }
  const provider = await world.add('one', { credential: { ...living(world, 300_000), ...waiting } })
  world.run()
  await world.clock.advance(600_000)
  assert.equal(world.peer.requests.length, 1)
  assert.equal((await world.credentialOf(provider)).generation, 2)
})

test('new material that cannot be used at all is dropped in words', async t => {
  const world = await createRefreshWorld(t)
  const provider = await world.add('one', { credential: living(world, 300_000) })
  const material = new Map([['GOOGLE_SERVICE_ACCOUNT_JSON', new Secret('not a key')]])
  const row = await world.credentialOf(provider)
  await world.store.stageProvider(provider, { material, config: new Map() }, row)
  world.run()
  await world.clock.advance(HOUR_MS)
  const { candidateFailure, failure, generation } = await world.credentialOf(provider)
  assert.deepEqual([candidateFailure?.code, failure], ['refresh_configuration_invalid', null])
  assert.ok(generation >= 2)
})

test('within the last tenth a request that hangs is joined by another every two seconds', async t => {
  const world = await createRefreshWorld(t, {
    answerOf: (_request, index) => (index < 3 ? 'silence' : freshToken(index)),
  })
  const provider = await world.add('one', { credential: living(world, 300_000) })
  world.run()
  await world.clock.advance(5_999)
  assert.equal(world.peer.requests.length, 3)
  await world.clock.advance(1)
  assert.equal((await world.credentialOf(provider)).token?.value.reveal(), 'token-4')
  assert.equal(world.peer.silent, 0, 'the others were let go')
  await world.clock.advance(60_000)
  assert.equal(world.peer.requests.length, 4)
})

test('far from the end a hanging request is waited for alone, and so is the very first', async t => {
  for (const leftMs of [HOUR_MS / 2, null]) {
    const world = await createRefreshWorld(t, { answerOf: () => 'silence' })
    await world.add('one', { credential: leftMs === null ? {} : living(world, leftMs) })
    world.run()
    await world.clock.advance(9_999)
    assert.equal(world.peer.requests.length, 1)
  }
})

const rejected = (reportedAtMs: number) =>
  ({ reason: 'rejected', who: 'sandbox a', reportedAtMs }) as const

/** A renewal whose first request hangs until the second, two seconds later, is answered. */
async function hanging(t: Parameters<typeof createRefreshWorld>[0], later: Script) {
  const world = await createRefreshWorld(t, {
    answerOf(_request, index) {
      if (index === 0) return 'silence'
      return index === 1 ? freshToken(index) : later
    },
  })
  const provider = await world.add('one', { credential: living(world, 300_000) })
  world.run()
  await world.rest()
  return { world, provider, credential: await world.credentialOf(provider) }
}

test('a token that was asked for before a refusal was reported is asked for once more, however many report', async t => {
  const { world, provider, credential } = await hanging(t, freshToken(2))
  const atMs = world.clock.monotonicMs()
  const reports = Array.from({ length: 50 }, () => world.task.force(credential, rejected(atMs)))
  await world.clock.advance(2_000)
  assert.ok((await Promise.all(reports)).every(one => one?.kind === 'minted'))
  const renewed = await world.credentialOf(provider)
  assert.equal(renewed.token?.value.reveal(), 'token-3')
  assert.equal(renewed.lastForcedAtMs, world.clock.nowMs() - 2_000)
  assert.equal(world.peer.requests.length, 3)
  assert.equal(await world.task.force(renewed, rejected(atMs)), null, 'the floor is kept')
})

test('a report from before the request left, or a person’s wish, brings no second mint', async t => {
  for (const why of [rejected(-1), { reason: 'person', who: 'admin' } as const]) {
    const { world, provider, credential } = await hanging(t, freshToken(2))
    const outcome = world.task.force(credential, why)
    await world.clock.advance(2_000)
    assert.equal((await outcome)?.kind, 'minted')
    assert.equal((await world.credentialOf(provider)).token?.value.reveal(), 'token-2')
  }
})

test('a second mint that fails does not throw the first token away', async t => {
  for (const later of [{ status: 503 }, REVOKED]) {
    const { world, provider, credential } = await hanging(t, later)
    const outcome = world.task.force(credential, rejected(world.clock.monotonicMs()))
    await world.clock.advance(2_000)
    assert.equal((await outcome)?.kind, 'minted')
    assert.equal((await world.credentialOf(provider)).token?.value.reveal(), 'token-2')
  }
})

test('a rotated token is not thrown away for a report that came meanwhile', async t => {
  const { world, vendor, provider, now } = await rotating(t, {
    deedOf: index => (index === 0 ? 'silence' : 'answer'),
    isTolerant: true,
  })
  await world.rest()
  const report = rejected(world.clock.monotonicMs())
  const outcome = world.task.force(await world.credentialOf(provider), report)
  await world.clock.advance(10_000)
  assert.equal((await outcome)?.kind, 'failed')
  await world.clock.advance(60_000)
  const { generation, stored } = await now()
  assert.deepEqual([generation, stored.material.get(KEY)?.reveal()], [2, vendor.current])
  assert.equal(vendor.arrived.length, 2)
})
