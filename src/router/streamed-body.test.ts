// Goal: a body that is sent while it still comes can be sent again, from its beginning.
// Method: the real data path between an agent and an upstream that are held back by hand.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  agentRequest,
  answerOf,
  bundleOf,
  HeardAnswer,
  until,
} from '../../test/support/fake-exchange.ts'
import { refreshedRoute, summary, world } from '../../test/support/router-world.ts'
import type { Upstream } from './exchange.ts'
import { forward } from './forward.ts'

test('a token that is refused in the middle of a body costs a replay from its beginning', async () => {
  const { clock, table, deps, reports } = world({ limits: { gatheredBytesMax: 10 } })
  table.swap(bundleOf([refreshedRoute(clock)]))
  const renewed = Promise.withResolvers<void>()
  async function* chunks(): AsyncGenerator<string> {
    yield '{"model":"x","a":"y'
    await renewed.promise
    yield 'y'
    yield 'y"}'
  }
  const heard = new HeardAnswer()
  const bodies: string[] = []
  const upstream: Upstream = async ({ body }) => {
    let seen = ''
    bodies.push(seen)
    for await (const piece of body ?? []) {
      seen += Buffer.from(piece).toString()
      bodies[bodies.length - 1] = seen
      // It has seen enough to refuse the token, and reads no further.
      if (bodies.length === 1 && seen.includes('y')) return answerOf(401, [], [])
    }
    return answerOf(200, [], ['hello'])
  }
  const done = forward({ ...deps, upstream }, agentRequest({ chunks: chunks() }).request, heard)
  await until(() => reports.length === 1)
  table.swap(bundleOf([refreshedRoute(clock, 2)]))
  await until(() => bodies.length === 2)
  renewed.resolve()
  assert.equal(summary(await done), 'answered 200')
  assert.deepEqual(bodies, ['{"model":"acme-1","a":"y', '{"model":"acme-1","a":"yyy"}'])
})
