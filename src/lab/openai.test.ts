// Goal: the pretend OpenAI API is one that the official SDK takes for the real one.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import OpenAI from 'openai'
import { type Sent, send, startTestLab, type TestLab } from '../../test/support/lab.ts'

let testLab: TestLab
let client: OpenAI
before(async () => {
  testLab = await startTestLab()
  client = new OpenAI({
    apiKey: testLab.lab.openaiKey().reveal(),
    baseURL: `${testLab.lab.origin}/openai/v1`,
    maxRetries: 0,
  })
})
after(() => testLab.lab.close())

const MODEL = 'gpt-5.5'
const TEXT = '0 ......1 ......'
const SCRIPT = 'lab:events=2,size=8'
const PARAMETERS = { type: 'object', properties: {}, required: ['path'] }

function ask(content: string) {
  return { model: MODEL, messages: [{ role: 'user' as const, content }] }
}

test('chat completions, whole and streamed, with usage when asked', async () => {
  const whole = await client.chat.completions.create(ask(SCRIPT))
  assert.equal(whole.choices[0]?.message.content, TEXT)
  assert.equal(whole.usage?.completion_tokens, 2)
  for (const include_usage of [true, false]) {
    const stream = await client.chat.completions.create({
      ...ask(SCRIPT),
      stream: true,
      stream_options: { include_usage },
    })
    const chunks = await collect(stream)
    assert.equal(chunks.map(chunk => chunk.choices[0]?.delta.content ?? '').join(''), TEXT)
    assert.equal(chunks.at(-1)?.usage?.completion_tokens, include_usage ? 2 : undefined)
  }
})

test('chat completions call a tool', async () => {
  const tools = [{ type: 'function' as const, function: { name: 'look', parameters: PARAMETERS } }]
  const whole = await client.chat.completions.create({ ...ask('lab:tool'), tools })
  const streamed = await client.chat.completions
    .stream({ ...ask('lab:tool'), tools })
    .finalChatCompletion()
  for (const { choices } of [whole, streamed]) {
    const [call] = choices[0]?.message.tool_calls ?? []
    assert.ok(call?.type === 'function')
    assert.deepEqual([call.function.name, call.function.arguments], ['look', '{"path":"lab"}'])
    assert.equal(choices[0]?.finish_reason, 'tool_calls')
  }
})

test('completions, whole and streamed', async () => {
  const whole = await client.completions.create({ model: MODEL, prompt: SCRIPT })
  assert.equal(whole.choices[0]?.text, TEXT)
  const stream = await client.completions.create({ model: MODEL, prompt: SCRIPT, stream: true })
  const chunks = await collect(stream)
  assert.equal(chunks.map(chunk => chunk.choices[0]?.text).join(''), TEXT)
})

test('responses, whole and streamed, from text and from items', async () => {
  const whole = await client.responses.create({ model: MODEL, input: SCRIPT })
  assert.equal(whole.output_text, TEXT)
  const input = [
    { role: 'user' as const, content: [{ type: 'input_text' as const, text: SCRIPT }] },
  ]
  const final = await client.responses.stream({ model: MODEL, input }).finalResponse()
  assert.equal(final.output_text, TEXT)
  assert.equal(final.usage?.output_tokens, 2)
  const events = await collect(
    await client.responses.create({ model: MODEL, input: SCRIPT, stream: true }),
  )
  assert.deepEqual(
    events.map(event => event.sequence_number),
    [...events.keys()],
  )
})

test('responses call a tool', async () => {
  const tools = [{ type: 'function' as const, name: 'look', parameters: PARAMETERS, strict: false }]
  const request = { model: MODEL, input: 'lab:tool', tools }
  const whole = await client.responses.create(request)
  const streamed = await client.responses.stream(request).finalResponse()
  for (const { output } of [whole, streamed]) {
    const [item] = output
    assert.ok(item?.type === 'function_call')
    assert.deepEqual([item.name, item.arguments], ['look', '{"path":"lab"}'])
  }
})

