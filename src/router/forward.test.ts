// Goal: one request of an agent gets exactly one answer, whatever the agent, the upstream, the gateway
// and the clock do meanwhile. Method: the real data path between fakes of those four.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  agentRequest,
  answerOf,
  bundleOf,
  HeardAnswer,
  operationOf,
  routeOf,
  until,
} from '../../test/support/fake-exchange.ts'
import { errorOf, hello, JSON_HEAD, summary, world } from '../../test/support/router-world.ts'
import { Secret } from '../core/secret.ts'
import { forward } from './forward.ts'

test('an answer passes untouched, and the request goes out edited and with the token', async () => {
  const { ask, seen, lines } = world({ routes: [routeOf()] })
  const { heard, done } = ask({
    target: '/v1/messages?beta=true',
    headers: [...JSON_HEAD, 'x-api-key', 'placeholder', 'authorization', 'Bearer placeholder'],
    chunks: ['{"mod', 'el":"x","n":12345678901234567890}'],
  })
  const outcome = await done
  assert.deepEqual(outcome, {
    kind: 'answered',
    status: 200,
    code: '',
    protocol: 'anthropic_messages',
    providerName: 'acme',
    isReplayed: false,
  })
  assert.deepEqual(
    [heard.status, heard.headers, heard.text, heard.ending],
    [200, JSON_HEAD, 'hello', 'clean'],
  )
  const [one] = seen
  assert.equal(one?.body, '{"model":"acme-1","n":12345678901234567890}')
  assert.equal(one?.request.contentLength, one?.body.length)
  assert.equal(one?.request.method, 'POST')
  assert.equal(
    `${one?.request.origin}${one?.request.path}`,
    'https://api.acme.test/v1/messages?beta=true',
  )
  assert.deepEqual(one?.request.headers, [...JSON_HEAD, 'authorization', 'Bearer token-1'])
  assert.doesNotMatch(lines.join(), /token-1|placeholder/)
})

test('Claude on Vertex: the model moves to the path, stream decides the verb, the version is set', async () => {
  const version = { byHeader: new Map([['2023-06-01', 'vertex-2023-10-16']]), fallback: 'fallback' }
  const operation = operationOf({
    path: '/{model}:rawPredict',
    streamPath: '/{model}:streamRawPredict',
    model: 'remove',
    version,
    dropQuery: ['beta'],
  })
  const ROWS = [
    [
      ['anthropic-version', '2023-06-01'],
      '{"model":"m","stream":true}',
      'stream',
      '{"anthropic_version":"vertex-2023-10-16","stream":true}',
    ],
    [
      ['anthropic-version', '2026-10-21'],
      '{"stream":false,"model":"m"}',
      '',
      '{"anthropic_version":"2026-10-21","stream":false}',
    ],
    [[], '{"model":"m"}', '', '{"anthropic_version":"fallback"}'],
    [
      ['anthropic-version', '2023-06-01'],
      '{"anthropic_version":"own"}',
      '',
      '{"anthropic_version":"own"}',
    ],
  ] as const
  for (const [headers, chunk, verb, body] of ROWS) {
    const { ask, seen } = world({
      routes: [routeOf({ operations: [operation], allowHeaders: ['anthropic-version'] })],
    })
    await ask({ target: '/v1/messages?beta=true', headers, chunks: [chunk] }).done
    assert.equal(seen[0]?.body, body)
    assert.equal(
      seen[0]?.request.path,
      verb === '' ? '/acme-1:rawPredict' : '/acme-1:streamRawPredict',
    )
    assert.deepEqual(seen[0]?.request.headers, ['authorization', 'Bearer token-1'])
  }
})

test('what the router refuses by itself never reaches the upstream', async () => {
  const openai = operationOf({ protocol: 'openai_chat_completions' })
  const ROWS = [
    [{ target: '/v1/files' }, 'refused 404 not_found'],
    [{ method: 'GET' }, 'refused 405 method_not_allowed'],
    [{ chunks: ['[]'] }, 'refused 400 bad_request'],
    [{ chunks: [] }, 'refused 400 bad_request'],
    [{ headers: ['content-encoding', 'gzip'] }, 'refused 400 bad_request'],
    [{ target: '/v1/embeddings' }, 'refused 400 protocol_unsupported'],
    [{ chunks: [`{"a":"${'x'.repeat(100)}`, 'x'.repeat(101)] }, 'refused 413 body_too_large'],
  ] as const
  for (const [from, expected] of ROWS) {
    const { ask, seen } = world({
      routes: [routeOf({ operations: [operationOf({ streamPath: '/s' }), openai] })],
      limits: { replayBytesMax: 100, bodyBytesMax: 200 },
    })
    const { heard, done } = ask(from)
    assert.equal(summary(await done), expected)
    assert.deepEqual([heard.ending, seen.length], ['clean', 0])
    assert.equal(heard.header('x-openshell-error'), expected.split(' ')[2])
    assert.ok(errorOf(heard).message.length > 10)
  }
})

test('an identity content-encoding is none', async () => {
  const { ask } = world({ routes: [routeOf()] })
  assert.equal(
    summary(await ask({ headers: ['Content-Encoding', 'Identity'] }).done),
    'answered 200',
  )
})

test('an unsupported protocol is told what the route serves, in its own dialect', async () => {
  const { ask } = world({ routes: [routeOf()] })
  const { heard, done } = ask({ target: '/v1/chat/completions' })
  await done
  assert.equal(errorOf(heard).type, 'invalid_request_error')
  assert.match(errorOf(heard).message, /"acme-1".*openai_chat_completions.*anthropic_messages/)
  const anthropic = world({ routes: [] }).ask()
  await anthropic.done
  assert.equal(JSON.parse(anthropic.heard.text).type, 'error')
})

