// Goal: a translated operation keeps every rule of the data path: limits, replay, headers, errors.
// Method: the real data path between fakes of the agent, the upstream, the gateway and the clock.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { answerOf, bundleOf, operationOf, until } from '../../test/support/fake-exchange.ts'
import {
  errorOf,
  JSON_HEAD,
  refreshedRoute,
  SSE_HEAD,
  summary,
  world,
} from '../../test/support/router-world.ts'
import type { Operation, ResolvedRoute } from '../core/route.ts'

const TARGET = '/v1/chat/completions'
const BODY = '{"model":"m","messages":[{"role":"user","content":"hi"}]}'
const ANSWER =
  '{"id":"c","created":1,"choices":[{"message":{"content":"Hello"},"finish_reason":"stop"}]}'

function operation(rest: Partial<Operation> = {}): Operation {
  return operationOf({
    protocol: 'openai_chat_completions',
    path: '/text/chat?version=1',
    streamPath: '/text/chat_stream?version=1',
    model: 'keep',
    dropQuery: ['*'],
    translation: { name: 'watsonx_chat', options: new Map([['model_id', 'ibm/granite']]) },
    ...rest,
  })
}

function route(rest: Partial<ResolvedRoute> = {}): ResolvedRoute {
  return refreshedRoute(new FakeClock(), 1, { operations: [operation()], ...rest })
}

test('the request goes out translated and says so in its headers; the answer comes back', async () => {
  const { ask, seen } = world({
    routes: [route()],
    script: async () =>
      answerOf(200, [...JSON_HEAD, 'content-length', '9', 'x-more', '1'], [ANSWER]),
  })
  const { heard, done } = ask({
    target: `${TARGET}?beta=1`,
    headers: [
      ...['Content-Type', 'application/json; x=y', 'Accept', '*/*', 'Accept-Encoding', 'br'],
      ...['User-Agent', 'me', 'Authorization', 'Bearer placeholder'],
    ],
    chunks: [BODY.slice(0, 9), BODY.slice(9)],
  })
  assert.equal(summary(await done), 'answered 200')
  assert.equal(
    seen[0]?.body,
    '{"messages":[{"role":"user","content":"hi"}],"model_id":"ibm/granite"}',
  )
  assert.equal(seen[0]?.request.contentLength, seen[0]?.body.length)
  assert.equal(seen[0]?.request.path, '/text/chat?version=1')
  assert.deepEqual(seen[0]?.request.headers, [
    ...['user-agent', 'me', 'content-type', 'application/json', 'accept', 'application/json'],
    ...['accept-encoding', 'identity', 'authorization', 'Bearer token-1'],
  ])
  assert.equal(JSON.parse(heard.text).choices[0].message.content, 'Hello')
  assert.deepEqual(heard.headers, [
    ...['x-more', '1', 'content-type', 'application/json'],
    ...['content-length', String(Buffer.byteLength(heard.text))],
  ])
})

test('a stream goes by its own path, is asked for as one, and a broken one ends broken', async () => {
  const event = 'data: {"id":"c","created":1,"choices":[{"delta":{"content":"Hel"}}]}\n\n'
  const { ask, seen } = world({
    routes: [route()],
    script: async () => answerOf(200, SSE_HEAD, [event, new Error('reset')]),
  })
  const { heard, done } = ask({ target: TARGET, chunks: ['{"messages":[],"stream":true}'] })
  assert.equal(summary(await done), 'broken 200 upstream_broken')
  assert.equal(seen[0]?.request.path, '/text/chat_stream?version=1')
  const { headers = [] } = seen[0]?.request ?? {}
  assert.equal(headers[headers.indexOf('accept') + 1], 'text/event-stream')
  assert.equal(heard.ending, 'destroyed')
  const [first = '', second = ''] = heard.text.split(/\n\n+/)
  assert.match(first, /"content":"Hel"/)
  assert.match(second, /^data: .*"code":"upstream_broken"/)
})

test('a dead token is renewed and the translated body sent once more', async () => {
  const { ask, table, seen, reports, clock } = world({
    routes: [route()],
    script: async (_, turn) =>
      turn === 1
        ? answerOf(401, JSON_HEAD, ['{"errors":[{"code":"authentication_token_expired"}]}'])
        : answerOf(200, JSON_HEAD, [ANSWER]),
  })
  const { heard, done } = ask({ target: TARGET, chunks: [BODY] })
  await until(() => reports.length === 1)
  table.swap(bundleOf([refreshedRoute(clock, 2, { operations: [operation()] })]))
  assert.equal(summary(await done), 'answered 200')
  assert.equal(seen[0]?.body, seen[1]?.body)
  assert.match(heard.text, /Hello/)
})

