// Goal: what a vendor says about clocks and stale input leads to one second try, and no more.
// Method: the real grant of a service account against a scripted Google on a fake clock.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeJwt } from 'jose'
import { aCredential } from '../../test/store/records.ts'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { noExecute, noFiles, rulesOf } from '../../test/support/outside.ts'
import { formOf, type Script, scriptedFetch } from '../../test/support/scripted-fetch.ts'
import { seededRandom } from '../../test/support/seeded-random.ts'
import { vertexProvider } from '../../test/support/service-account.ts'
import { processTokenAnswer } from '../oauth/token-answer.ts'
import type { FetchRequest } from '../system/fetch.ts'
import { googleVertexAi } from './google-vertex-ai.ts'
import { openai } from './openai.ts'
import type { ProviderType } from './provider-type.ts'
import { createRefresher } from './refresher.ts'

const MINUTE_MS = 60_000
const provider = vertexProvider()
const rules = rulesOf()
const token = (access_token = 'ya29.token') => ({
  body: { access_token, token_type: 'Bearer', expires_in: 3_599 },
})
const skewed = {
  error: 'invalid_grant',
  error_description:
    'Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.',
}

function createWorld(
  answerOf: (request: FetchRequest, index: number, clock: FakeClock) => Script,
  type: ProviderType = googleVertexAi,
) {
  const clock = new FakeClock()
  const peer = scriptedFetch((request, index) => answerOf(request, index, clock))
  const refresher = createRefresher(type, {
    ...{ fetch: peer.fetch, clock, random: seededRandom(1), rules },
    ...{ files: noFiles, execute: noExecute },
  })
  return {
    clock,
    refresher,
    requests: peer.requests,
    refresh: () => refresher.refresh(provider, new AbortController().signal),
    /** How far each assertion's time was from our clock, in minutes. */
    offsets: () =>
      peer.requests.map(request => {
        const { iat = 0 } = decodeJwt(formOf(request).get('assertion') ?? '')
        return Math.round((iat * 1_000 - clock.nowMs()) / MINUTE_MS)
      }),
  }
}

function codeOf(result: Awaited<ReturnType<ReturnType<typeof createWorld>['refresh']>>): string {
  return result.kind === 'minted'
    ? `minted ${result.token.reveal()}`
    : `${result.failure.class} ${result.failure.code}`
}

/** A Google whose clock is `aheadMs` ahead of ours, and that is strict about it. */
function strictGoogle(aheadMs: number, headers: (serverMs: number) => Record<string, string>) {
  return (request: FetchRequest, _index: number, clock: FakeClock): Script => {
    const { iat = 0, exp = 0 } = decodeJwt(formOf(request).get('assertion') ?? '')
    const serverMs = clock.nowMs() + aheadMs
    const isFine = iat * 1_000 <= serverMs + MINUTE_MS && exp * 1_000 > serverMs
    return isFine ? token() : { status: 400, headers: headers(serverMs), body: skewed }
  }
}

const dated = (serverMs: number) => ({ date: new Date(serverMs).toUTCString() })

test('a mint carries the token, its life, and the instant before the request', async () => {
  const { refresh, clock, requests } = createWorld(() => token())
  const startMs = clock.nowMs()
  const result = await refresh()
  assert.equal(codeOf(result), 'minted ya29.token')
  if (result.kind !== 'minted') return
  assert.equal(result.lifetimeMs, 3_599_000)
  assert.equal(result.requestedAtMs, startMs)
  assert.equal(result.leadMs, 300_000)
  assert.equal(result.refreshInMs, null)
  assert.equal(result.rotatedMaterial.size, 0)
  const form = formOf(requests[0])
  assert.equal(form.get('grant_type'), 'urn:ietf:params:oauth:grant-type:jwt-bearer')
  assert.equal(requests[0]?.url, 'https://oauth2.googleapis.com/token')
})

test('the life counts from before the request though the wall clock steps during it', async () => {
  for (const stepMs of [3_600_000, -3_600_000]) {
    const world = createWorld((_request, _index, clock) => {
      clock.stepWall(stepMs)
      return token()
    })
    const result = await world.refresh()
    assert.equal(result.kind === 'minted' && result.requestedAtMs, world.clock.nowMs())
  }
})

test('a clock that is off is learnt from Date, once, and remembered for the next mint', async () => {
  for (const minutes of [10, -10, 600]) {
    const { refresh, requests, offsets } = createWorld(strictGoogle(minutes * MINUTE_MS, dated))
    if (minutes === 10) {
      // An assertion in the past is fine with Google while it lives.
      assert.equal(codeOf(await refresh()), 'minted ya29.token')
      assert.deepEqual(offsets(), [0])
      continue
    }
    assert.equal(codeOf(await refresh()), 'minted ya29.token')
    assert.equal(requests.length, 2)
    assert.equal(codeOf(await refresh()), 'minted ya29.token')
    assert.deepEqual(offsets(), [0, minutes, minutes])
  }
})

test('a clock that is mended later is learnt anew', async () => {
  let aheadMs = -10 * MINUTE_MS
  const { refresh, offsets } = createWorld((request, index, clock) =>
    strictGoogle(aheadMs, dated)(request, index, clock),
  )
  await refresh()
  aheadMs = -20 * MINUTE_MS
  assert.equal(codeOf(await refresh()), 'minted ya29.token')
  assert.deepEqual(offsets(), [0, -10, -10, -20])
})

