// Goal: nothing is sent under a claim that may be another's by now. Method: a real store, a clock that the
// test moves, and a gateway that is stopped right after a write, as SIGSTOP does.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { aCredential, aProvider, present } from '../../test/store/records.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { seededRandom } from '../../test/support/seeded-random.ts'
import type { Credential } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import { openStore } from '../store/open.ts'
import type { Store } from '../store/store.ts'
import { silentLog } from '../system/log.ts'
import { CLAIM_MS, holdClaim, LostClaim } from './claim.ts'

async function world(t: TestContext) {
  const folder = mkdtempSync(path.join(tmpdir(), 'claim-'))
  const clock = new FakeClock()
  const random = seededRandom()
  const deps = { clock, random, masterKey: new Uint8Array(32) }
  const real = await openStore(deps, `sqlite:${folder}/gateway.db`)
  t.after(async () => {
    await real.close()
    rmSync(folder, { recursive: true })
  })
  /** What happens while the gateway is stopped after its next write. */
  let meanwhile: (() => Promise<void>) | null = null
  let isAnswerLost = false
  const loseAnswer = () => {
    isAnswerLost = true
  }
  const store: Store = {
    ...real,
    async saveCredential(credential, change) {
      const saved = await real.saveCredential(credential, change)
      if (isAnswerLost) {
        isAnswerLost = false
        throw new AppError('store_unavailable', 'Cannot use the database: no answer')
      }
      const happens = meanwhile
      meanwhile = null
      await happens?.()
      return saved
    },
  }
  const provider = aProvider()
  await real.createProvider(provider, [aCredential(provider, { dueAtMs: clock.nowMs() })])
  const claimAs = async (owner: string) => {
    const nowMs = clock.nowMs()
    const [claimed] = await real.claimDue({ owner, nowMs, untilMs: nowMs + CLAIM_MS }, 1)
    return claimed ?? null
  }
  const work: { claimed: Credential } = { claimed: present(await claimAs('one')) }
  const hold = (intent: { readonly spends: number } | null) =>
    holdClaim({ owner: 'one', store, clock, log: silentLog }, work, intent)
  const stopped = (ms: number, also: () => Promise<unknown> = async () => {}) => {
    meanwhile = async () => {
      clock.stepWall(ms)
      await also()
    }
  }
  const row = async () => present((await real.listCredentials(provider.id))[0])
  return { clock, work, hold, stopped, loseAnswer, claimAs, row }
}

test('a claim that holds long enough costs no write; one that does not is written anew', async t => {
  const { clock, work, hold, row } = await world(t)
  const { version } = work.claimed
  await hold(null)
  assert.equal((await row()).version, version)
  clock.stepWall(CLAIM_MS - 12_000)
  await hold(null)
  assert.equal((await row()).version, version + 1)
  assert.equal((await row()).claimedUntilMs, clock.nowMs() + CLAIM_MS)
})

test('an intent is recorded, and the claim holds from then on', async t => {
  const { clock, work, hold, row } = await world(t)
  clock.stepWall(20_000)
  await hold({ spends: 1 })
  const { spends, claimedUntilMs, claimedBy } = await row()
  assert.deepEqual([spends, claimedUntilMs, claimedBy], [1, clock.nowMs() + CLAIM_MS, 'one'])
  assert.equal(work.claimed.spends, 1)
})

test('stopped for long after the write, and nobody came: the claim is taken anew, the intent counts once', async t => {
  const { clock, hold, stopped, row } = await world(t)
  stopped(60_000)
  await hold({ spends: 1 })
  const { spends, claimedUntilMs } = await row()
  assert.deepEqual([spends, claimedUntilMs], [1, clock.nowMs() + CLAIM_MS])
})

test('stopped for longer than the claim, and another took it: nothing is sent', async t => {
  const { hold, stopped, claimAs, row } = await world(t)
  stopped(CLAIM_MS, async () => {
    const taken = present(await claimAs('other'))
    assert.deepEqual([taken.claimedFrom, taken.spends], ['one', 1])
  })
  await assert.rejects(hold({ spends: 1 }), LostClaim)
  assert.deepEqual([(await row()).claimedBy, (await row()).spends], ['other', 1])
})

test('stopped before the write, and another took it: no intent is recorded', async t => {
  const { clock, hold, claimAs, row } = await world(t)
  clock.stepWall(CLAIM_MS)
  await claimAs('other')
  await assert.rejects(hold({ spends: 1 }), LostClaim)
  assert.equal((await row()).spends, 0)
})

test('an intent that was recorded, and only the answer was lost, counts once', async t => {
  const { clock, work, hold, loseAnswer, row } = await world(t)
  const { version } = work.claimed
  loseAnswer()
  const held = hold({ spends: 1 })
  await clock.advance(1_000)
  await held
  assert.deepEqual([(await row()).spends, (await row()).version], [1, version + 1])
  assert.deepEqual(work.claimed.version, version + 1)
})
