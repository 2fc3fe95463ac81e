// Goal: every credential is fresh when it must be, and no trouble of one is trouble of another.
// Method: the real task, refresher and SQLite store; a scripted token endpoint; a clock that only
// the test moves.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { present } from '../../test/store/records.ts'
import { createRefreshWorld, freshToken, HOSTS } from '../../test/support/refresh-world.ts'
import { formOf, type Script } from '../../test/support/scripted-fetch.ts'
import { usableToken } from '../core/credential.ts'
import { newCredential } from './transition.ts'

const MINUTE_MS = 60_000
const BY_PERSON = { reason: 'person', who: 'admin' } as const
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

const hostOf = (index: number) => ({ token_uri: `https://${HOSTS[index]}/token` })
const revoked = { status: 400, body: { error: 'invalid_grant', error_description: 'Revoked' } }

test('a credential is minted when it is due, not before and not twice', async t => {
  const world = await createRefreshWorld(t)
  const dueAtMs = world.clock.nowMs() + 10 * MINUTE_MS
  const provider = await world.add('one', { credential: { dueAtMs } })
  world.run()
  await world.clock.advance(10 * MINUTE_MS - 1)
  assert.equal(world.peer.requests.length, 0)
  await world.clock.advance(1)
  assert.equal(world.peer.requests.length, 1)
  const credential = await world.credentialOf(provider)
  assert.equal(credential.token?.value.reveal(), 'token-1')
  assert.equal(credential.token?.expiresAtMs, dueAtMs + HOUR_MS)
  assert.equal(credential.claimedBy, '')
  assert.equal(credential.generation, 1)
  assert.deepEqual(
    world.events.map(event => event.outcome.kind),
    ['minted'],
  )
  const nextMs = present(credential.dueAtMs) - dueAtMs
  assert.ok(nextMs <= HOUR_MS - 5 * MINUTE_MS && nextMs >= HOUR_MS - 6 * MINUTE_MS)
})

test('a day brings one mint per expiry, a usable token at every moment, and no long timer', async t => {
  const world = await createRefreshWorld(t)
  const provider = await world.add('one')
  world.run()
  await world.rest()
  for (let minute = 0; minute < DAY_MS / MINUTE_MS; minute += 10) {
    await world.clock.advance(10 * MINUTE_MS)
    assert.ok(usableToken(await world.credentialOf(provider), world.clock.nowMs()) !== null)
  }
  const mints = world.peer.requests.length
  assert.ok(mints >= 26 && mints <= 27, `${mints} mints`)
  assert.equal((await world.credentialOf(provider)).generation, mints)
  assert.ok(world.clock.longestSleepMs <= 10_000)
})

test('an eight-second token lives as well as an hour’s', async t => {
  const world = await createRefreshWorld(t, { answerOf: (_request, index) => freshToken(index, 8) })
  const provider = await world.add('one')
  world.run()
  await world.rest()
  for (let second = 0; second < 60; second += 1) {
    await world.clock.advance(1_000)
    assert.ok(usableToken(await world.credentialOf(provider), world.clock.nowMs()) !== null)
  }
  const mints = world.peer.requests.length
  assert.ok(mints >= 15 && mints <= 20, `${mints} mints`)
})

test('a hundred providers are minted at once, and a stuck host delays none but its own', async t => {
  const world = await createRefreshWorld(t, {
    answerOf: (request, index) =>
      request.url.includes(`${HOSTS[0]}/`) ? 'silence' : freshToken(index),
  })
  const stuck = []
  for (let index = 0; index < 60; index += 1) {
    stuck.push(await world.add(`stuck-${index}`, { fields: hostOf(0) }))
  }
  for (let index = 0; index < 100; index += 1) {
    await world.add(`fine-${index}`, { fields: hostOf(1 + (index % 90)) })
  }
  world.run()
  await world.rest()
  assert.equal(world.events.length, 100)
  assert.ok(world.events.every(event => event.outcome.kind === 'minted'))
  // A host has 16 places; who waits in line loses neither claim nor turn.
  assert.equal(world.peer.requests.length, 116)
  await world.clock.advance(41_000)
  const credentials = await Promise.all(stuck.map(world.credentialOf))
  assert.ok(credentials.every(one => one.failure?.class === 'T' && one.consecutiveFailures <= 2))
  assert.ok(world.events.every(event => event.outcome.kind !== 'discarded'))
})

