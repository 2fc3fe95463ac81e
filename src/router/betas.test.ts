// Goal: an upstream gets the betas that it takes, and what belongs to the others does not arrive; what it
// refuses nevertheless costs one repetition, once in a while.
// Method: whole requests through the data path, with an upstream that refuses as the test says.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { answerOf, operationOf, routeOf, type Script } from '../../test/support/fake-exchange.ts'
import { JSON_HEAD, refreshedRoute, summary, world } from '../../test/support/router-world.ts'
import type { BetaRule } from '../core/route.ts'

const RULE: BetaRule = {
  allow: ['a-1', 'b-1', 'c-1'],
  carrier: 'header',
  members: [
    { path: 'a_member', betas: ['a-', 'aa-'] },
    { path: 'x_member', betas: ['x-'] },
    { path: 'list[].mark.x_scope', betas: ['x-'] },
    { path: 'list[].mark.b_scope', betas: ['b-'] },
  ],
  refusals: ['the `anthropic-beta` header', 'invalid beta flag'],
}
const OPERATION = operationOf({ hasBetas: true })
const BODY = '{"a_member":1,"x_member":2,"list":[{"mark":{"x_scope":3,"b_scope":4}}],"model":"m"}'

const betas = (...values: string[]) => values.flatMap(value => ['Anthropic-Beta', value])

/** An upstream that refuses such requests as contain a word, in these words. */
function refusing(refusals: Readonly<Record<string, string>>): Script {
  return async ({ headers, body }) => {
    const chunks = body === null ? [] : await Array.fromAsync(body)
    const seen = `${headers.join('\n')}\n${Buffer.concat(chunks)}`
    const [, words] = Object.entries(refusals).find(([value]) => seen.includes(value)) ?? []
    if (words === undefined) return answerOf(200, JSON_HEAD, ['{}'])
    return answerOf(400, JSON_HEAD, [JSON.stringify({ error: { message: words } })])
  }
}

function worldWith(rule: Partial<BetaRule>, refusals: Readonly<Record<string, string>> = {}) {
  const route = routeOf({ operations: [OPERATION], betas: { ...RULE, ...rule } })
  const made = world({ routes: [route], script: refusing(refusals) })
  const send = async (values: readonly string[], body = BODY) => {
    const { heard, done } = made.ask({ headers: betas(...values), chunks: [body] })
    return { outcome: summary(await done), text: heard.text }
  }
  /** The header and the body of each request that arrived. */
  const arrived = () =>
    made.seen.map(({ request: { headers }, body }) => {
      const at = headers.indexOf('anthropic-beta')
      return [at === -1 ? null : headers[at + 1], body]
    })
  return { ...made, send, arrived }
}

const replaced = (text: string) => text.replace('"model":"m"', '"model":"acme-1"')

test('the values that pass go in one header, in order and once', async () => {
  const { send, arrived } = worldWith({})
  await send(['b-1, x-1,a-1', 'b-1,,c-2'])
  await send(['x-1'], '{"model":"m"}')
  await send([], '{"model":"m"}')
  const [[header] = [], second, third] = arrived()
  assert.equal(header, 'b-1,a-1')
  assert.deepEqual(second, [null, '{"model":"acme-1"}'])
  assert.deepEqual(third, second)
})

test('members go when none of their betas does; those deeper down when their beta was asked for', async () => {
  const { send, arrived } = worldWith({})
  await send(['a-1', 'x-1'])
  await send(['b-1'])
  await send([])
  assert.deepEqual(arrived(), [
    ['a-1', '{"a_member":1,"list":[{"mark":{"b_scope":4}}],"model":"acme-1"}'],
    ['b-1', '{"list":[{"mark":{"x_scope":3,"b_scope":4}}],"model":"acme-1"}'],
    [null, '{"list":[{"mark":{"x_scope":3,"b_scope":4}}],"model":"acme-1"}'],
  ])
})

test('where no rule holds the header passes as it is', async () => {
  const route = routeOf({ allowHeaders: ['anthropic-beta'], betas: RULE })
  const { ask, seen } = world({ routes: [route] })
  await ask({ headers: betas('x-1, y', 'z'), chunks: [BODY] }).done
  assert.deepEqual(seen[0]?.request.headers.slice(0, 4), [
    ...['anthropic-beta', 'x-1, y', 'anthropic-beta', 'z'],
  ])
  assert.equal(seen[0]?.body, replaced(BODY))
})

test('where the body carries them, they take the place of the member of that name', async () => {
  const { send, arrived } = worldWith({ carrier: 'body' })
  await send(['b-1', 'a-1'], '{"model":"m","anthropic_beta":["own"]}')
  await send([], '{"anthropic_beta":["own"],"model":"m"}')
  assert.deepEqual(arrived(), [
    [null, '{"anthropic_beta":["b-1","a-1"],"model":"acme-1"}'],
    [null, '{"model":"acme-1"}'],
  ])
})

