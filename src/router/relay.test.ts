// Goal: answers pass or end as they should, in time and out of time. Method: as in forward.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  agentRequest,
  answerOf,
  HeardAnswer,
  operationOf,
  routeOf,
  until,
  untilAborted,
} from '../../test/support/fake-exchange.ts'
import { errorOf, JSON_HEAD, SSE_HEAD, summary, world } from '../../test/support/router-world.ts'
import { UpstreamError } from './exchange.ts'
import { forward } from './forward.ts'

test('an upstream without an answer is 502', async () => {
  const ROWS = [
    [new UpstreamError('connect', 'ECONNREFUSED token-1'), 'refused 502 upstream_unreachable'],
    [new UpstreamError('broken', 'ECONNRESET'), 'refused 502 upstream_broken'],
    [new Error('anything'), 'refused 502 upstream_broken'],
  ] as const
  for (const [error, expected] of ROWS) {
    const { ask, clock } = world({ routes: [routeOf()], script: () => Promise.reject(error) })
    const { heard, done } = ask()
    assert.equal(summary(await done), expected)
    assert.doesNotMatch(heard.text, /ECONN|token-1/)
    assert.equal(clock.sleepers, 0)
  }
})

test('the first byte may come until the limit of the route, 60 s by default', async () => {
  for (const [timeoutMs, limitMs] of [
    [0, 60_000],
    [5_000, 5_000],
    [600_000, 600_000],
  ] as const) {
    const { ask, clock } = world({
      routes: [routeOf({ timeoutMs })],
      script: request => untilAborted(request.signal),
    })
    const { heard, done } = ask()
    await clock.waitForSleepers(1)
    await clock.advance(limitMs - 1)
    assert.equal(heard.status, 0)
    await clock.advance(1)
    assert.equal(summary(await done), 'refused 504 upstream_timeout')
    assert.match(errorOf(heard).message, new RegExp(`${limitMs / 1_000} s`))
    assert.equal(clock.sleepers, 0)
  }
})

