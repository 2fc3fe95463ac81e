// Goal: what people complain of elsewhere when minting fails does not happen here: permanent failures
// are not retried, transient ones are not fatal, and nobody has to restart or type secrets again.
// Method: the refresh task, or the whole system, on a clock that only the test moves. Each test names
// the public threads where the complaint was made.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type CredentialState, stateOf, usableToken } from '../../src/core/credential.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { present } from '../store/records.ts'
import { until } from '../support/gateway.ts'
import { createRefreshWorld, freshToken } from '../support/refresh-world.ts'
import type { Script } from '../support/scripted-fetch.ts'
import {
  allServed,
  ask,
  askAcross,
  assertNoTokenRefused,
  HOUR_MS,
  MINUTE_MS,
  startComplaintWorld,
} from './world.ts'

/** What a vendor says from its second answer on, and what that must look like. */
interface Row {
  readonly answer: Script
  readonly class: string
  /** For how long after the token's end the vendor goes on like that. */
  readonly forMs: number
  /** Calls from the token's due time on. */
  readonly calls: readonly [min: number, max: number]
  /** After the token's end. */
  readonly state: CredentialState
}

const refused = (body: unknown, status = 400): Script => ({ status, body })
// At least every 2 s near the end and after it.
const TRIED = { class: 'T', forMs: MINUTE_MS, calls: [30, 180], state: 'expired' } as const
const PARKED = { class: 'P', forMs: 6 * HOUR_MS, calls: [1, 1], state: 'failed' } as const
// Never more often than every 15 s.
const BREACH = { class: 'X', forMs: 10 * MINUTE_MS, calls: [10, 43], state: 'expired' } as const

const ROWS: Readonly<Record<string, Row>> = {
  'a key that was deleted': {
    answer: refused({ error: 'invalid_grant', error_description: 'Invalid JWT Signature.' }),
    ...PARKED,
  },
  'a person who must sign in again': {
    answer: refused({ error: 'invalid_grant', error_subtype: 'invalid_rapt' }),
    ...PARKED,
  },
  'an administrator’s policy': {
    answer: refused({ error: 'access_denied', error_description: 'Blocked by policy' }, 403),
    // Every 13.5 to 16.5 minutes.
    ...{ class: 'Q', forMs: 6 * HOUR_MS, calls: [22, 28], state: 'failed' },
  },
  'a server in trouble': { answer: refused('', 503), ...TRIED },
  'a server that says so with 400': { answer: refused({ error: 'server_error' }), ...TRIED },
  'no network': { answer: Object.assign(new Error('no way'), { code: 'ECONNREFUSED' }), ...TRIED },
  'a vendor that throttles': {
    answer: { status: 429, headers: { 'retry-after': '600' } },
    ...{ class: 'H', forMs: 6 * HOUR_MS, calls: [34, 38], state: 'expired' },
  },
  'a captive portal': {
    answer: { body: '<html>Accept the terms of this hotel' },
    ...BREACH,
  },
  'a token that is none': {
    answer: { body: { access_token: '', token_type: 'Bearer', expires_in: 3_600 } },
    ...BREACH,
  },
}

// envoyproxy/envoy#42009, cline/cline#4080, googleapis/google-cloud-rust (by its code)
test('permanent failures are not retried for ever, transient ones are not fatal', async t => {
  for (const [name, row] of Object.entries(ROWS)) {
    let isMended = false
    const world = await createRefreshWorld(t, {
      answerOf: (_request, index) =>
        index === 0 || isMended ? freshToken(index, isMended ? 3_600 : 60) : row.answer,
    })
    const provider = await world.add('one')
    world.run()
    await world.rest()
    const first = await world.credentialOf(provider)
    await world.clock.advance(present(first.dueAtMs) - world.clock.nowMs())
    const failing = await world.credentialOf(provider)
    assert.equal(failing.failure?.class, row.class, name)
    // What is good until its end stays in use until then, whatever was answered.
    const good = usableToken(failing, world.clock.nowMs())
    assert.equal(good?.value.reveal(), first.token?.value.reveal(), name)
    assert.equal(good?.expiresAtMs, first.token?.expiresAtMs, name)
    const endMs = present(first.token).expiresAtMs
    await world.clock.advance(endMs + row.forMs - world.clock.nowMs())
    const calls = world.peer.requests.length - 1
    const [min, max] = row.calls
    assert.ok(calls >= min && calls <= max, `${name}: ${calls} calls`)
    const dead = await world.credentialOf(provider)
    assert.equal(stateOf(dead, world.clock.nowMs(), { isRefreshing: false }), row.state, name)
    assert.equal(dead.generation, 1, name)

    // Whatever is retried at all is back by itself.
    isMended = true
    await world.clock.advance(17 * MINUTE_MS)
    const mended = usableToken(await world.credentialOf(provider), world.clock.nowMs())
    assert.equal(mended !== null, row.class !== 'P', name)
    await world.stop()
  }
})

// claudecode_webui#1387, hermes-agent#69096, paude
test('when the cause is gone it works again, without a restart and without any secret typed anew', async () => {
  await using world = await startComplaintWorld({ tokenLifetimeMs: MINUTE_MS })
  await world.serveVertex('default')
  const router = await world.router('default')
  const { clock, lab, gateway } = world
  await allServed([ask(router)])

  // The vendor is away until long after the token's end.
  lab.faults.set('google.token status=503')
  await clock.advance(3 * MINUTE_MS)
  for (const told of await askAcross(world, [router], 10_000)) assert.equal(told.status, 503)
  lab.faults.clear()
  await clock.advance(3_000)
  await until(() => router.table.current()?.routes.length === 1, 'the token after the outage')
  await allServed([ask(router)])

  // An administrator takes the permission away and gives it back.
  lab.faults.set('google.token status=403 error=access_denied')
  await clock.advance(20 * MINUTE_MS)
  for (const told of await askAcross(world, [router], 10_000)) assert.equal(told.status, 503)
  lab.faults.clear()
  await clock.advance(17 * MINUTE_MS)
  await until(() => router.table.current()?.routes.length === 1, 'the token after the permission')
  await allServed([ask(router)])

  // What nobody but a person can mend takes one word of that person, and no secret.
  lab.faults.set('google.token status=400 error=invalid_grant description="Account disabled"')
  await clock.advance(20 * MINUTE_MS)
  const [told] = await askAcross(world, [router], 10_000)
  assert.equal(told?.status, 503)
  lab.faults.clear()
  await clock.advance(HOUR_MS)
  assert.equal((await world.credentialOf('default', 'vx')).failure?.class, 'P')
  await gateway.call(OpenShell.method.rotateProviderCredential, { provider: 'vx' })
  await until(() => router.table.current()?.routes.length === 1, 'the token after the word')
  await allServed([ask(router)])
  assertNoTokenRefused(world)
})
