// Goal: OpenAI's client gets embeddings of Vertex AI, which speaks nothing like OpenAI.
// Method: the gateway and a router in this process, the lab's strict Vertex, the official client.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import OpenAI from 'openai'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { startTestGateway, type TestGateway, vertexProvider } from '../support/gateway.ts'
import { startRouter, type TestRouter } from '../support/in-process-router.ts'

const TOKEN_LIFETIME_MS = 3_000

let world: TestGateway

before(async () => {
  world = await startTestGateway({ tokenLifetimeMs: TOKEN_LIFETIME_MS })
})
after(() => world[Symbol.asyncDispose]())

test('texts become vectors over two turnovers, in both forms and of the size asked for', async () => {
  await using router = await routerFor('many', 'text-embedding-005')
  const openai = openaiAt(router)
  const startedMs = Date.now()
  while (Date.now() - startedMs < TOKEN_LIFETIME_MS * 1.5) {
    const input = ['one', 'two']
    const compact = await openai.embeddings.create({ model: 'any', input, dimensions: 8 })
    const plain = await openai.embeddings.create({
      ...{ model: 'any', input, dimensions: 8, encoding_format: 'float' },
    })
    assert.deepEqual(
      compact.data.map(one => [...one.embedding]),
      plain.data.map(one => one.embedding),
    )
    assert.deepEqual(
      plain.data.map(one => one.embedding.length),
      [8, 8],
    )
    assert.equal(plain.model, 'text-embedding-005')
    assert.ok(plain.usage.total_tokens > 0)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  const { unauthorized, mints } = world.lab.counts()
  assert.equal(unauthorized, 0)
  assert.ok(mints >= 3, `${mints} mints`)
})

test('what Vertex refuses is OpenAI’s error, and what is not served is said', async () => {
  await using router = await routerFor('one', 'google/gemini-embedding-001')
  const openai = openaiAt(router)
  const { data } = await openai.embeddings.create({ model: 'any', input: 'one' })
  assert.equal(data.length, 1)
  await assert.rejects(openai.embeddings.create({ model: 'any', input: ['one', 'two'] }), {
    status: 400,
    code: 'INVALID_ARGUMENT',
    message: /takes 1 to 1 instances/,
  })
  const messages = [{ role: 'user' as const, content: 'hi' }]
  await assert.rejects(openai.chat.completions.create({ model: 'any', messages }), {
    status: 400,
    code: 'protocol_unsupported',
  })
})

async function routerFor(name: string, modelId: string): Promise<TestRouter> {
  const provider = vertexProvider(world.lab, name)
  await world.call(OpenShell.method.createProvider, { provider, workspace: name })
  const route = { providerName: name, modelId, workspace: name }
  await world.call(Inference.method.setInferenceRoute, route)
  return startRouter(world, { name, workspace: name })
}

function openaiAt({ baseUrl }: TestRouter): OpenAI {
  return new OpenAI({ apiKey: 'placeholder', baseURL: `${baseUrl}/v1`, maxRetries: 0 })
}
