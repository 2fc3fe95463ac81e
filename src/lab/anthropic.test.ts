// Goal: the pretend Anthropic API is one that the official SDK takes for the real one.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import { type Sent, send, startTestLab, type TestLab } from '../../test/support/lab.ts'

let testLab: TestLab
let client: Anthropic
before(async () => {
  testLab = await startTestLab()
  client = new Anthropic({
    apiKey: testLab.lab.anthropicKey().reveal(),
    baseURL: `${testLab.lab.origin}/anthropic`,
    maxRetries: 0,
  })
})
after(() => testLab.lab.close())

const MODEL = 'claude-sonnet-5-5'
const TOOLS: Anthropic.Tool[] = [
  {
    name: 'look',
    input_schema: {
      type: 'object',
      properties: { path: { type: 'string' }, depth: { type: 'integer' }, mode: { enum: ['a'] } },
      required: ['path', 'depth', 'mode'],
    },
  },
]

function ask(content: string) {
  return { model: MODEL, max_tokens: 64, messages: [{ role: 'user' as const, content }] }
}

test('the SDK gets an unstreamed and a streamed message, and they say the same', async () => {
  const whole = await client.messages.create(ask('lab:events=5,size=8'))
  const streamed = await client.messages.stream(ask('lab:events=5,size=8')).finalMessage()
  const text = ['0 ......', '1 ......', '2 ......', '3 ......', '4 ......'].join('')
  for (const message of [whole, streamed]) {
    assert.deepEqual(
      message.content.map(block => block.type === 'text' && block.text),
      [text],
    )
    assert.equal(message.stop_reason, 'end_turn')
    assert.equal(message.usage.output_tokens, 5)
  }
})

test('the SDK gets a tool call, with all that the schema requires', async () => {
  const whole = await client.messages.create({ ...ask('now lab:tool'), tools: TOOLS })
  const streamed = await client.messages
    .stream({ ...ask('now lab:tool'), tools: TOOLS })
    .finalMessage()
  for (const message of [whole, streamed]) {
    const [block] = message.content
    assert.ok(block?.type === 'tool_use')
    assert.deepEqual([block.name, block.input], ['look', { path: 'lab', depth: 1, mode: 'a' }])
    assert.equal(message.stop_reason, 'tool_use')
  }
  const none = await client.messages.create(ask('lab:tool'))
  assert.equal(none.stop_reason, 'end_turn')
})

test('the SDK counts tokens and lists models', async () => {
  const { max_tokens: _, ...request } = ask('hi')
  assert.ok((await client.messages.countTokens(request)).input_tokens > 0)
  const models = await client.models.list()
  assert.ok(models.data.some(model => model.id === MODEL))
  assert.equal((await client.models.retrieve(MODEL)).id, MODEL)
  await assert.rejects(client.models.retrieve('claude-none'), Anthropic.NotFoundError)
})

test('the pace is the clock’s', async () => {
  const stream = await client.messages.create({
    ...ask('lab:events=2,interval=100ms'),
    stream: true,
  })
  const seen: string[] = []
  const reading = (async () => {
    for await (const event of stream) seen.push(event.type)
  })()
  await testLab.clock.waitForSleepers(1)
  assert.equal(seen.filter(type => type === 'content_block_delta').length <= 1, true)
  await testLab.clock.advance(100)
  await reading
  assert.equal(seen.at(-1), 'message_stop')
})

const REFUSALS: readonly (readonly [string, (key: string) => Sent['headers'], number, RegExp])[] = [
  ['no key', () => [], 401, /invalid x-api-key/],
  ['a wrong key', () => [['x-api-key', 'unused']], 401, /invalid x-api-key/],
  [
    'both kinds of key',
    key => [
      ['x-api-key', key],
      ['authorization', `Bearer ${key}`],
    ],
    400,
    /not both/,
  ],
  ['no version', key => [['x-api-key', key]], 400, /anthropic-version: header is required/],
  [
    'a version of Vertex',
    key => [
      ['x-api-key', key],
      ['anthropic-version', 'vertex-2023-10-16'],
    ],
    400,
    /not a valid version/,
  ],
  [
    'a cookie',
    key => [
      ['x-api-key', key],
      ['cookie', 'a=b'],
    ],
    400,
    /"cookie"/,
  ],
  [
    'an unknown model',
    key => [
      ['x-api-key', key],
      ['anthropic-version', '2023-06-01'],
    ],
    404,
    /model: gpt-4o/,
  ],
]

for (const [what, headersFor, status, message] of REFUSALS) {
  test(`a call with ${what} is refused`, async () => {
    const headers = headersFor(testLab.lab.anthropicKey().reveal()) ?? []
    const { status: received, text } = await send(`${testLab.lab.origin}/anthropic/v1/messages`, {
      headers: [['content-type', 'application/json'], ...headers],
      body: { ...ask('hi'), model: 'gpt-4o' },
    })
    assert.equal(received, status)
    assert.match(JSON.parse(text).error.message, message)
  })
}

test('x-api-key alone is as good as a bearer', async () => {
  const { status } = await send(`${testLab.lab.origin}/anthropic/v1/messages?beta=true`, {
    headers: [
      ['content-type', 'application/json'],
      ['x-api-key', testLab.lab.anthropicKey().reveal()],
      ['anthropic-version', '2023-06-01'],
    ],
    body: { ...ask('hi'), temperature: 1 },
  })
  assert.equal(status, 200)
})
