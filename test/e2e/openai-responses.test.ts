// Goal: an agent that speaks OpenAI's Responses is served where the provider has them, and is told what
// to do where it has not.
// Method: the gateway and a router in this process, the lab's OpenAI and Vertex, the official client.
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { after, before, test } from 'node:test'
import OpenAI from 'openai'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import {
  openaiProvider,
  startTestGateway,
  type TestGateway,
  vertexProvider,
} from '../support/gateway.ts'
import { startRouter, type TestRouter } from '../support/in-process-router.ts'

const MODEL = 'gpt-5.5'

let world: TestGateway
let router: TestRouter
let openai: OpenAI

before(async () => {
  world = await startTestGateway()
  const provider = openaiProvider(world.lab, 'responses')
  const config = { OPENAI_BASE_URL: `${world.lab.origin}/openai/v1` }
  router = await routerFor('responses', { ...provider, config }, MODEL)
  openai = clientOf(router)
})
after(async () => {
  await router[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

async function routerFor(name: string, provider: object, modelId: string): Promise<TestRouter> {
  await world.call(OpenShell.method.createProvider, { provider, workspace: name })
  await world.call(Inference.method.setInferenceRoute, {
    ...{ providerName: name, modelId, workspace: name, verify: false },
  })
  return startRouter(world, { name, workspace: name })
}

function clientOf({ baseUrl }: TestRouter): OpenAI {
  return new OpenAI({ apiKey: 'placeholder', baseURL: `${baseUrl}/v1`, maxRetries: 0 })
}

/** What the vendor was last sent. */
function lastBody(): Record<string, unknown> {
  return JSON.parse(Buffer.from(world.lab.journal.entries().at(-1)?.body ?? []).toString())
}

test('a response comes whole and streamed, and names an earlier one', async () => {
  const first = await openai.responses.create({ model: 'any', input: 'hello' })
  assert.equal(first.model, MODEL)
  const request = { model: 'any', input: 'and then?', previous_response_id: first.id }
  const second = await openai.responses.create({ ...request, store: true })
  assert.match(second.output_text, /and then\?/)
  assert.deepEqual(lastBody(), { ...request, model: MODEL, store: true })
  const types: string[] = []
  for await (const event of await openai.responses.create({ ...request, stream: true })) {
    types.push(event.type)
  }
  assert.deepEqual([types.at(0), types.at(-1)], ['response.created', 'response.completed'])
  const unknown = openai.responses.create({ ...request, previous_response_id: 'nothing' })
  await assert.rejects(unknown, { status: 400, message: /'nothing' not found/ })
})

test('a tool is called and its output goes back', async () => {
  const parameters = {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
  }
  const tools = [{ type: 'function' as const, name: 'weather', parameters, strict: true }]
  const asked = await openai.responses.create({ model: 'any', input: 'lab:tool', tools })
  const [call] = asked.output
  assert.ok(call?.type === 'function_call')
  assert.equal(call.arguments, '{"city":"lab"}')
  const answered = await openai.responses.create({
    ...{ model: 'any', tools, previous_response_id: asked.id },
    input: [{ type: 'function_call_output', call_id: call.call_id, output: 'sunny' }],
  })
  assert.equal(answered.status, 'completed')
})

test('a conversation is compacted where the agent asks for it', async () => {
  const compacted = await openai.responses.compact({ model: MODEL, input: 'a long talk' })
  assert.equal(compacted.object, 'response.compaction')
  assert.ok(compacted.output.some(({ type }) => type === 'compaction'))
})

test('what was stored is not served, and that is said', async () => {
  for (const call of [
    openai.responses.retrieve('resp_12345678'),
    openai.responses.delete('resp_12345678'),
    openai.responses.cancel('resp_12345678'),
    openai.responses.inputItems.list('resp_12345678'),
  ]) {
    await assert.rejects(call, { status: 404, code: 'not_found', message: /no stored responses/ })
  }
})

test('a stream that breaks says so in an event of its own', async () => {
  world.lab.faults.set('openai break_after=4 count=1')
  const read = async () => {
    for await (const _ of await openai.responses.create({
      ...{ model: 'any', input: 'lab:events=9', stream: true },
    }));
  }
  await assert.rejects(read(), { code: 'upstream_broken' })
})

test('a provider without Responses says what it serves', async () => {
  const model = 'gemini-2.5-flash'
  await using other = await routerFor('vertex', vertexProvider(world.lab, 'vertex'), model)
  await assert.rejects(clientOf(other).responses.create({ model: 'any', input: 'hello' }), {
    status: 400,
    code: 'protocol_unsupported',
    message: /does not serve openai_responses. It serves openai_chat_completions.*Have the agent/,
  })
})

test('a WebSocket is refused at once, with the status at which Codex goes on without', async () => {
  const { promise, resolve } = Promise.withResolvers<number>()
  const { hostname, port } = new URL(router.baseUrl)
  const headers = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13' }
  request({ hostname, port, path: '/v1/responses', headers }, ({ statusCode = 0 }) =>
    resolve(statusCode),
  ).end()
  assert.equal(await promise, 426)
})
