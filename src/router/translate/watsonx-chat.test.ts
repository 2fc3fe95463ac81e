// Goal: OpenAI's client and watsonx understand one another, whatever either may send.
// Method: golden bodies, answers and streams in the shapes that watsonx documents; random cuts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { seed } from '../../../test/support/seeded-random.ts'
import { answered, streamedBack, textOf, translate } from '../../../test/support/translation.ts'
import { RouterError } from '../errors.ts'
import { UpstreamError } from '../exchange.ts'
import { watsonxChat } from './watsonx-chat.ts'

const ADDRESS = { model_id: 'ibm/granite', project_id: 'p-1' }
const MESSAGES = [{ role: 'user', content: 'hi' }]

function sent(body: Readonly<Record<string, unknown>>): unknown {
  const { body: made } = translate(watsonxChat, { messages: MESSAGES, ...body }, ADDRESS)
  return JSON.parse(JSON.stringify(made))
}

test('a request names the model and who pays as the route says, whatever the agent says', () => {
  const own = { model: 'x', model_id: 'y', project_id: 'other', space_id: 's', deployment_id: 'd' }
  assert.deepEqual(sent(own), { messages: MESSAGES, ...ADDRESS })
  const { body } = translate(watsonxChat, { ...own, messages: MESSAGES })
  assert.deepEqual(body, { messages: MESSAGES }, 'a deployment knows both itself')
})

test('what watsonx takes passes, and what only OpenAI takes about the call goes', () => {
  const kept = {
    ...{ temperature: 0.5, top_p: 1, max_tokens: 5, max_completion_tokens: 6, seed: 7, n: 2 },
    ...{ stop: ['x'], logprobs: true, response_format: { type: 'json_object' }, guided_choice: [] },
  }
  const gone = {
    ...{ stream: true, stream_options: { include_usage: true }, user: 'u', store: false },
    ...{ metadata: {}, service_tier: 'auto', parallel_tool_calls: true, tools: [] },
  }
  assert.deepEqual(sent({ ...kept, ...gone }), { ...kept, messages: MESSAGES, ...ADDRESS })
})

test('tools lose what watsonx refuses, keywords alone and at every depth', () => {
  const parameters = {
    type: 'object',
    additionalProperties: false,
    properties: {
      additionalProperties: { type: 'object', additionalProperties: { type: 'string' } },
      strict: { type: 'boolean', default: { additionalProperties: 1 } },
      list: { type: 'array', items: { anyOf: [{ additionalProperties: true, $ref: '#/x' }] } },
    },
    $defs: { additionalProperties: { additionalProperties: false, enum: ['a'] } },
    required: ['additionalProperties'],
  }
  const tools = [{ type: 'function', function: { name: 'f', strict: true, parameters } }]
  const expected = {
    type: 'object',
    properties: {
      additionalProperties: { type: 'object' },
      strict: { type: 'boolean', default: { additionalProperties: 1 } },
      list: { type: 'array', items: { anyOf: [{ $ref: '#/x' }] } },
    },
    $defs: { additionalProperties: { enum: ['a'] } },
    required: ['additionalProperties'],
  }
  assert.deepEqual(sent({ tools }), {
    messages: MESSAGES,
    tools: [{ type: 'function', function: { name: 'f', parameters: expected } }],
    ...ADDRESS,
  })
})

test('a choice of tools is an option when it is a word', () => {
  const named = { type: 'function', function: { name: 'f' } }
  assert.deepEqual(sent({ tool_choice: 'required' }), {
    ...{ messages: MESSAGES, tool_choice_option: 'required' },
    ...ADDRESS,
  })
  assert.deepEqual(sent({ tool_choice: named }), {
    ...{ messages: MESSAGES, tool_choice: named },
    ...ADDRESS,
  })
})

test('messages pass, with a developer for a system, and without what OpenAI left empty', () => {
  const calls = [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }]
  const messages = [
    { role: 'developer', content: 'be brief' },
    { role: 'user', content: [{ type: 'text', text: 'hi' }] },
    { role: 'assistant', content: null, refusal: null, audio: null, tool_calls: calls },
    { role: 'tool', tool_call_id: 'c', content: 'sunny' },
  ]
  assert.deepEqual(sent({ messages }), {
    messages: [
      { role: 'system', content: 'be brief' },
      messages[1],
      { role: 'assistant', content: null, tool_calls: calls },
      messages[3],
    ],
    ...ADDRESS,
  })
})

test('numbers that JavaScript cannot hold arrive as they were written', () => {
  const body =
    '{"messages":[],"seed":12345678901234567890,"tools":[{"function":{"parameters":{"properties":' +
    '{"n":{"maximum":9007199254740993,"multipleOf":1e400,"minimum":-0.1,"items":10000000000000000001}}}}}]}'
  const text = JSON.stringify(translate(watsonxChat, body).body)
  for (const part of [
    '"seed":12345678901234567890',
    '"maximum":9007199254740993',
    '"multipleOf":1e400',
    '"minimum":-0.1',
    '"items":10000000000000000001',
  ]) {
    assert.ok(text.includes(part), text)
  }
})