test('a Date that lies, is cached, or is missing teaches nothing, and the second C is permanent', async () => {
  const liars: readonly ((serverMs: number) => Record<string, string>)[] = [
    () => ({ date: 'Thu, 01 Jan 1970 00:00:00 GMT' }),
    () => ({ date: 'Fri, 01 Jan 2100 00:00:00 GMT' }),
    () => ({ date: 'yesterday' }),
    () => ({}),
    serverMs => ({ ...dated(serverMs), age: '0' }),
  ]
  for (const headers of liars) {
    const { refresh, offsets, requests } = createWorld(strictGoogle(-10 * MINUTE_MS, headers))
    const result = await refresh()
    assert.equal(codeOf(result), 'P google_clock_skew')
    assert.equal(requests.length, 2)
    await refresh()
    assert.deepEqual(offsets(), [0, 0, 0, 0])
    assert.match(result.kind === 'failed' ? result.failure.advice : '', /Set the gateway's clock/)
  }
})

test('an offset of one token host is not used for another', async () => {
  const hosts = ['a.example', 'b.example']
  const clock = new FakeClock()
  const strict = strictGoogle(-10 * MINUTE_MS, dated)
  const peer = scriptedFetch((request, index) => strict(request, index, clock))
  const deps = {
    ...{ fetch: peer.fetch, clock, random: seededRandom(1) },
    ...{ files: noFiles, execute: noExecute, rules: rulesOf(hosts) },
  }
  const refresher = createRefresher(googleVertexAi, deps)
  for (const host of [...hosts, ...hosts]) {
    const one = vertexProvider({}, { token_uri: `https://${host}/token` })
    assert.equal(refresher.host(one), host)
    await refresher.refresh(one, new AbortController().signal)
  }
  const sent = peer.requests.map(request => new URL(request.url).host)
  assert.deepEqual(sent, [
    'a.example',
    'a.example',
    'b.example',
    'b.example',
    'a.example',
    'b.example',
  ])
})

test('stale input is tried again once; everything else is not', async () => {
  const stale: ProviderType = {
    ...googleVertexAi,
    grant(one, nowMs, rulesNow) {
      const request = googleVertexAi.grant(one, nowMs, rulesNow)
      if (request?.kind !== 'request') return null
      const rule = {
        error: 'invalid_grant',
        pattern: /stale/,
        class: 'S',
        code: 'acme_stale',
        advice: 'Wait',
        recoveryAction: 'retry',
      } as const
      const answerRules = { refusals: [rule], fallbackLifetimeMs: 3_600_000, rotates: null }
      return {
        ...request,
        judge: (answer, atMs) => processTokenAnswer(answerRules, answer, atMs),
      }
    },
  }
  const refused = (error_description: string) => ({
    status: 400,
    body: { error: 'invalid_grant', error_description },
  })
  const cases: readonly (readonly [answers: readonly Script[], code: string])[] = [
    [[refused('stale'), token('second')], 'minted second'],
    [[refused('stale'), refused('stale')], 'P acme_stale'],
    [[refused('stale'), refused('revoked')], 'P oauth_invalid_grant'],
    [[refused('stale'), { status: 503 }], 'T oauth_token_endpoint_retryable'],
    [[{ status: 503 }], 'T oauth_token_endpoint_retryable'],
    [[{ status: 429 }], 'H oauth_token_endpoint_throttled'],
    [[new Error('reset')], 'T oauth_token_endpoint_unavailable'],
    [[refused('revoked')], 'P oauth_invalid_grant'],
    [[{ body: '<html>' }], 'X oauth_unrecognized_error_response'],
    [[{ status: 302 }], 'X oauth_redirected'],
  ]
  for (const [answers, code] of cases) {
    const { refresh, requests } = createWorld((_request, index) => answers[index] ?? {}, stale)
    assert.equal(codeOf(await refresh()), code)
    assert.equal(requests.length, answers.length, code)
    const sent = requests.map(request => formOf(request).get('assertion'))
    assert.ok(sent.every(assertion => (assertion ?? '').split('.').length === 3))
  }
})

test('Retry-After as a date is read on the vendor’s clock, once that is known', async () => {
  const behindMs = -10 * MINUTE_MS
  const { refresh } = createWorld((request, index, clock) => {
    if (index < 2) return strictGoogle(behindMs, dated)(request, index, clock)
    const retryAfter = new Date(clock.nowMs() + behindMs + 120_000).toUTCString()
    return { status: 429, headers: { 'retry-after': retryAfter } }
  })
  await refresh()
  const result = await refresh()
  assert.equal(result.kind === 'failed' && result.failure.retryAfterMs, 120_000)
})

test('an abort rejects; material that cannot work throws an AppError', async () => {
  const { refresher, requests } = createWorld(() => token())
  await assert.rejects(refresher.refresh(provider, AbortSignal.abort()), { name: 'AbortError' })
  const bare = vertexProvider({ material: new Map() })
  const { signal } = new AbortController()
  await assert.rejects(refresher.refresh(bare, signal), { code: 'invalid_credential' })
  assert.throws(() => refresher.host(bare), { code: 'invalid_credential' })
  assert.equal(requests.length, 0)
  const { refresher: nothing } = createWorld(() => token(), openai)
  await assert.rejects(nothing.refresh(provider, signal), TypeError)
})

test('a credential needs a refresh from its due time on, and never when parked', () => {
  const { refresher } = createWorld(() => token())
  assert.equal(refresher.providerType, 'google-vertex-ai')
  const due = aCredential(provider, { dueAtMs: 5_000 })
  assert.deepEqual(
    [4_999, 5_000, 5_001].map(nowMs => refresher.needsRefresh(due, nowMs)),
    [false, true, true],
  )
  assert.equal(refresher.needsRefresh({ ...due, dueAtMs: null }, 5_000), false)
})