test('an answer may fall silent for 120 s, and go on for ever', async () => {
  let send: (chunk: string | null) => void = () => {}
  const { ask, clock } = world({
    routes: [routeOf({ timeoutMs: 600_000 })],
    script: async request => {
      async function* chunks(): AsyncGenerator<string> {
        for (;;) {
          const next = new Promise<string | null>(resolve => {
            send = resolve
          })
          const chunk = await Promise.race([next, untilAborted(request.signal)])
          if (chunk === null) return
          yield chunk
        }
      }
      return answerOf(200, SSE_HEAD, chunks())
    },
  })
  const { heard, done } = ask()
  await until(() => heard.status === 200)
  for (let turn = 1; turn <= 20; turn += 1) {
    await clock.advance(119_999)
    send(`data: ${turn}\n\n`)
    await until(() => heard.text.endsWith(`data: ${turn}\n\n`))
  }
  await clock.advance(119_999)
  assert.equal(heard.ending, 'open')
  await clock.advance(1)
  assert.equal(summary(await done), 'broken 200 upstream_timeout')
  assert.match(
    heard.text,
    /data: 20\n\n\n\nevent: error\ndata: \{"type":"error".*silent for 120 s.*\n\n$/,
  )
  assert.deepEqual([heard.ending, clock.sleepers], ['destroyed', 0])
})

test('a slow agent is not held against the upstream', async () => {
  const { ask, clock, seen } = world({ routes: [routeOf()] })
  let open = (): void => {}
  const { heard, done } = ask()
  heard.gate = new Promise(resolve => {
    open = resolve
  })
  await until(() => heard.text === 'hel')
  await clock.advance(10_000_000)
  assert.deepEqual([heard.text, heard.ending], ['hel', 'open'])
  assert.equal(seen[0]?.request.signal.aborted, false)
  open()
  assert.equal(summary(await done), 'answered 200')
  assert.deepEqual([heard.text, clock.sleepers], ['hello', 0])
})

test('a broken answer ends broken, with an event only where one can be read', async () => {
  const ROWS = [
    [JSON_HEAD, '/v1/messages', 'hel'],
    [SSE_HEAD, '/v1/messages', 'hel\n\nevent: error\ndata: {"type":"error"'],
    [SSE_HEAD, '/v1/chat/completions', 'hel\n\ndata: {"error":{'],
    [[...SSE_HEAD, 'content-encoding', 'gzip'], '/v1/messages', 'hel'],
    [[...SSE_HEAD, 'content-length', '999'], '/v1/messages', 'hel'],
  ] as const
  for (const [head, target, text] of ROWS) {
    const { ask } = world({
      routes: [
        routeOf({
          operations: [operationOf(), operationOf({ protocol: 'openai_chat_completions' })],
        }),
      ],
      script: async () => answerOf(200, head, ['hel', new Error('reset')]),
    })
    const { heard, done } = ask({ target })
    assert.equal(summary(await done), 'broken 200 upstream_broken')
    assert.equal(heard.ending, 'destroyed')
    assert.equal(heard.text.slice(0, text.length), text)
    if (text === 'hel') assert.equal(heard.text, 'hel')
  }
})

test('an agent that leaves cancels the upstream at once, at each stage', async () => {
  // While the body is read.
  const early = world({ routes: [routeOf()] })
  const stalled = early.ask({ chunks: stall('{"a":') })
  stalled.leave()
  assert.equal(summary(await stalled.done), 'abandoned 0')
  assert.equal(early.seen.length, 0)

  // While the answer is awaited.
  const waiting = world({ routes: [routeOf()], script: request => untilAborted(request.signal) })
  const second = waiting.ask()
  await until(() => waiting.seen.length === 1)
  second.leave()
  assert.equal(waiting.seen[0]?.request.signal.aborted, true)
  assert.equal(summary(await second.done), 'abandoned 0')
  assert.deepEqual(
    [second.heard.status, second.heard.ending, waiting.clock.sleepers],
    [0, 'destroyed', 0],
  )

  // In the middle of the answer.
  const streaming = world({
    routes: [routeOf()],
    script: async request => answerOf(200, SSE_HEAD, cutBy(request.signal, 'data: 1\n\n')),
  })
  const third = streaming.ask()
  await until(() => third.heard.text !== '')
  third.leave()
  assert.equal(streaming.seen[0]?.request.signal.aborted, true)
  assert.equal(summary(await third.done), 'abandoned 0')
  assert.deepEqual(
    [third.heard.text, third.heard.ending, streaming.clock.sleepers],
    ['data: 1\n\n', 'destroyed', 0],
  )

  // Before its error is out, and when writing fails before the signal says so.
  for (const from of [{ target: '/' }, {}]) {
    const fourth = world({ routes: [routeOf()] })
    const { heard, done } = fourth.ask(from)
    heard.isDeaf = true
    assert.equal(summary(await done), 'abandoned 0')
    assert.equal(heard.ending, 'destroyed')
    if (fourth.seen.length > 0) assert.equal(fourth.seen[0]?.request.signal.aborted, true)
  }
})

test('an agent that was gone before anything began is not served', async () => {
  const { deps, seen } = world({
    routes: [routeOf()],
    script: request => untilAborted(request.signal),
  })
  const { request, leave } = agentRequest()
  leave()
  const heard = new HeardAnswer()
  assert.equal(summary(await forward(deps, request, heard)), 'abandoned 0')
  assert.equal(seen[0]?.request.signal.aborted ?? true, true)
})

test('a large body streams through, and what is wrong with its end is still told', async () => {
  const long = `{"a":"${'x'.repeat(200)}"`
  const limits = { gatheredBytesMax: 100, replayBytesMax: 100, bodyBytesMax: 150 }
  const good = world({ routes: [routeOf()], limits })
  await good.ask({ chunks: [long, ',"model":"x"', '}'] }).done
  const blanks = ',"model":"x"'.replace(/./g, ' ')
  assert.equal(good.seen[0]?.body, `{"model":"acme-1",${long.slice(1)}${blanks}}`)
  assert.equal(good.seen[0]?.request.contentLength, null)

  const wrong = world({ routes: [routeOf()], limits })
  const { heard, done } = wrong.ask({ chunks: [long, '} {'] })
  assert.equal(summary(await done), 'refused 400 bad_request')
  assert.equal(heard.ending, 'clean')
})

test('the first-byte limit does not run while a slow agent sends its large body', async () => {
  const limits = { gatheredBytesMax: 10, replayBytesMax: 10 }
  let go = (): void => {}
  async function* slow(): AsyncGenerator<string> {
    yield '{"a":"xxxxxxxxxxxxx"'
    await new Promise<void>(resolve => {
      go = resolve
    })
    yield '}'
  }
  const { ask, clock } = world({
    routes: [routeOf()],
    limits,
    script: request => untilAborted(request.signal),
  })
  const { heard, done } = ask({ chunks: slow() })
  await clock.waitForSleepers(1)
  await clock.advance(1_000_000)
  assert.equal(heard.status, 0)
  go()
  await clock.waitForSleepers(1)
  await clock.advance(60_000)
  assert.equal(summary(await done), 'refused 504 upstream_timeout')
})

/** Yields a text and then nothing, until the reader gives up. */
async function* stall(text: string): AsyncGenerator<string> {
  yield text
  // As a socket that is closed by the agent: the reading ends in an error.
  throw new Error(`aborted after ${text.length}`)
}

async function* cutBy(
  signal: Parameters<typeof untilAborted>[0],
  text: string,
): AsyncGenerator<string> {
  yield text
  await untilAborted(signal)
}
