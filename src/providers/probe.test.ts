// Goal: the cheapest question that proves something is asked, in the form that the route takes, and
// each answer is told in words, with no secret. Method: a peer that says what the test tells it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { type Script, scriptedFetch } from '../../test/support/scripted-fetch.ts'
import type { Operation, Protocol, RouteShape } from '../core/route.ts'
import { Secret } from '../core/secret.ts'
import { type ProbeTarget, probeRoute } from './probe.ts'

const KEY = 'a-secret-key'
const signal = new AbortController().signal
const clock = new FakeClock(Date.UTC(2026, 10, 25))

function operation(protocol: Protocol, changes: Partial<Operation> = {}): Operation {
  return {
    protocol,
    path: `/${protocol}`,
    streamPath: '',
    model: 'replace',
    version: null,
    removeMembers: [],
    dropQuery: [],
    baseUrl: '',
    keepQuery: [],
    hasBetas: false,
    defaultMembers: [],
    translation: null,
    ...changes,
  }
}

function target(
  operations: readonly Operation[],
  changes: Partial<ProbeTarget> & { readonly shape?: never } = {},
): ProbeTarget {
  const shape: RouteShape = {
    baseUrl: 'https://h/v1',
    modelId: 'm/1',
    operations,
    auth: { kind: 'header', header: 'authorization', prefix: 'Bearer ' },
    defaultHeaders: new Map([
      ['anthropic-version', '2023-06-01'],
      ['x-default', 'yes'],
    ]),
    allowHeaders: [],
    betas: null,
    deadToken: [],
  }
  const rest = { hasModel: true, credential: new Secret(KEY), secrets: [], rules: [] }
  return { ...rest, ...changes, shape }
}

const ALL: readonly Protocol[] = [
  ...(['openai_embeddings', 'openai_completions', 'openai_responses'] as const),
  ...(['anthropic_messages', 'openai_chat_completions'] as const),
  ...(['anthropic_count_tokens', 'model_discovery'] as const),
]

async function probe(whom: ProbeTarget, answerOf: (url: string, index: number) => Script) {
  const peer = scriptedFetch((request, index) => answerOf(request.url, index))
  const finding = await probeRoute({ fetch: peer.fetch, clock }, whom, signal)
  const bodies = peer.requests.map(({ body }) =>
    body === null ? null : JSON.parse(Buffer.from(body).toString()),
  )
  return { finding, requests: peer.requests, bodies }
}

test('the cheapest question comes first, and another where the API does not take it', async () => {
  const { finding, requests, bodies } = await probe(target(ALL.map(one => operation(one))), () => ({
    status: 404,
    body: {},
  }))
  assert.deepEqual(
    requests.map(({ url }) => url.slice('https://h/v1/'.length)),
    [
      ...['model_discovery', 'anthropic_count_tokens'],
      ...['openai_chat_completions', 'openai_chat_completions', 'anthropic_messages'],
      ...['openai_responses', 'openai_completions', 'openai_embeddings'],
    ],
  )
  assert.deepEqual(
    [bodies[0], bodies[2]?.max_tokens, bodies[3]?.max_completion_tokens],
    [null, 1, 16],
  )
  assert.deepEqual([finding.outcome, finding.code], ['failed', 'api_not_found'])
})

test('a question has the form that the route gives it', async () => {
  const version = { byHeader: new Map(), fallback: 'v-1' }
  const claude = operation('anthropic_messages', { path: '/{model}:raw', model: 'remove', version })
  const { finding, requests, bodies } = await probe(target([claude]), () => ({ body: {} }))
  assert.equal(finding.outcome, 'ok')
  const [request] = requests
  assert.deepEqual(
    [request?.method, request?.url, bodies[0]],
    [
      'POST',
      'https://h/v1/m%2F1:raw',
      { anthropic_version: 'v-1', messages: [{ role: 'user', content: 'hi' }], max_tokens: 1 },
    ],
  )
  assert.deepEqual(Object.fromEntries(request?.headers ?? []), {
    'x-default': 'yes',
    accept: 'application/json',
    authorization: `Bearer ${KEY}`,
    'content-type': 'application/json',
  })
})

test('a list that is shown to everybody proves nothing, so the model is asked', async () => {
  const operations = [operation('model_discovery'), operation('openai_chat_completions')]
  const answer = (url: string, index: number): Script =>
    url.endsWith('/model_discovery') ? { body: {} } : { status: index === 2 ? 401 : 500, body: {} }
  const { finding, requests } = await probe(target(operations), answer)
  assert.equal(requests[1]?.headers.has('authorization'), false)
  assert.equal(finding.code, 'api_unauthenticated')
  const without = await probe(target(operations, { hasModel: false }), answer)
  assert.deepEqual([without.finding.outcome, without.finding.code], ['warning', 'api_public'])
})

test('a list that only the credential opens is enough', async () => {
  const { finding, requests } = await probe(
    target([operation('openai_chat_completions'), operation('model_discovery')]),
    (_url, index) => ({ status: index === 0 ? 200 : 401, body: { data: [{ id: 'm/1' }] } }),
  )
  assert.deepEqual([finding.outcome, requests.length], ['ok', 2])
})

