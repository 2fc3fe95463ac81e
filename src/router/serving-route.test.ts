// Goal: a route whose next token is being minted is waited for; all others that cannot serve are told of
// at once. Method: as in freshness.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bundleOf } from '../../test/support/fake-exchange.ts'
import { refreshedRoute, summary, world } from '../../test/support/router-world.ts'
import type { RouteFailure } from '../core/bundle.ts'

function failing(code: string): RouteFailure {
  return {
    ...{ name: 'inference.local', providerName: 'acme', code, message: 'it has no valid token' },
    ...{ sinceMs: 0, nextAttemptAtMs: 0 },
  }
}

const returning = bundleOf([], [failing('credential_refreshing')])

test('a request that comes while the token is being minted gets it', async () => {
  const { clock, table, ask, seen } = world({})
  table.swap(returning)
  const { done } = ask()
  await clock.waitForSleepers(1)
  table.swap(bundleOf([], [{ ...failing('credential_refreshing'), sinceMs: 1 }]))
  table.swap(bundleOf([refreshedRoute(clock, 2)]))
  assert.equal(summary(await done), 'answered 200')
  assert.equal(seen[0]?.request.headers.at(-1), 'Bearer token-2')
})

test('a request whose token died while it is being minted goes on waiting', async () => {
  const { clock, table, ask } = world({})
  table.swap(bundleOf([refreshedRoute(clock, 1, { expiresAtMs: clock.nowMs() - 1 })]))
  const { done } = ask()
  await clock.waitForSleepers(1)
  table.swap(returning)
  table.swap(bundleOf([refreshedRoute(clock, 2)]))
  assert.equal(summary(await done), 'answered 200')
})

test('the wait ends with the limit, with a failure, with the route, and with the agent', async () => {
  const late = world({})
  late.table.swap(returning)
  const { done } = late.ask()
  await late.clock.waitForSleepers(1)
  await late.clock.advance(10_000)
  assert.match(summary(await done), /^refused 503 credential_refreshing/)

  for (const [bundle, expected] of [
    [bundleOf([], [failing('credential_failed')]), /^refused 503 credential_failed/],
    [bundleOf([]), /^refused 503 inference_not_configured/],
  ] as const) {
    const { clock, table, ask } = world({})
    table.swap(returning)
    const asked = ask()
    await clock.waitForSleepers(1)
    table.swap(bundle)
    assert.match(summary(await asked.done), expected)
    assert.equal(clock.sleepers, 0)
  }
})

test('a route that cannot serve for another reason is told of at once', async () => {
  for (const code of ['credential_expired', 'credential_failed', 'provider_not_found']) {
    const { clock, table, ask } = world({})
    table.swap(bundleOf([], [failing(code)]))
    assert.match(summary(await ask().done), new RegExp(`^refused 503 ${code}`))
    assert.equal(clock.sleepers, 0)
  }
})
