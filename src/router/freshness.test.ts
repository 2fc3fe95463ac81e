// Goal: requests wait for a newer token exactly as long as it is due, by the gateway's clock.
// Method: as in forward.test.ts; a token with ten seconds left whose mandatory point is six before its end.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { agentRequest, bundleOf, HeardAnswer } from '../../test/support/fake-exchange.ts'
import { refreshedRoute, summary, world } from '../../test/support/router-world.ts'
import { Secret } from '../core/secret.ts'
import { forward } from './forward.ts'
import { createGatewayClock } from './gateway-clock.ts'

/** A world whose token's zone begins in 4 s and ends, with the token, in 10 s. */
function zone() {
  const own = world({})
  const { clock, table } = own
  const startMs = clock.nowMs()
  const token = (generation: number) =>
    refreshedRoute(clock, generation, {
      expiresAtMs: startMs + 10_000 * generation,
      mandatoryAtMs: startMs + 10_000 * generation - 6_000,
    })
  const tokens = () => own.seen.map(({ request }) => request.headers.at(-1))
  table.swap(bundleOf([token(1)]))
  return { ...own, token, tokens }
}

for (const [atMs, waitMs] of [
  [0, 0],
  [3_999, 0],
  [4_000, 2_000],
  [5_000, 1_000],
  [5_999, 1],
  [6_000, 0],
  [9_499, 0],
] as const) {
  test(`a request at ${atMs} ms waits ${waitMs} ms, then goes with the old token`, async () => {
    const { clock, ask, seen, tokens } = zone()
    await clock.advance(atMs)
    const { done } = ask()
    if (waitMs > 0) {
      await clock.advance(waitMs - 1)
      assert.equal(seen.length, 0)
      await clock.advance(1)
    }
    assert.equal(summary(await done), 'answered 200')
    assert.deepEqual([tokens(), clock.sleepers], [['Bearer token-1'], 0])
  })
}

test('a newer token that comes within the wait is sent at once', async () => {
  const { clock, table, token, ask, tokens } = zone()
  await clock.advance(4_500)
  const { done } = ask()
  await clock.waitForSleepers(1)
  table.swap(bundleOf([token(2)]))
  assert.equal(summary(await done), 'answered 200')
  assert.deepEqual([tokens(), clock.sleepers], [['Bearer token-2'], 0])
})

test('a newer token that comes while the body is read is sent, without a wait', async () => {
  const { clock, table, token, ask, tokens } = zone()
  await clock.advance(3_000)
  async function* slow(): AsyncGenerator<string> {
    yield '{'
    await clock.advance(2_000)
    table.swap(bundleOf([token(2)]))
    yield '}'
  }
  assert.equal(summary(await ask({ chunks: slow() }).done), 'answered 200')
  assert.deepEqual(tokens(), ['Bearer token-2'])
})

test('a newer token that is dead already ends no wait, and does not take the place of the old one', async () => {
  const { clock, table, token, ask, seen, tokens } = zone()
  await clock.advance(4_500)
  const { done } = ask()
  await clock.waitForSleepers(1)
  table.swap(bundleOf([{ ...token(2), expiresAtMs: clock.nowMs() }]))
  await clock.advance(1_499)
  assert.equal(seen.length, 0)
  await clock.advance(1)
  assert.equal(summary(await done), 'answered 200')
  assert.deepEqual([tokens(), clock.sleepers], [['Bearer token-1'], 0])
})

test('in a short zone the wait is half of it, so that the old token still serves', async () => {
  const { clock, table, ask, seen } = world({})
  const expiresAtMs = clock.nowMs() + 900
  table.swap(bundleOf([refreshedRoute(clock, 1, { expiresAtMs, mandatoryAtMs: clock.nowMs() })]))
  const { done } = ask()
  await clock.advance(199)
  assert.equal(seen.length, 0)
  await clock.advance(1)
  assert.equal(summary(await done), 'answered 200')
  assert.deepEqual([seen.length, clock.sleepers], [1, 0])
})

test('an agent that leaves within the wait is let go', async () => {
  const { clock, ask, seen } = zone()
  await clock.advance(4_500)
  const { leave, done } = ask()
  await clock.waitForSleepers(1)
  leave()
  assert.equal(summary(await done), 'abandoned 0')
  assert.deepEqual([seen.length, clock.sleepers], [0, 0])
})

for (const offsetMs of [-600_000, 600_000]) {
  for (const [leftMs, expected] of [
    [60_000, 'answered 200'],
    [501, 'answered 200'],
    [500, 'refused 503 credential_expired'],
  ] as const) {
    test(`with a clock ${offsetMs} ms off, a token that has ${leftMs} ms is ${expected}`, async () => {
      const { clock: own, deps, table, seen } = world({})
      const gatewayMs = own.nowMs() - offsetMs
      const clock = createGatewayClock(own)
      clock.ask()(gatewayMs)
      table.swap(bundleOf([refreshedRoute(own, 1, { expiresAtMs: gatewayMs + leftMs })]))
      const heard = new HeardAnswer()
      const done = forward({ ...deps, clock }, agentRequest().request, heard)
      await own.advance(10_000)
      assert.equal(summary(await done), expected)
      assert.equal(seen.length, heard.status === 200 ? 1 : 0)
    })
  }

  test(`with a clock ${offsetMs} ms off, Retry-After and signatures are the gateway's time`, async () => {
    const { clock: own, deps, table, seen } = world({})
    const gatewayMs = own.nowMs() - offsetMs
    const clock = createGatewayClock(own)
    clock.ask()(gatewayMs)
    const ask = async (): Promise<HeardAnswer> => {
      const heard = new HeardAnswer()
      await forward({ ...deps, clock }, agentRequest().request, heard)
      return heard
    }
    const failure = {
      name: 'inference.local',
      providerName: 'acme',
      code: 'x',
      message: 'y',
    } as const
    const times = { sinceMs: 0, nextAttemptAtMs: gatewayMs + 12_000 }
    table.swap(bundleOf([], [{ ...failure, ...times }]))
    assert.equal((await ask()).header('retry-after'), '12')

    const keys = { accessKeyId: 'a', secretAccessKey: 'b', sessionToken: 'c' }
    const auth = { kind: 'sigv4', service: 'bedrock', region: 'us-east-1' } as const
    const credential = new Secret(JSON.stringify(keys))
    table.swap(bundleOf([refreshedRoute(own, 1, { auth, credential })]))
    assert.equal((await ask()).status, 200)
    const stamp = new Date(gatewayMs).toISOString().replace(/[-:]|\.\d+/g, '')
    assert.ok(seen[0]?.request.headers.includes(stamp), stamp)
  })
}