test('a body that cannot be translated is a bad request', () => {
  const bodies = [
    '',
    'no',
    '[]',
    'null',
    '1',
    '12345678901234567890',
    '{"messages":[]',
    '{}',
    '{"messages":"hi"}',
    '{"messages":[],"functions":[]}',
    '{"messages":[],"function_call":"auto"}',
  ]
  for (const body of bodies) {
    assert.throws(
      () => translate(watsonxChat, body),
      (error: unknown) => error instanceof RouterError && error.code === 'bad_request',
      body,
    )
  }
})

test('an answer is OpenAI’s, with tool calls and usage', async () => {
  const chat = translate(watsonxChat, { messages: MESSAGES }, ADDRESS)
  const head = { id: 'c-1', model_id: 'ibm/granite', created: 17, created_at: 'now', system: {} }
  const usage = { prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 }
  const message = { role: 'assistant', content: 'Hello' }
  const base = { id: 'c-1', created: 17, model: 'the-model', object: 'chat.completion', usage }
  assert.deepEqual(
    await answered(chat, {
      ...head,
      usage,
      choices: [{ index: 0, message, finish_reason: 'stop' }],
    }),
    {
      status: 200,
      body: {
        ...base,
        choices: [
          {
            ...{ index: 0, logprobs: null, finish_reason: 'stop' },
            message: { refusal: null, ...message },
          },
        ],
      },
    },
  )
  const call = { id: 't', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }
  const parsed = { ...call, function: { name: 'g', arguments: { b: [1] } } }
  assert.deepEqual(
    await answered(chat, {
      ...{ ...head, usage: { prompt_tokens: 2, completion_tokens: 3 } },
      choices: [{ message: { tool_calls: [call, parsed] }, finish_reason: 'time_limit' }],
    }),
    {
      status: 200,
      body: {
        ...base,
        choices: [
          {
            ...{ index: 0, logprobs: null, finish_reason: 'length' },
            message: {
              ...{ role: 'assistant', content: null, refusal: null },
              tool_calls: [call, { ...call, function: { name: 'g', arguments: '{"b":[1]}' } }],
            },
          },
        ],
      },
    },
  )
})

test('an error keeps its status and speaks OpenAI', async () => {
  const chat = translate(watsonxChat, { messages: MESSAGES })
  const listed = { errors: [{ code: 'model_not_supported', message: 'No x' }], trace: 't-1' }
  const rows = [
    [404, listed, 'No x (trace t-1)', 'invalid_request_error', 'model_not_supported'],
    [
      401,
      { errorCode: 'BXNIM0407E', errorMessage: 'No' },
      'No',
      'authentication_error',
      'BXNIM0407E',
    ],
    [403, { errors: [] }, "The provider's API answered 403", 'permission_error', null],
    [429, 'slow down', "The provider's API answered 429", 'rate_limit_error', null],
    [503, { errors: [{ message: 'x' }] }, 'x', 'server_error', null],
    [500, '', "The provider's API answered 500", 'server_error', null],
  ] as const
  for (const [status, said, message, type, code] of rows) {
    const error = { message, type, param: null, code }
    assert.deepEqual(await answered(chat, said, status), { status, body: { error } })
  }
})

test('a success that is none is the upstream’s failure', async () => {
  for (const isStream of [false, true]) {
    const chat = translate(watsonxChat, { messages: MESSAGES, stream: isStream })
    for (const said of ['', 'html', '[]', '{}', '{"choices":{}}']) {
      await assert.rejects(
        answered(chat, said),
        (error: unknown) => error instanceof RouterError && error.code === 'upstream_broken',
      )
    }
  }
})

const STREAM = [
  'id: 1\nevent: message\ndata: {"id":"c","created":1,"model_id":"m","choices":[{"index":0,"finish_reason":null,"delta":{"role":"assistant","content":""}}]}',
  ': a comment',
  'id: 2\ndata: {"id":"c","created":1,"choices":[{"index":0,"delta":{"content":"é\\n€😀"}}],"usage":{"completion_tokens":1}}',
  'data: {"id":"c","created":1,"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"f","arguments":""}}]}}]}',
  'data: {"id":"c","created":1,"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"t","type":"function","function":{"name":"","arguments":"{}"}}]}}]}',
  'data: {"id":"c","created":1,"choices":[{"index":0,"finish_reason":"tool_calls","delta":{}}]}',
  'data: {"id":"c","created":1,"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5}}',
  'event: close\ndata: {}',
]