test('after an outage the token is back within 3 s, and stayed in use while it lived', async t => {
  let isDown = false
  const world = await createRefreshWorld(t, {
    answerOf: (_request, index) => (isDown ? { status: 503 } : freshToken(index)),
  })
  const provider = await world.add('one')
  world.run()
  await world.clock.advance(MINUTE_MS)
  isDown = true
  const { token } = await world.credentialOf(provider)
  await world.clock.advance(HOUR_MS - 2 * MINUTE_MS)
  assert.equal((await world.credentialOf(provider)).token?.value.reveal(), token?.value.reveal())
  assert.ok((await world.credentialOf(provider)).consecutiveFailures > 10)
  await world.clock.advance(10 * MINUTE_MS)
  assert.equal(usableToken(await world.credentialOf(provider), world.clock.nowMs()), null)
  isDown = false
  await world.clock.advance(3_000)
  const mended = await world.credentialOf(provider)
  assert.ok(usableToken(mended, world.clock.nowMs()) !== null)
  assert.deepEqual([mended.failure, mended.consecutiveFailures], [null, 0])
})

test('500 callers share one forced refresh, and the next must wait for the floor', async t => {
  const world = await createRefreshWorld(t)
  const provider = await world.add('one')
  world.run()
  await world.clock.advance(MINUTE_MS)
  const credential = await world.credentialOf(provider)
  const outcomes = await Promise.all(
    Array.from({ length: 500 }, () => world.task.force(credential, BY_PERSON)),
  )
  assert.equal(world.peer.requests.length, 2)
  assert.equal(new Set(outcomes).size, 1)
  assert.equal(outcomes[0]?.kind, 'minted')
  const forced = await world.credentialOf(provider)
  assert.equal(forced.generation, 2)
  assert.equal(forced.lastForcedAtMs, world.clock.nowMs())

  assert.equal(await world.task.force(forced, BY_PERSON), null)
  await world.clock.advance(29_999)
  assert.equal(await world.task.force(forced, BY_PERSON), null)
  await world.clock.advance(1)
  assert.equal((await world.task.force(forced, BY_PERSON))?.kind, 'minted')
  assert.equal(world.peer.requests.length, 3)
})

test('a forced refresh joins the attempt that is under way', async t => {
  const world = await createRefreshWorld(t, {
    answerOf: (_request, index) => (index === 0 ? 'silence' : freshToken(index)),
  })
  const provider = await world.add('one')
  world.run()
  await world.rest()
  const credential = await world.credentialOf(provider)
  assert.ok(world.task.isRefreshing(credential))
  const joined = world.task.force(credential, BY_PERSON)
  await world.clock.advance(10_000)
  assert.equal((await joined)?.kind, 'failed')
  assert.ok(!world.task.isRefreshing(credential))
})

test('a forced refresh of what another gateway has claimed is discarded', async t => {
  const world = await createRefreshWorld(t)
  const dueAtMs = world.clock.nowMs() + HOUR_MS
  const provider = await world.add('one', { credential: { dueAtMs } })
  const credential = await world.credentialOf(provider)
  const nowMs = world.clock.nowMs()
  const claim = { owner: 'gateway-2', nowMs, untilMs: nowMs + 30_000 }
  await world.store.claimCredential(claim, credential)
  assert.deepEqual(await world.task.force(credential, BY_PERSON), { kind: 'discarded' })
  assert.equal(world.peer.requests.length, 0)
  assert.ok(!world.task.isRefreshing(credential))
})

test('an edit during a mint wins: the result of the old key is discarded', async t => {
  const answers: Script[] = ['silence']
  const world = await createRefreshWorld(t, {
    answerOf: (_request, index) => answers[index] ?? freshToken(index),
  })
  const provider = await world.add('one')
  world.run()
  await world.rest()
  const row = newCredential(provider.id, 'GOOGLE_VERTEX_AI_TOKEN', world.clock.nowMs())
  const content = { material: provider.material, config: new Map([['EDITED', 'yes']]) }
  assert.ok((await world.store.updateProvider(provider, content, [row])) !== null)
  world.task.wake()
  await world.rest()
  // The new row is minted at once, although the old attempt is still under way.
  assert.equal((await world.credentialOf(provider)).token?.value.reveal(), 'token-2')
  await world.clock.advance(10_000)
  assert.deepEqual(
    world.events.map(event => event.outcome.kind),
    ['minted', 'discarded'],
  )
  const credential = await world.credentialOf(provider)
  assert.equal(credential.token?.value.reveal(), 'token-2')
  assert.equal(credential.failure, null)
})