test('what cannot be translated is told in the agent’s dialect and never reaches the upstream', async () => {
  const unknown = operation({ translation: { name: 'klingon', options: new Map() } })
  const ROWS = [
    [route(), ['no json'], 400, 'bad_request'],
    [route(), ['{"messages":1}'], 400, 'bad_request'],
    [route(), ['x'.repeat(65), 'x'.repeat(64)], 413, 'body_too_large'],
    [route({ operations: [unknown] }), [BODY], 400, 'protocol_unsupported'],
  ] as const
  for (const [one, chunks, status, code] of ROWS) {
    const { ask, seen } = world({ routes: [one], limits: { bodyBytesMax: 128 } })
    const { heard, done } = ask({ target: TARGET, chunks })
    assert.equal(summary(await done), `refused ${status} ${code}`)
    assert.equal(seen.length, 0)
    assert.equal(heard.header('x-openshell-error'), code)
    assert.notEqual(errorOf(heard).message, '')
  }
  const { ask, seen } = world({ routes: [route()] })
  const compressed = { target: TARGET, headers: ['content-encoding', 'gzip'], chunks: [BODY] }
  assert.equal(summary(await ask(compressed).done), 'refused 400 bad_request')
  assert.equal(seen.length, 0)
})

test('a body as large as the limit is translated, but kept for a replay only when it is small', async () => {
  const dead = async () => answerOf(401, JSON_HEAD, ['{}'])
  for (const [replayBytesMax, expected] of [
    [1_000, 'refused 503 credential_rejected'],
    [10, 'refused 503 credential_rejected'],
  ] as const) {
    const limits = { replayBytesMax, bodyBytesMax: BODY.length }
    const { ask, seen, table, reports, clock } = world({ routes: [route()], script: dead, limits })
    const { done } = ask({ target: TARGET, chunks: [BODY] })
    await until(() => reports.length === 1)
    table.swap(bundleOf([refreshedRoute(clock, 2, { operations: [operation()] })]))
    assert.equal(summary(await done), expected)
    assert.equal(seen.length, replayBytesMax === 10 ? 1 : 2)
  }
})

test('an upstream’s answer that is no translation’s is a broken upstream', async () => {
  const { ask } = world({
    routes: [route()],
    script: async () => answerOf(200, ['content-type', 'text/html'], ['<html>']),
  })
  const { heard, done } = ask({ target: TARGET, chunks: [BODY] })
  assert.equal(summary(await done), 'refused 502 upstream_broken')
  assert.match(errorOf(heard).message, /cannot be translated/)
})

test('a native request keeps the agent’s headers and its answer’s bytes, an error’s too', async () => {
  const native = operation({
    protocol: 'watsonx_chat_stream',
    path: '/text/chat_stream',
    streamPath: '',
    dropQuery: ['project_id'],
    translation: { name: 'watsonx_native', options: new Map([['model_id', 'ibm/granite']]) },
  })
  for (const [status, text] of [
    [200, 'id: 1\nevent: message\ndata: {"seed":12345678901234567890}\n\n'],
    [429, '{"errors":[{"code":"rate"}]}'],
  ] as const) {
    const head = ['content-type', 'text/x-own', 'content-encoding', 'br']
    const { ask, seen } = world({
      routes: [route({ operations: [native] })],
      script: async () => answerOf(status, head, [text]),
    })
    const { heard, done } = ask({
      target: '/ml/v1/text/chat_stream?version=2025-01-01&project_id=theirs',
      headers: ['Content-Type', 'application/json', 'Accept', 'text/x', 'Accept-Encoding', 'br'],
      chunks: ['{"model_id":"theirs","seed":12345678901234567890}'],
    })
    assert.equal(summary(await done), `answered ${status}`)
    assert.equal(seen[0]?.body, '{"seed":12345678901234567890,"model_id":"ibm/granite"}')
    assert.equal(seen[0]?.request.path, '/text/chat_stream?version=2025-01-01')
    assert.deepEqual(seen[0]?.request.headers, [
      ...['content-type', 'application/json', 'accept', 'text/x', 'accept-encoding', 'br'],
      ...['authorization', 'Bearer token-1'],
    ])
    assert.equal(heard.text, text)
    assert.deepEqual(heard.headers, head)
  }
})
