// Goal: Vertex takes what Google's and Anthropic's documents allow, and no token that is not good.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import {
  CLAUDE_PATH,
  claudeCall,
  mintToken,
  OPENAPI_PATH,
  type Received,
  type Sent,
  send,
  startTestLab,
  type TestLab,
} from '../../test/support/lab.ts'

const MODEL = `${CLAUDE_PATH}/claude-3-7-sonnet`

let testLab: TestLab
let token: string
before(async () => {
  testLab = await startTestLab()
  token = await mintToken(testLab)
})
after(() => testLab.lab.close())

function vertex(path: string, sent: Sent): Promise<Received> {
  return send(`${testLab.lab.origin}${path}`, sent)
}

function reasonOf({ status, text }: Received): string {
  const { error } = JSON.parse(text)
  assert.deepEqual([status, error.code, error.status], [401, 401, 'UNAUTHENTICATED'])
  return error.details[0].reason
}

test('a good call gets a message', async () => {
  const { status, text } = await vertex(`${MODEL}:rawPredict`, claudeCall(token))
  assert.equal(status, 200)
  const message = JSON.parse(text)
  assert.deepEqual(
    [message.type, message.role, message.model, message.stop_reason],
    ['message', 'assistant', 'claude-3-7-sonnet', 'end_turn'],
  )
  assert.match(message.content[0].text, /You said: hi$/)
  const entry = testLab.lab.journal.entries().at(-1)
  assert.deepEqual(
    [entry?.vendor, entry?.status, entry?.tokenId, entry?.outcome],
    ['vertex', 200, 'token-1', 'ended'],
  )
})

test('a stream is what the Anthropic SDK reads', async () => {
  const sent = claudeCall(token, {
    stream: true,
    messages: [{ role: 'user', content: 'lab:events=3,size=4' }],
  })
  const response = await fetch(`${testLab.lab.origin}${MODEL}:streamRawPredict`, {
    method: 'POST',
    headers: Object.fromEntries(sent.headers ?? []),
    body: JSON.stringify(sent.body),
  })
  assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/)
  const text = await response.text()
  const names = [...text.matchAll(/^event: (.*)$/gm)].map(match => match[1])
  assert.deepEqual(names, [
    'message_start',
    'content_block_start',
    'ping',
    ...Array.from({ length: 3 }, () => 'content_block_delta'),
    'content_block_stop',
    'message_delta',
    'message_stop',
  ])
  const replay = new Anthropic({
    apiKey: 'x',
    fetch: async () => new Response(text, { headers: response.headers }),
  })
  const message = await replay.messages
    .stream({ model: 'm', max_tokens: 1, messages: [{ role: 'user', content: 'x' }] })
    .finalMessage()
  assert.deepEqual(
    message.content.map(block => (block.type === 'text' ? block.text : '')),
    ['0 ..1 ..2 ..'],
  )
  assert.equal(message.usage.output_tokens, 3)
})

test('a token dies at its expiry, by the lab clock', async () => {
  await using other = await startTestLab({ tokenLifetimeMs: 8_000 })
  const short = await mintToken(other)
  const call = () => send(`${other.lab.origin}${MODEL}:rawPredict`, claudeCall(short))
  await other.clock.advance(7_999)
  assert.equal((await call()).status, 200)
  await other.clock.advance(1)
  assert.equal(reasonOf(await call()), 'ACCESS_TOKEN_EXPIRED')
  assert.equal(other.lab.counts().unauthorized, 1)
})

test('a revoked token is refused, its successor taken', async () => {
  await using other = await startTestLab()
  const first = await mintToken(other)
  const call = (value: string) => send(`${other.lab.origin}${MODEL}:rawPredict`, claudeCall(value))
  assert.equal(other.lab.revokeTokens(), 1)
  assert.equal(other.lab.revokeTokens(), 0)
  assert.equal(reasonOf(await call(first)), 'ACCESS_TOKEN_EXPIRED')
  const second = await mintToken(other)
  assert.equal((await call(second)).status, 200)
  assert.equal(other.lab.revokeTokens({ id: 'token-1' }), 0)
  assert.equal(other.lab.revokeTokens({ realm: 'google', subject: 'nobody' }), 0)
  other.lab.faults.set('vertex revoke count=1')
  assert.equal(reasonOf(await call(second)), 'ACCESS_TOKEN_EXPIRED')
  assert.deepEqual(
    other.lab.tokens().map(one => one.isRevoked),
    [true, true],
  )
})

test('a token may be dead or revoked on arrival', async () => {
  for (const flag of ['expired', 'revoke']) {
    testLab.lab.faults.set(`google.token ${flag} count=1`)
    const dead = await mintToken(testLab)
    assert.equal(
      reasonOf(await vertex(`${MODEL}:rawPredict`, claudeCall(dead))),
      'ACCESS_TOKEN_EXPIRED',
    )
  }
})

