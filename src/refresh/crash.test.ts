// Goal: a gateway that is killed at any point loses no refresh token, and none is sent more than
// twice. Method: the real task over a real SQLite store; the first gateway dies at a chosen call of
// the store or of the vendor, and another goes on with the same database.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { present } from '../../test/store/records.ts'
import type { Death, Moment } from '../../test/support/mortal.ts'
import { createRefreshWorld } from '../../test/support/refresh-world.ts'
import { rotatingVendor } from '../../test/support/rotating-vendor.ts'
import type { Credential } from '../core/credential.ts'
import type { ProviderContent } from '../core/provider.ts'
import { Secret } from '../core/secret.ts'

const KEY = 'OAUTH2_REFRESH_TOKEN'
const HOUR_MS = 3_600_000
/** What a killed gateway had claimed is another's after this long. */
const CLAIM_MS = 30_000
/** Where an intent was recorded, its gateway gets the time to come back, as long as the token is good. */
const LEFT_ALONE_MS = 210_000
/** New material that waits for nothing but this is not left alone for as long. */
const CANDIDATE_LEFT_ALONE_MS = CLAIM_MS + 120_000

/** The first saving of an attempt is the intent, the second the outcome. */
const BEFORE_INTENT: Death = { at: 'before saveCredential', nth: 1 }
const AFTER_INTENT: Death = { at: 'after saveCredential', nth: 1 }
const ON_THE_WIRE: Death = { at: 'before fetch', nth: 1 }
const ANSWERED: Death = { at: 'after fetch', nth: 1 }
const BEFORE_OUTCOME: Death = { at: 'before saveCredential', nth: 2 }
const AFTER_OUTCOME: Death = { at: 'after saveCredential', nth: 2 }

const once = (at: Moment): Death => ({ at, nth: 1 })

/** Nothing was sent that the vendor took. */
const HARMLESS: readonly Death[] = [
  ...(['before releaseClaims', 'after releaseClaims', 'before renewMisdated'] as const).map(once),
  ...(['before claimDue', 'after claimDue', 'after earliestDueAtMs'] as const).map(once),
  ...(['before getProviderById', 'after getProviderById'] as const).map(once),
  ...[BEFORE_INTENT, AFTER_INTENT, ON_THE_WIRE],
]

/** The vendor has rotated, and the new token was in the answer alone. */
const AMBIGUOUS: readonly Death[] = [ANSWERED, BEFORE_OUTCOME]

/** When another gateway goes on. */
const waitAfter = (death: Death) =>
  [AFTER_INTENT, ON_THE_WIRE, ...AMBIGUOUS].includes(death) ? LEFT_ALONE_MS : CLAIM_MS

const nameOf = ({ at, nth }: Death) => (nth === 1 ? at : `${at}, the second`)

/** A token that still serves while its renewal is due. */
function serving(nowMs: number): Partial<Credential> {
  const life = { issuedAtMs: nowMs - HOUR_MS + 300_000, expiresAtMs: nowMs + 300_000 }
  return {
    token: { value: new Secret('access-0'), ...life },
    ...{ generation: 1, dueAtMs: nowMs, mandatoryAtMs: nowMs + 240_000 },
  }
}

/** A world whose first gateway renews a serving credential and dies in it. */
async function dying(
  t: Parameters<typeof createRefreshWorld>[0],
  death: Death,
  vendor = rotatingVendor(),
) {
  const world = await createRefreshWorld(t, { answerOf: vendor.answerOf, death })
  const provider = await world.addRotating('one', serving(world.clock.nowMs()))
  world.run()
  await world.rest()
  assert.ok(world.isDead, 'it lives')
  const now = async () => {
    const stored = present(await world.store.getProviderById(provider.id))
    return { credential: await world.credentialOf(provider), stored }
  }
  return { world, provider, vendor, now }
}

for (const death of HARMLESS) {
  test(`killed ${nameOf(death)}: the next gateway renews in time, nothing is replayed`, async t => {
    const { world, vendor, now } = await dying(t, death)
    assert.equal((await now()).credential.generation, 1)
    world.succeed()
    await world.clock.advance(waitAfter(death))
    const { credential, stored } = await now()
    assert.deepEqual([credential.generation, credential.failure, credential.spends], [2, null, 0])
    assert.equal(stored.material.get(KEY)?.reveal(), 'old-1')
    assert.deepEqual(
      vendor.arrived,
      ['old-0'],
      'what is on the wire of a dead program never arrives',
    )
    assert.deepEqual([vendor.current, vendor.replays], ['old-1', 0])
  })

  test(`killed ${nameOf(death)} and started again: it goes on at once`, async t => {
    const { world, now } = await dying(t, death)
    world.succeed({ owner: 'gateway-1' })
    await world.rest()
    assert.equal((await now()).credential.generation, 2)
  })
}