test('a list that does not have the model says nothing of it, so the model is asked', async () => {
  const operations = [
    ...[operation('model_discovery'), operation('openai_chat_completions')],
    operation('openai_embeddings'),
  ]
  const answer = (chat: number, embeddings: number) => (url: string, index: number) => {
    if (url.endsWith('/model_discovery')) return { status: index === 0 ? 200 : 401, body: {} }
    const isChat = url.endsWith('/openai_chat_completions')
    return { status: isChat ? chat : embeddings, body: { error: { code: isChat ? 'C' : 'E' } } }
  }
  const missing = await probe(target(operations), answer(404, 404))
  assert.match(missing.finding.message, /openai_chat_completions answered 404 C$/)
  const other = await probe(target(operations), answer(400, 200))
  assert.match(other.finding.message, /openai_embeddings answered 200$/)
  const listOnly = await probe(target(operations.slice(0, 1)), answer(404, 404))
  assert.equal(listOnly.finding.outcome, 'ok')
})

test('a translated question is put as the router’s translator would', async () => {
  const translation = { name: 'watsonx_chat', options: new Map([['project_id', 'p']]) }
  const chat = operation('openai_chat_completions', { translation, model: 'keep' })
  const { finding, bodies } = await probe(target([chat]), () => ({ body: {} }))
  assert.equal(finding.outcome, 'ok')
  assert.deepEqual(bodies, [
    { project_id: 'p', messages: [{ role: 'user', content: 'hi' }], max_tokens: 1 },
  ])
})

test('where requests are signed, the question is', async () => {
  const keys = { accessKeyId: 'AKID', secretAccessKey: 'secret-half', sessionToken: 'session' }
  const converse = operation('aws_bedrock_converse', { path: '/model/{model}/converse' })
  const whom = target([{ ...converse, model: 'keep' }], {
    credential: new Secret(JSON.stringify(keys)),
  })
  const auth = { kind: 'sigv4', service: 'bedrock', region: 'us-east-1' } as const
  const { finding, requests } = await probe({ ...whom, shape: { ...whom.shape, auth } }, () => ({
    body: {},
  }))
  assert.equal(finding.outcome, 'ok')
  const headers = requests[0]?.headers
  assert.match(
    headers?.get('authorization') ?? '',
    /^AWS4-HMAC-SHA256 Credential=AKID\/20261125\/us-east-1\/bedrock\/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=[0-9a-f]{64}$/,
  )
  const echo = await probe({ ...whom, shape: { ...whom.shape, auth } }, () => ({
    status: 403,
    body: { message: 'should have been x-amz-security-token:session' },
  }))
  assert.match(echo.finding.message, /x-amz-security-token:\[secret\]$/)
  assert.deepEqual(
    [headers?.get('x-amz-date'), headers?.get('x-amz-security-token')],
    ['20261125T000000Z', 'session'],
  )
})

test('what only a router can ask, and what no model was chosen for, is not asked', async () => {
  const translated = operation('openai_chat_completions', {
    translation: { name: 't', options: new Map() },
  })
  const rows = [
    { whom: target([translated]), code: '' },
    { whom: target([operation('openai_chat_completions')], { hasModel: false }), code: 'no_model' },
  ]
  for (const { whom, code } of rows) {
    const { finding, requests } = await probe(whom, () => ({ body: {} }))
    assert.deepEqual([finding.outcome, finding.code, requests.length], ['skipped', code, 0])
  }
})

test('each status has its words, and a rule of the vendor has better ones', async () => {
  const rows: readonly (readonly [status: number, code: string])[] = [
    [302, 'api_unexpected'],
    [400, 'api_bad_request'],
    [401, 'api_unauthenticated'],
    [403, 'api_forbidden'],
    [404, 'api_not_found'],
    [408, 'api_trouble'],
    [418, 'api_unexpected'],
    [429, 'api_throttled'],
    [500, 'api_trouble'],
    [599, 'api_trouble'],
  ]
  const operations = [operation('openai_embeddings')]
  const rules = [{ status: 0, pattern: /why not/, code: 'mine', advice: 'Do so' }]
  for (const [status, code] of rows) {
    const plain = await probe(target(operations, { rules }), () => ({ status, body: {} }))
    assert.deepEqual([plain.finding.code, plain.finding.outcome], [code, 'failed'], String(status))
    assert.notEqual(plain.finding.advice, '')
    const known = await probe(target(operations, { rules }), () => ({ status, body: ['why not'] }))
    assert.deepEqual([known.finding.code, known.finding.advice], ['mine', 'Do so'])
  }
})

test('an API that cannot be reached, breaks off, never ends or says nothing is told as that', async () => {
  const operations = [operation('openai_embeddings')]
  const reset = Object.assign(new Error('x'), { code: 'ECONNRESET' })
  const broken = await probe(target(operations), () => reset)
  assert.equal(broken.finding.code, 'api_unreachable')
  assert.match(broken.finding.message, /gave no answer: ECONNRESET$/)
  const long = await probe(target(operations), () => ({ body: ' '.repeat(1_048_577) }))
  assert.match(long.finding.message, /answered 200 with something that is no JSON$/)
  const peer = scriptedFetch(() => 'silence')
  const late = new AbortController()
  const asked = probeRoute({ fetch: peer.fetch, clock }, target(operations), late.signal)
  late.abort()
  assert.match((await asked).message, /no complete answer in time$/)
})

test('what the vendor echoes of credential and material is taken out', async () => {
  const material = new Secret('the key file')
  const whom = target([operation('openai_embeddings')], { secrets: [material] })
  const message = `You sent ${KEY} and the key file\u001b[31m`
  const { finding } = await probe(whom, () => ({ status: 401, body: { error: { message } } }))
  assert.match(finding.message, /answered 401 You sent \[secret\] and \[secret\] \[31m$/)
})