test('without a token, or with anything else, the reason is Google’s', async () => {
  const { body } = claudeCall(token)
  const json = ['content-type', 'application/json'] as const
  const reason = async (...headers: readonly (readonly [string, string])[]) =>
    reasonOf(await vertex(`${MODEL}:rawPredict`, { body, headers: [json, ...headers] }))
  assert.equal(await reason(), 'CREDENTIALS_MISSING')
  for (const value of [
    'Bearer x',
    'Bearer undefined',
    'Bearer',
    `Basic ${token}`,
    token,
    `Bearer  ${token}`,
    `Bearer ${token} x`,
  ])
    assert.equal(
      await reason(['authorization', value]),
      'ACCESS_TOKEN_TYPE_UNSUPPORTED',
      value.slice(0, 20),
    )
})

const LEAKS: readonly (readonly [string, string])[] = [
  ['x-api-key', 'placeholder'],
  ['api-key', 'placeholder'],
  ['x-goog-api-key', 'placeholder'],
  ['cookie', 'a=b'],
  ['proxy-authorization', 'Basic eA=='],
  ['proxy-connection', 'keep-alive'],
  ['te', 'trailers'],
  ['keep-alive', 'timeout=5'],
  ['connection', 'x-api-key'],
  ['x-openshell-route', 'a'],
  ['authorization', 'Bearer placeholder'],
]

for (const [name, value] of LEAKS) {
  test(`a second credential or hop-by-hop header "${name}: ${value}" is refused`, async () => {
    const sent = claudeCall(token)
    const headers: Sent['headers'] = [...(sent.headers ?? []), [name, value]]
    const { status, text } = await vertex(`${MODEL}:rawPredict`, { ...sent, headers })
    assert.equal(status, 400)
    assert.match(JSON.parse(text).error.message, new RegExp(`"${name}`))
  })
}

const BODIES: readonly (readonly [string, Readonly<Record<string, unknown>>, RegExp])[] = [
  ['a model', { model: 'claude-3-7-sonnet' }, /^model: Extra inputs/],
  ['no version', { anthropic_version: undefined }, /^anthropic_version: Field required/],
  [
    'a version of the first party',
    { anthropic_version: '2023-06-01' },
    /Unknown value "2023-06-01"/,
  ],
  ['no max_tokens', { max_tokens: undefined }, /^max_tokens: Field required/],
  ['max_tokens 0', { max_tokens: 0 }, /^max_tokens: /],
  ['no messages', { messages: undefined }, /^messages: Field required/],
  ['empty messages', { messages: [] }, /^messages: at least one/],
  ['a message without a role', { messages: [{ content: 'x' }] }, /^messages.0: /],
  ['stream', { stream: true }, /rawPredict cannot stream/],
  ['stream as text', { stream: 'true' }, /^stream: /],
  ['a field that does not exist', { frequency_penalty: 1 }, /^frequency_penalty: Extra inputs/],
  [
    'a field of a beta that was not asked for',
    { context_management: {} },
    /^context_management: Extra inputs/,
  ],
  [
    'temperature in 2026-10-21',
    { anthropic_version: '2026-10-21', temperature: 1 },
    /^temperature: /,
  ],
  [
    'a document of the assistant in 2026-10-21',
    {
      anthropic_version: '2026-10-21',
      messages: [{ role: 'assistant', content: [{ type: 'document' }] }],
    },
    /document blocks/,
  ],
  [
    'citations of the user in 2026-10-21',
    {
      anthropic_version: '2026-10-21',
      messages: [{ role: 'user', content: [{ type: 'text', text: 'x', citations: [{}] }] }],
    },
    /citations/,
  ],
  [
    'a script that cannot be followed',
    { messages: [{ role: 'user', content: 'lab:events=many' }] },
    /cannot follow "events=many"/,
  ],
  [
    'a script beyond the limit',
    { messages: [{ role: 'user', content: 'lab:events=100000,size=65536' }] },
    /at most/,
  ],
]

for (const [what, changes, message] of BODIES) {
  test(`a body with ${what} is refused in Anthropic's words`, async () => {
    const { status, text } = await vertex(`${MODEL}:rawPredict`, claudeCall(token, changes))
    const answer = JSON.parse(text)
    assert.deepEqual(
      [status, answer.type, answer.error.type],
      [400, 'error', 'invalid_request_error'],
    )
    assert.match(answer.error.message, message)
    assert.match(answer.request_id, /^req_vrtx_/)
  })
}