for (const death of AMBIGUOUS) {
  test(`killed ${nameOf(death)}: a strict vendor’s refusal is told, and the token serves on`, async t => {
    const { world, vendor, now } = await dying(t, death)
    assert.equal((await now()).credential.spends, 1, 'the intent is on the disk')
    world.succeed()
    await world.clock.advance(LEFT_ALONE_MS - 1_000)
    assert.deepEqual(vendor.arrived, ['old-0'], 'while the token is good it is left alone')
    await world.clock.advance(1_000)
    const { credential } = await now()
    const { failure, dueAtMs, token } = credential
    assert.deepEqual([failure?.class, failure?.recoveryAction], ['P', 'reauthorize'])
    assert.match(failure?.advice ?? '', /[Ss]ign in again/)
    assert.deepEqual([dueAtMs, token?.value.reveal()], [null, 'access-0'])
    await world.clock.advance(24 * HOUR_MS)
    assert.deepEqual(vendor.arrived, ['old-0', 'old-0'], 'never a third time')
  })

  test(`killed ${nameOf(death)}: a vendor that takes the last token twice makes it good`, async t => {
    const { world, vendor, now } = await dying(t, death, rotatingVendor({ isTolerant: true }))
    world.succeed()
    await world.clock.advance(LEFT_ALONE_MS - 1_000)
    assert.deepEqual(vendor.arrived, ['old-0'], 'while the token is good it is left alone')
    await world.clock.advance(1_000)
    const { credential, stored } = await now()
    assert.deepEqual([credential.failure, credential.generation, credential.spends], [null, 2, 0])
    assert.equal(stored.material.get(KEY)?.reveal(), vendor.current)
    assert.deepEqual(vendor.arrived, ['old-0', 'old-0'])
    // The renewal after it is an ordinary one.
    await world.clock.advance(HOUR_MS)
    assert.deepEqual(vendor.arrived, ['old-0', 'old-0', 'old-1'])
  })
}

test('killed after the write: all is there, and the next gateway has nothing to do', async t => {
  const { world, vendor, now } = await dying(t, AFTER_OUTCOME)
  world.succeed()
  await world.clock.advance(CLAIM_MS)
  const { credential, stored } = await now()
  assert.deepEqual([credential.generation, credential.spends, credential.claimedBy], [2, 0, ''])
  assert.deepEqual([stored.material.get(KEY)?.reveal(), vendor.arrived], ['old-1', ['old-0']])
})

for (const death of [AFTER_INTENT, ON_THE_WIRE, ANSWERED, BEFORE_OUTCOME]) {
  test(`killed twice ${nameOf(death)}: the third gateway sends nothing and says what to do`, async t => {
    const { world, vendor, now } = await dying(t, death, rotatingVendor({ isTolerant: true }))
    world.succeed({ owner: 'gateway-1', death })
    await world.rest()
    assert.ok(world.isDead)
    assert.equal((await now()).credential.spends, 2)
    const arrived = vendor.arrived.length
    assert.ok(arrived <= 2)
    world.succeed({ owner: 'gateway-1' })
    await world.clock.advance(HOUR_MS)
    assert.equal(vendor.arrived.length, arrived)
    const { failure, dueAtMs, history } = (await now()).credential
    assert.deepEqual(
      [failure?.code, failure?.recoveryAction],
      ['oauth_outcome_unknown', 'reauthorize'],
    )
    assert.deepEqual([dueAtMs, history.at(-1)?.state], [null, 'failed'])
  })
}

test('a person may dare once more, and is then stopped as before', async t => {
  const { world, provider, vendor, now } = await dying(t, ANSWERED)
  world.succeed()
  await world.clock.advance(LEFT_ALONE_MS)
  const arrived = vendor.arrived.length
  const outcome = world.task.force(await world.credentialOf(provider), {
    ...{ reason: 'person', who: 'admin' },
  })
  assert.equal((await outcome)?.kind, 'failed')
  assert.equal(vendor.arrived.length, arrived + 1)
  await world.clock.advance(HOUR_MS)
  assert.equal(vendor.arrived.length, arrived + 1)
  assert.equal((await now()).credential.dueAtMs, null)
})