function eventsOf(text: string): readonly unknown[] {
  assert.ok(text.endsWith('\n\n'))
  return text
    .slice(0, -2)
    .split('\n\n')
    .filter(event => event !== ':')
    .map(event => {
      assert.match(event, /^data: .*$/)
      const data = event.slice('data: '.length)
      return data === '[DONE]' ? data : JSON.parse(data)
    })
}

function expectedEvents(wantsUsage: boolean): readonly unknown[] {
  const head = { id: 'c', created: 1, model: 'the-model', object: 'chat.completion.chunk' }
  const rest = wantsUsage ? { usage: null } : {}
  const step = (delta: unknown, finish_reason: string | null = null) => ({
    ...{ ...head, ...rest },
    choices: [{ index: 0, delta, logprobs: null, finish_reason }],
  })
  const first = { index: 0, id: 't', type: 'function', function: { name: 'f', arguments: '' } }
  const usage = { prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 }
  return [
    step({ role: 'assistant', content: '' }),
    step({ content: 'é\n€😀' }),
    step({ tool_calls: [first] }),
    step({ tool_calls: [{ index: 0, function: { arguments: '{}' } }] }),
    step({}, 'tool_calls'),
    ...(wantsUsage ? [{ ...head, choices: [], usage }] : []),
    '[DONE]',
  ]
}

function stream(wantsUsage = false) {
  const rest = wantsUsage ? { stream_options: { include_usage: true } } : {}
  return translate(watsonxChat, { messages: MESSAGES, stream: true, ...rest }, ADDRESS)
}

test('a stream is OpenAI’s however its bytes are cut and its lines end', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('\n', '\r\n', '\r'),
      fc.boolean(),
      fc.boolean(),
      fc.array(fc.nat(1_500), { maxLength: 40 }),
      async (lineEnd, wantsUsage, isWhole, cuts) => {
        const end = isWhole ? `${lineEnd}${lineEnd}` : ''
        const text = STREAM.join('\n\n').replaceAll('\n', lineEnd) + end
        const bytes = Buffer.from(text)
        const places = [0, ...cuts.toSorted((one, other) => one - other), bytes.length]
        const chunks = places.map((at, index) => bytes.subarray(at, places[index + 1] ?? at))
        const { body } = await streamedBack(stream(wantsUsage), chunks)
        assert.deepEqual(eventsOf(await textOf(body)), expectedEvents(wantsUsage))
      },
    ),
    { seed },
  )
})

test('each chunk’s events go out before the next chunk is asked for', async () => {
  let asked = 0
  function* chunks(): Generator<string> {
    for (const event of STREAM) {
      asked += 1
      yield `${event}\n\n`
    }
  }
  const { body, headers } = await streamedBack(stream(), chunks())
  assert.deepEqual(headers, ['x-more', '1', 'content-type', 'text/event-stream; charset=utf-8'])
  const events = body[Symbol.asyncIterator]()
  assert.equal(asked, 0)
  await events.next()
  assert.equal(asked, 1)
  const comment = await events.next()
  assert.equal(Buffer.from(comment.value ?? []).toString(), ':\n\n', 'a sign of life passes')
  assert.equal(asked, 2)
  await events.return?.()
})

test('an error in the middle of a stream is told as OpenAI tells it', async () => {
  const said = '{"errors":[{"code":"throttled","message":"Too much"}],"status_code":429}'
  for (const [event, error] of [
    [`data: ${said}`, { message: 'Too much', type: 'rate_limit_error', code: 'throttled' }],
    [
      'event: error\ndata: {}',
      {
        message: "The provider's API broke the stream off",
        ...{ type: 'server_error', code: null },
      },
    ],
  ] as const) {
    const { body } = await streamedBack(stream(), [`${STREAM[0]}\n\n${event}\n\n`])
    assert.deepEqual(eventsOf(await textOf(body)).at(1), { error: { ...error, param: null } })
  }
})

test('a stream that breaks stays broken, also when it only looks like an end', async () => {
  const broken = new UpstreamError('broken', 'reset')
  const rows: readonly (readonly (string | Error)[])[] = [
    [`${STREAM[0]}\n\n`, broken],
    [`${STREAM[0]}\n\n`],
    [],
    [`${STREAM[0]}\n\ndata: {"cho`],
    ['data: no json\n\n'],
    [`data: ${'x'.repeat(4 * 1024 * 1024)}`],
  ]
  for (const chunks of rows) {
    const { body } = await streamedBack(stream(), chunks)
    await assert.rejects(textOf(body), UpstreamError)
  }
})

test('an answer that came compressed all the same is not guessed at', async () => {
  const { answer } = translate(watsonxChat, { messages: MESSAGES })
  const body = (async function* () {
    yield Buffer.from('x')
  })()
  assert.ok(answer !== null)
  await assert.rejects(
    answer({ status: 200, headers: ['Content-Encoding', 'gzip'], body }),
    (error: unknown) => error instanceof RouterError && error.code === 'upstream_broken',
  )
})