test('embeddings are of unit length, in both encodings', async () => {
  const request = { model: 'text-embedding-3-small', input: ['a', 'b'], dimensions: 24 }
  // The SDK asks for base64 of its own accord and decodes it.
  const packed = await client.embeddings.create(request)
  const plain = await client.embeddings.create({ ...request, encoding_format: 'float' })
  assert.deepEqual(packed.data, plain.data)
  assert.equal(plain.data.length, 2)
  for (const { embedding } of plain.data) {
    assert.equal(embedding.length, 24)
    assert.ok(Math.abs(Math.hypot(...embedding) - 1) < 1e-5)
  }
  await assert.rejects(client.embeddings.create({ ...request, input: [] }), OpenAI.BadRequestError)
})

test('models', async () => {
  assert.ok((await client.models.list()).data.some(model => model.id === MODEL))
  assert.equal((await client.models.retrieve(MODEL)).id, MODEL)
  await assert.rejects(client.models.retrieve('none'), OpenAI.NotFoundError)
})

const JSON_TYPE = ['content-type', 'application/json'] as const

const REFUSALS: readonly (readonly [string, string, (key: string) => Sent, number, RegExp])[] = [
  ['no key', 'chat/completions', () => ({ headers: [JSON_TYPE], body: ask('hi') }), 401, /API key/],
  [
    'a second credential',
    'chat/completions',
    key => ({ headers: [JSON_TYPE, ['authorization', key], ['api-key', 'x']], body: ask('hi') }),
    400,
    /"api-key"/,
  ],
  [
    'no model',
    'chat/completions',
    key => ({ headers: [JSON_TYPE, ['authorization', key]], body: { messages: [] } }),
    400,
    /model/,
  ],
  [
    'no messages',
    'chat/completions',
    key => ({ headers: [JSON_TYPE, ['authorization', key]], body: { model: MODEL } }),
    400,
    /'messages'/,
  ],
  [
    'stray stream options',
    'chat/completions',
    key => ({
      headers: [JSON_TYPE, ['authorization', key]],
      body: { ...ask('hi'), stream_options: {} },
    }),
    400,
    /stream_options/,
  ],
  [
    'stream as text',
    'chat/completions',
    key => ({
      headers: [JSON_TYPE, ['authorization', key]],
      body: { ...ask('hi'), stream: 'yes' },
    }),
    400,
    /'stream'/,
  ],
  [
    'no prompt',
    'completions',
    key => ({ headers: [JSON_TYPE, ['authorization', key]], body: { model: MODEL } }),
    400,
    /'prompt'/,
  ],
  [
    'no input',
    'responses',
    key => ({ headers: [JSON_TYPE, ['authorization', key]], body: { model: MODEL } }),
    400,
    /'input'/,
  ],
  [
    'a body that is no JSON',
    'responses',
    key => ({ headers: [JSON_TYPE, ['authorization', key]], body: '{' }),
    400,
    /not a JSON object/,
  ],
  [
    'a byte order mark',
    'responses',
    key => ({ headers: [JSON_TYPE, ['authorization', key]], body: '\uFEFF{"model":"m"}' }),
    400,
    /not a JSON object/,
  ],
  [
    'an unknown path',
    'images',
    key => ({ headers: [JSON_TYPE, ['authorization', key]], body: ask('hi') }),
    404,
    /Invalid URL/,
  ],
]

for (const [what, operation, sentFor, status, message] of REFUSALS) {
  test(`a call with ${what} is refused`, async () => {
    const sent = sentFor(`Bearer ${testLab.lab.openaiKey().reveal()}`)
    const received = await send(`${testLab.lab.origin}/openai/v1/${operation}`, sent)
    assert.equal(received.status, status)
    assert.match(JSON.parse(received.text).error.message, message)
  })
}

async function collect<T>(items: AsyncIterable<T>): Promise<readonly T[]> {
  const collected: T[] = []
  for await (const item of items) collected.push(item)
  return collected
}