test('both versions are taken, sampling only in the older', async () => {
  for (const changes of [{ anthropic_version: '2026-10-21' }, { temperature: 1 }]) {
    const { status } = await vertex(`${MODEL}:rawPredict`, claudeCall(token, changes))
    assert.equal(status, 200)
  }
})

test('streamRawPredict without stream is refused', async () => {
  const { status } = await vertex(`${MODEL}:streamRawPredict`, claudeCall(token))
  assert.equal(status, 400)
})

test('the version header and unknown betas are refused, known betas taken', async () => {
  const sent = claudeCall(token, { context_management: {} })
  const call = async (name: string, value: string) => {
    const headers: Sent['headers'] = [...(sent.headers ?? []), [name, value]]
    const { status, text } = await vertex(`${MODEL}:rawPredict`, { ...sent, headers })
    return `${status} ${status === 200 ? '' : JSON.parse(text).error.message}`
  }
  assert.match(await call('anthropic-version', '2023-06-01'), /^400 Header "anthropic-version"/)
  assert.match(
    await call('anthropic-beta', 'context-management-2025-06-27,oauth-2025-04-20'),
    /^400 Unexpected value\(s\) `oauth-2025-04-20` for the `anthropic-beta` header\./,
  )
  assert.equal(await call('anthropic-beta', 'context-management-2025-06-27'), '200 ')
})

const COUNT: Readonly<Record<string, unknown>> = {
  max_tokens: undefined,
  model: 'claude-3-7-sonnet',
}

test('count-tokens keeps the model in the body', async () => {
  const path = `${CLAUDE_PATH}/count-tokens:rawPredict`
  const { status, text } = await vertex(path, claudeCall(token, COUNT))
  assert.equal(status, 200)
  assert.ok(JSON.parse(text).input_tokens > 0)
  assert.equal((await vertex(path, claudeCall(token, { max_tokens: undefined }))).status, 404)
  assert.equal((await vertex(path, claudeCall(token, { ...COUNT, max_tokens: 1 }))).status, 400)
})

const PATHS: readonly (readonly [string, string, number])[] = [
  ['another model', `${CLAUDE_PATH}/gemini-2.5-pro:rawPredict`, 404],
  ['a dated model', `${CLAUDE_PATH}/claude-sonnet-4-5@20250929:rawPredict`, 200],
  ['a dated model, encoded', `${CLAUDE_PATH}/claude-sonnet-4-5%4020250929:rawPredict`, 200],
  ['a model that climbs', `${CLAUDE_PATH}/..%2Fclaude-x:rawPredict`, 404],
  ['a model with a parameter', `${CLAUDE_PATH}/claude-x;y:rawPredict`, 404],
  ['a broken encoding', `${CLAUDE_PATH}/claude-%zz:rawPredict`, 404],
  ['a query', `${CLAUDE_PATH}/claude-x:rawPredict?beta=true`, 400],
  ['another verb', `${CLAUDE_PATH}/claude-x:predict`, 404],
  [
    'a strange location',
    `${CLAUDE_PATH.replace('us-east1', 'us-east1.evil.com')}/claude-x:rawPredict`,
    404,
  ],
  ['the location global', `${CLAUDE_PATH.replace('us-east1', 'global')}/claude-x:rawPredict`, 200],
  ['a short project', `${CLAUDE_PATH.replace('demo-project', 'p')}/claude-x:rawPredict`, 404],
]

for (const [what, path, status] of PATHS) {
  test(`a path with ${what} gets ${status}`, async () => {
    assert.equal((await vertex(path, claudeCall(token))).status, status)
  })
}

test('other models speak OpenAI, and the publisher belongs to the name', async () => {
  for (const path of [OPENAPI_PATH, OPENAPI_PATH.replace('v1beta1', 'v1')]) {
    const client = new OpenAI({
      apiKey: token,
      baseURL: testLab.lab.origin + path.replace('/chat/completions', ''),
      maxRetries: 0,
    })
    const messages = [{ role: 'user' as const, content: 'hi' }]
    const answer = await client.chat.completions.create({
      model: 'google/gemini-2.5-pro',
      messages,
    })
    assert.match(answer.choices[0]?.message.content ?? '', /gemini/)
    await assert.rejects(
      client.chat.completions.create({ model: 'gemini-2.5-pro', messages }),
      /publisher model/,
    )
  }
})

test('a fault speaks google.rpc', async () => {
  testLab.lab.faults.set('vertex status=429 retry_after=7 count=1')
  const { status, headers, text } = await vertex(`${MODEL}:rawPredict`, claudeCall(token))
  assert.deepEqual([status, headers['retry-after']], [429, '7'])
  assert.equal(JSON.parse(text).error.status, 'RESOURCE_EXHAUSTED')
})