const CANDIDATE: ProviderContent = {
  material: new Map([
    [KEY, new Secret('new-0')],
    ['OAUTH2_CLIENT_SECRET', new Secret('s2')],
  ]),
  config: new Map([
    ['OAUTH2_TOKEN_URL', 'https://host-0.example/token'],
    ['OAUTH2_CLIENT_ID', 'client'],
    ['OAUTH2_SCOPES', 'more'],
  ]),
}

/** The same with new material waiting beside the standing one. */
async function dyingWithCandidate(t: Parameters<typeof createRefreshWorld>[0], death: Death) {
  const vendor = rotatingVendor()
  const world = await createRefreshWorld(t, { answerOf: vendor.answerOf, death })
  const provider = await world.addRotating('one', serving(world.clock.nowMs()))
  const row = await world.credentialOf(provider)
  assert.ok((await world.store.stageProvider(provider, CANDIDATE, row)) !== null)
  world.run()
  await world.rest()
  assert.ok(world.isDead)
  const now = async () => {
    const stored = present(await world.store.getProviderById(provider.id))
    return { credential: await world.credentialOf(provider), stored }
  }
  return { world, vendor, now }
}

for (const death of [BEFORE_INTENT, AFTER_INTENT, ON_THE_WIRE]) {
  test(`killed ${nameOf(death)} with new material: the next gateway promotes it whole`, async t => {
    const { world, vendor, now } = await dyingWithCandidate(t, death)
    world.succeed()
    await world.clock.advance(death === BEFORE_INTENT ? CLAIM_MS : CANDIDATE_LEFT_ALONE_MS)
    const { credential, stored } = await now()
    assert.deepEqual([credential.generation, credential.candidateSpends], [2, 0])
    assert.deepEqual([stored.candidate, stored.config], [null, CANDIDATE.config])
    assert.equal(stored.material.get(KEY)?.reveal(), 'new-1')
    assert.equal(stored.material.get('OAUTH2_CLIENT_SECRET')?.reveal(), 's2')
    assert.deepEqual(vendor.arrived, ['new-0'])
  })
}

for (const death of AMBIGUOUS) {
  test(`killed ${nameOf(death)} with new material: it is dropped in words, the standing one serves`, async t => {
    const { world, vendor, now } = await dyingWithCandidate(t, death)
    assert.deepEqual([(await now()).credential.candidateSpends, vendor.arrived], [1, ['new-0']])
    world.succeed()
    await world.clock.advance(CANDIDATE_LEFT_ALONE_MS)
    const { credential, stored } = await now()
    assert.deepEqual([stored.candidate, stored.config.get('OAUTH2_SCOPES')], [null, undefined])
    assert.equal(credential.candidateFailure?.recoveryAction, 'reauthorize')
    assert.deepEqual([credential.failure, credential.spends], [null, 0])
    await world.clock.advance(300_000)
    const renewed = await now()
    assert.deepEqual([renewed.credential.generation, renewed.credential.failure], [2, null])
    assert.equal(renewed.stored.material.get(KEY)?.reveal(), 'old-1')
    assert.deepEqual(vendor.arrived, ['new-0', 'new-0', 'old-0'])
  })
}

test('a gateway that was stopped for longer than its claim keeps what it brought, and spends nothing more', async t => {
  const vendor = rotatingVendor()
  const world = await createRefreshWorld(t, { answerOf: vendor.answerOf })
  const provider = await world.addRotating('one', serving(world.clock.nowMs()))
  const row = await world.credentialOf(provider)
  const nowMs = world.clock.nowMs()
  // Another gateway recorded its intent, was answered, and was stopped before it could write.
  const claim = { owner: 'stopped', nowMs, untilMs: nowMs + CLAIM_MS }
  const claimed = present(await world.store.claimCredential(claim, row))
  const intent = present(await world.store.saveCredential({ ...claimed, spends: 1 }, null))
  world.run()
  await world.clock.advance(CLAIM_MS + 5_000)
  assert.deepEqual(vendor.arrived, [], 'its refresh token is left alone')
  const late = { ...intent, token: null, spends: 0, claimedBy: '', claimedUntilMs: 0 }
  const rotated = {
    rotatedMaterial: new Map([[KEY, new Secret('old-1')]]),
    candidate: 'kept',
  } as const
  assert.equal(
    await world.store.saveCredential(late, { providerVersion: provider.version, ...rotated }),
    null,
    'its write has lost the race',
  )
  world.task.wake()
  await world.clock.advance(60_000)
  const { failure, generation } = await world.credentialOf(provider)
  assert.deepEqual([failure, generation, vendor.replays], [null, 2, 0])
  assert.deepEqual(vendor.arrived, ['old-1'], 'what it brought is what is spent')
})