test('a value that is refused by name costs one repetition, and none the next time', async () => {
  const words = 'Unexpected value(s) `b-1` for the `anthropic-beta` header.'
  const made = worldWith({}, { 'b-1': words })
  assert.equal((await made.send(['a-1', 'b-1'])).outcome, 'answered 200')
  assert.equal((await made.send(['a-1', 'b-1'])).outcome, 'answered 200')
  const whole = '{"a_member":1,"list":[{"mark":{"x_scope":3,"b_scope":4}}],"model":"acme-1"}'
  const without = whole.replace(',"b_scope":4', '')
  assert.deepEqual(made.arrived(), [
    ['a-1,b-1', whole],
    ['a-1', without],
    ['a-1', without],
  ])
  assert.ok(made.lines.includes('beta.refused {"provider":"acme","betas":"b-1"}'))
  await made.clock.advance(3_600_000)
  await made.send(['b-1'])
  assert.equal(made.seen.length, 5)
})

test('a refusal that names none means all, in the body too', async () => {
  const { send, arrived } = worldWith({ carrier: 'body' }, { 'b-1': 'invalid beta flag' })
  const { outcome } = await send(['a-1', 'b-1'], '{"model":"m","a_member":[{}]}')
  assert.equal(outcome, 'answered 200')
  assert.deepEqual(
    arrived().map(([, body]) => body),
    ['{"anthropic_beta":["a-1","b-1"],"model":"acme-1","a_member":[{}]}', '{"model":"acme-1"}'],
  )
})

test('one repetition is all; a second refusal, and any other 400, pass to the agent', async () => {
  const header = (value: string) =>
    `Unexpected value(s) \`${value}\` for the \`anthropic-beta\` header.`
  const twice = worldWith({}, { 'a-1': header('a-1'), 'b-1': header('b-1') })
  const { outcome, text } = await twice.send(['a-1', 'b-1'])
  assert.equal(outcome, 'answered 400')
  assert.match(text, /`b-1`/)
  assert.equal(twice.seen.length, 2)
  assert.equal((await twice.send(['a-1', 'b-1'])).outcome, 'answered 200')
  assert.equal(twice.seen.length, 4)

  const other = worldWith({}, { 'a-1': 'messages: Field required' })
  assert.equal((await other.send(['a-1'])).text, '{"error":{"message":"messages: Field required"}}')
  assert.equal(other.seen.length, 1)
  const stranger = worldWith({}, { '': header('a-1') })
  assert.equal((await stranger.send(['x-1'])).outcome, 'answered 400')
  assert.equal(stranger.seen.length, 1)
})

test('a body that was too large to be kept is not repeated, but the refusal is remembered', async () => {
  const words = 'Unexpected value(s) `a-1` for the `anthropic-beta` header.'
  const { ask, seen } = world({
    ...{
      routes: [routeOf({ operations: [OPERATION], betas: RULE })],
      script: refusing({ 'a-1': words }),
    },
    limits: { replayBytesMax: 8 },
  })
  const send = async () => {
    const { done } = ask({ headers: betas('a-1'), chunks: ['{"model":', '"m","b":[1,2,3]', '}'] })
    return summary(await done)
  }
  assert.deepEqual([await send(), await send()], ['answered 400', 'answered 200'])
  assert.equal(seen.length, 2)
})

test('a token that dies between the two tries is renewed as ever', async () => {
  const words = 'Unexpected value(s) `a-1` for the `anthropic-beta` header.'
  let turn = 0
  const { clock, table, ask, seen } = world({
    routes: [],
    script: async () => {
      turn += 1
      if (turn === 1) return answerOf(401, JSON_HEAD, ['{}'])
      return turn === 2 ? answerOf(400, JSON_HEAD, [words]) : answerOf(200, JSON_HEAD, ['{}'])
    },
    report: async () => {
      table.swap({ revision: '2', generatedAtMs: 0, changes: 0, failures: [], routes: [routed(2)] })
      return { outcome: 'refreshing', message: '', nextAttemptAtMs: 0 }
    },
  })
  const routed = (generation: number) =>
    refreshedRoute(clock, generation, { operations: [OPERATION], betas: RULE })
  table.swap({ revision: '1', generatedAtMs: 0, changes: 0, failures: [], routes: [routed(1)] })
  const outcome = await ask({ headers: betas('a-1'), chunks: [BODY] }).done
  assert.deepEqual([summary(outcome), outcome.isReplayed], ['answered 200', true])
  assert.deepEqual(
    seen.map(({ request: { headers } }) => [headers.includes('a-1'), headers.at(-1)]),
    [
      [true, 'Bearer token-1'],
      [true, 'Bearer token-2'],
      [false, 'Bearer token-2'],
    ],
  )
})