test('an answer to HEAD has no body', async () => {
  const { heard, done } = world({}).ask({ method: 'HEAD', target: '/' })
  assert.equal(summary(await done), 'refused 404 not_found')
  assert.deepEqual([heard.text, heard.ending], ['', 'clean'])
})

test('without a bundle, a route or a working provider the answer is 503 and says why', async () => {
  const none = world({}).ask()
  assert.equal(summary(await none.done), 'refused 503 gateway_unreachable')
  assert.equal(none.heard.header('retry-after'), '2')

  const empty = world({ routes: [] }).ask()
  assert.equal(summary(await empty.done), 'refused 503 inference_not_configured')
  assert.equal(empty.heard.header('retry-after'), undefined)
  assert.match(errorOf(empty.heard).message, /openshell inference set/)

  const other = world({ routes: [routeOf({ name: 'sandbox-system' })] }).ask()
  assert.equal(summary(await other.done), 'refused 503 inference_not_configured')

  const failed = world({})
  failed.table.swap(
    bundleOf(
      [],
      [
        {
          name: 'inference.local',
          providerName: 'acme',
          code: 'oauth_invalid_grant',
          message: 'the key was revoked',
          sinceMs: 1,
          nextAttemptAtMs: failed.clock.nowMs() + 9_500,
        },
      ],
    ),
  )
  const { heard, done } = failed.ask()
  assert.equal(summary(await done), 'refused 503 oauth_invalid_grant')
  assert.equal(heard.header('retry-after'), '10')
  assert.match(errorOf(heard).message, /the key was revoked/)
})

test('a route without a credential sends nothing', async () => {
  const { ask, seen } = world({ routes: [routeOf({ credential: new Secret('') })] })
  assert.equal(summary(await ask().done), 'refused 503 credential_missing')
  assert.equal(seen.length, 0)
})

test('model discovery without an operation is answered with the one model', async () => {
  const { ask, seen } = world({ routes: [routeOf({ modelId: 'google/g-1' })] })
  const list = ask({ method: 'GET', target: '/v1/models?limit=1' })
  assert.equal(summary(await list.done), 'answered 200')
  const { object, data, has_more, first_id, last_id } = JSON.parse(list.heard.text)
  assert.deepEqual(
    [object, has_more, first_id, last_id],
    ['list', false, 'google/g-1', 'google/g-1'],
  )
  assert.equal(data.length, 1)
  assert.deepEqual(
    [data[0].id, data[0].object, data[0].type, data[0].owned_by],
    ['google/g-1', 'model', 'model', 'acme'],
  )
  for (const target of ['/v1/models/google/g-1', '/v1/models/google%2Fg-1']) {
    const one = ask({ method: 'GET', target })
    await one.done
    assert.deepEqual(JSON.parse(one.heard.text), data[0])
  }
  const wrong = ask({ method: 'GET', target: '/v1/models/gpt-5' })
  assert.equal(summary(await wrong.done), 'refused 404 not_found')
  assert.equal(seen.length, 0)
})

test('model discovery with an operation goes to the upstream without a body', async () => {
  const operation = operationOf({ protocol: 'model_discovery', path: '/openai/v1/models' })
  const { ask, seen } = world({ routes: [routeOf({ operations: [operation] })] })
  const { heard, done } = ask({ method: 'GET', target: '/v1/models/x?a=1', chunks: [] })
  await done
  assert.deepEqual(
    [seen[0]?.request.method, seen[0]?.request.path, seen[0]?.request.body],
    ['GET', '/openai/v1/models/x?a=1', null],
  )
  assert.equal(heard.text, 'hello')
})

test('errors of the upstream pass through: 4xx, 5xx, redirects, and a 401 of a static key', async () => {
  for (const status of [204, 302, 400, 401, 403, 404, 429, 500, 529]) {
    const { ask, reports } = world({
      routes: [routeOf({ deadToken: [{ status: 401, when: [], unless: [] }] })],
      script: async () => answerOf(status, ['retry-after', '7'], status === 204 ? [] : ['why']),
    })
    const { heard, done } = ask()
    assert.equal(summary(await done), `answered ${status}`)
    assert.deepEqual([heard.header('retry-after'), heard.text], ['7', status === 204 ? '' : 'why'])
    assert.equal(reports.length, 0)
  }
})

test('a swap in flight changes nothing for a request that has begun', async () => {
  let answer = (): void => {}
  const { ask, table, seen } = world({
    routes: [routeOf()],
    script: async () => {
      await new Promise<void>(resolve => {
        answer = resolve
      })
      return hello(seen[0]?.request ?? assert.fail(), 1)
    },
  })
  const { heard, done } = ask()
  await until(() => seen.length === 1)
  table.swap(bundleOf([]))
  answer()
  assert.equal(summary(await done), 'answered 200')
  assert.equal(heard.text, 'hello')
})

test('an error of our own is 500, logged, and shows nothing of itself', async () => {
  const { deps, lines } = world({ routes: [routeOf({ baseUrl: 'no url' })] })
  const heard = new HeardAnswer()
  const { request } = agentRequest()
  assert.equal(summary(await forward(deps, request, heard)), 'refused 500 internal')
  assert.match(lines.join(), /request.failed/)
  assert.doesNotMatch(heard.text, /no url/)
})