test('a provider deleted during its mint is not resurrected', async t => {
  const world = await createRefreshWorld(t, { answerOf: () => 'silence' })
  const provider = await world.add('one')
  world.run()
  await world.rest()
  await world.store.deleteProvider(provider.workspace, provider.name)
  await world.clock.advance(HOUR_MS)
  assert.deepEqual(
    world.events.map(event => event.outcome.kind),
    ['discarded'],
  )
  assert.deepEqual(await world.store.listCredentials(provider.id), [])
  assert.equal(await world.store.getProviderById(provider.id), null)
  assert.equal(world.peer.requests.length, 1)
})

test('a permanent refusal ends all attempts until the provider is updated', async t => {
  let answer: Script = revoked
  const world = await createRefreshWorld(t, { answerOf: () => answer })
  const provider = await world.add('one')
  world.run()
  await world.clock.advance(DAY_MS / 4)
  assert.equal(world.peer.requests.length, 1)
  const failed = await world.credentialOf(provider)
  assert.deepEqual([failed.failure?.class, failed.dueAtMs], ['P', null])

  answer = freshToken(0)
  const row = newCredential(provider.id, 'GOOGLE_VERTEX_AI_TOKEN', world.clock.nowMs())
  const stored = present(await world.store.getProviderById(provider.id))
  await world.store.updateProvider(stored, { ...stored, config: new Map([['A', 'b']]) }, [row])
  world.task.wake()
  await world.rest()
  assert.equal((await world.credentialOf(provider)).generation, 1)
})

test('material that cannot work is a permanent failure in words, and harms no other', async t => {
  const world = await createRefreshWorld(t)
  const broken = await world.add('broken', { fields: { private_key: 'not a key' } })
  const fine = await world.add('fine')
  world.run()
  await world.rest()
  const { failure, dueAtMs } = await world.credentialOf(broken)
  assert.deepEqual(
    [failure?.class, failure?.code, dueAtMs],
    ['P', 'refresh_configuration_invalid', null],
  )
  assert.match(failure?.message ?? '', /not a readable PEM/)
  assert.equal((await world.credentialOf(fine)).generation, 1)
})

test('Retry-After is kept to, also by a forced refresh', async t => {
  const world = await createRefreshWorld(t, {
    answerOf: (_request, index) =>
      index === 0 ? { status: 429, headers: { 'retry-after': '120' } } : freshToken(index),
  })
  const provider = await world.add('one')
  world.run()
  await world.clock.advance(119_999)
  assert.equal(await world.task.force(await world.credentialOf(provider), BY_PERSON), null)
  assert.equal(world.peer.requests.length, 1)
  await world.clock.advance(1_002)
  assert.equal(world.peer.requests.length, 2)
})

test('no answer whatever is asked for more than 5 times in a minute', async t => {
  const lives = [
    '3599',
    3_599.9,
    undefined,
    null,
    '',
    0,
    -1,
    true,
    [3_600],
    '1e3',
    9e18,
    2_147_483_648,
  ]
  for (const expires_in of lives) {
    const body = { access_token: 'token', token_type: 'Bearer', expires_in }
    const world = await createRefreshWorld(t, { answerOf: () => ({ body }) })
    await world.add('one')
    world.run()
    await world.clock.advance(MINUTE_MS)
    const calls = world.peer.requests.length
    assert.ok(calls >= 1 && calls <= 5, `${calls} calls for expires_in ${expires_in}`)
  }
})

test('each attempt sends an assertion of its own time', async t => {
  const world = await createRefreshWorld(t, { answerOf: () => ({ status: 503 }) })
  await world.add('one')
  world.run()
  await world.clock.advance(10_000)
  const assertions = world.peer.requests.map(request => formOf(request).get('assertion'))
  assert.ok(assertions.length >= 5)
  assert.ok(new Set(assertions).size > 1)
})
