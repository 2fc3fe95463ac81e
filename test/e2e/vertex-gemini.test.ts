// Goal: an agent that speaks Gemini's own API gets Vertex AI's Gemini with the operator's model, place
// and token, whatever it names itself, and its placeholder key goes nowhere.
// Method: the gateway and a router in this process, before the lab's strict Vertex; plain requests.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { startTestGateway, type TestGateway, vertexProvider } from '../support/gateway.ts'
import { startRouter, type TestRouter } from '../support/in-process-router.ts'

const MODEL = 'gemini-2.5-flash'
const KEY = 'a-placeholder-that-must-not-leave'
const OPERATORS = '/v1beta1/projects/demo-project/locations/us-east1/publishers/google/models'
const CONTENTS = [{ role: 'user', parts: [{ text: 'hi' }] }]
const ASK = { contents: CONTENTS, generationConfig: { maxOutputTokens: 16 } }

let world: TestGateway
const routers: TestRouter[] = []

before(async () => {
  world = await startTestGateway()
})
after(async () => {
  for (const router of routers) await router[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

async function routerFor(name: string, modelId: string): Promise<string> {
  const provider = vertexProvider(world.lab, name)
  await world.call(OpenShell.method.createProvider, { provider, workspace: name })
  await world.call(Inference.method.setInferenceRoute, {
    ...{ providerName: name, modelId, workspace: name },
  })
  const router = await startRouter(world, { name, workspace: name })
  routers.push(router)
  return router.baseUrl
}

function post(url: string, body: unknown): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-goog-api-key': KEY },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
}

/** Vertex was last sent this, with a token of its own, and the placeholder never. */
function assertSent(target: string, body: string): void {
  const entries = world.lab.journal.entries()
  const sent = entries.findLast(({ vendor }) => vendor === 'vertex')
  assert.equal(`${sent?.path}${sent?.query}`, `${OPERATORS}/${target}`)
  assert.equal(Buffer.from(sent?.body ?? []).toString(), body)
  assert.ok(sent?.tokenId)
  assert.ok(!JSON.stringify(entries).includes(KEY))
  assert.ok(!world.lines.some(line => line.includes(KEY)))
}

test('generateContent serves the operator’s model on every path that SDKs know', async () => {
  const base = await routerFor('all-paths', MODEL)
  const vertex = 'projects/of-the-agent/locations/europe-west1/publishers/google/models'
  for (const place of [
    ...['v1beta/models', 'v1/models', 'v1alpha/models', 'v1beta1/publishers/google/models'],
    ...[`v1beta1/${vertex}`, `v1/${vertex}`],
  ]) {
    const answer = await post(`${base}/${place}/gemini-9-ultra:generateContent?key=${KEY}`, ASK)
    assert.equal(answer.status, 200, place)
    const { candidates, modelVersion } = JSON.parse(await answer.text())
    assert.equal(modelVersion, MODEL)
    assert.match(candidates[0].content.parts[0].text, /You said: hi/)
    assertSent(`${MODEL}:generateContent`, JSON.stringify(ASK))
  }
})

test('a model in the body and what the Gemini API alone takes go; all other bytes stay', async () => {
  const base = await routerFor('bytes', MODEL)
  const url = `${base}/v1beta/models/any:generateContent`
  const rest = `"contents" : ${JSON.stringify(CONTENTS)}, "labels":{"n":"1"}`
  const sent = `{"model":"models/other", ${rest}, "store" : true}`
  assert.equal((await post(url, sent)).status, 200)
  assertSent(`${MODEL}:generateContent`, `{ ${rest}}`)
  const refused = await post(url, { ...ASK, cachedContents: 'x' })
  assert.equal(refused.status, 400)
  assert.equal(refused.headers.get('x-openshell-error'), null)
  assert.match(await refused.text(), /Unknown name \\"cachedContents\\"/)
})

test('who does not say who speaks speaks for the user, in a body of up to 4 MiB', async () => {
  const base = await routerFor('roles', MODEL)
  const url = `${base}/v1beta/models/any:generateContent`
  const body = (text: string) => `{"contents":[{ "parts":[{"text":"${text}"}]}]}`
  const filled = (text: string) => body(text).replace('[{ "', '[{"role":"user", "')
  for (const text of ['hi', 'x'.repeat(1_000_000)]) {
    assert.equal((await post(url, body(text))).status, 200)
    assertSent(`${MODEL}:generateContent`, filled(text))
  }
  const large = await post(url, body('x'.repeat(5_000_000)))
  assert.equal(large.status, 400)
  assert.match(await large.text(), /Please use a valid role/)
})

test('a stream comes as events with alt=sse, else as one array', async () => {
  const base = await routerFor('streams', MODEL)
  const url = `${base}/v1beta/models/any:streamGenerateContent`
  const ask = { contents: [{ role: 'user', parts: [{ text: 'lab:events=3,size=4' }] }] }
  const events = await post(`${url}?alt=sse&fields=x&quotaUser=y`, ask)
  assert.match(events.headers.get('content-type') ?? '', /^text\/event-stream/)
  const pieces = (await events.text()).split('\r\n\r\n').slice(0, -1)
  const said = pieces.map(piece => JSON.parse(piece.replace(/^data: /, '')))
  assert.equal(said.map(one => one.candidates[0].content.parts[0].text).join(''), '0 ..1 ..2 ..')
  assert.equal(said.at(-1).candidates[0].finishReason, 'STOP')
  assertSent(`${MODEL}:streamGenerateContent?alt=sse`, JSON.stringify(ask))
  const array = await post(url, ask)
  assert.match(array.headers.get('content-type') ?? '', /^application\/json/)
  assert.equal(JSON.parse(await array.text()).length, 4)
  assertSent(`${MODEL}:streamGenerateContent`, JSON.stringify(ask))
})

test('a tool is called, and tokens are counted', async () => {
  const base = await routerFor('tools', MODEL)
  const parameters = {
    type: 'OBJECT',
    properties: { city: { type: 'STRING' }, days: { type: 'INTEGER' } },
    required: ['city', 'days'],
  }
  const asked = await post(`${base}/v1beta/models/any:generateContent`, {
    contents: [{ role: 'user', parts: [{ text: 'lab:tool' }] }],
    tools: [{ functionDeclarations: [{ name: 'weather', parameters }] }],
  })
  const { functionCall } = JSON.parse(await asked.text()).candidates[0].content.parts[0]
  assert.deepEqual(functionCall, { name: 'weather', args: { city: 'lab', days: 1 } })
  const counted = await post(`${base}/v1beta/models/any:countTokens`, {
    ...{ model: 'models/any', contents: CONTENTS },
  })
  assert.ok(JSON.parse(await counted.text()).totalTokens > 0)
  assertSent(`${MODEL}:countTokens`, JSON.stringify({ contents: CONTENTS }))
})

test('the list of models is the one that is served, in Gemini’s form, and chat still works', async () => {
  const base = await routerFor('models', MODEL)
  const model = {
    name: `models/${MODEL}`,
    displayName: MODEL,
    description: 'Served by models',
    supportedGenerationMethods: ['generateContent', 'countTokens'],
  }
  const headers = { 'x-goog-api-key': KEY }
  const get = async (path: string) => (await fetch(`${base}${path}`, { headers })).json()
  assert.deepEqual(await get('/v1beta/models?pageSize=50'), { models: [model] })
  assert.deepEqual(await get('/v1/models'), { models: [model] })
  assert.deepEqual(await get(`/v1/models/${MODEL}`), model)
  assert.deepEqual(await get('/v1beta/models/other'), {
    error: {
      ...{ code: 404, status: 'NOT_FOUND' },
      message: `inference.local serves the model "${MODEL}" and no other`,
    },
  })
  const plain = await (await fetch(`${base}/v1/models`)).json()
  assert.equal(JSON.parse(JSON.stringify(plain)).data[0].id, `google/${MODEL}`)
  const chat = await post(`${base}/v1/chat/completions`, {
    ...{ model: 'any', messages: [{ role: 'user', content: 'hi' }] },
  })
  assert.equal(chat.status, 200)
})

test('a token that was revoked costs one replay, and a broken stream says so', async () => {
  const base = await routerFor('trouble', MODEL)
  const { mints } = world.lab.counts()
  world.lab.revokeTokens()
  assert.equal((await post(`${base}/v1beta/models/any:generateContent`, ASK)).status, 200)
  assert.ok(world.lab.counts().mints > mints)
  world.lab.faults.set('vertex break_after=2 count=1')
  const broken = await post(`${base}/v1beta/models/any:streamGenerateContent?alt=sse`, ASK)
  const chunks: string[] = []
  const read = async () => {
    for await (const chunk of broken.body ?? []) chunks.push(Buffer.from(chunk).toString())
  }
  await assert.rejects(read())
  assert.match(
    chunks.join(''),
    /\n\ndata: {"error":{"code":502,"message":"[^"]+","status":"UNAVAILABLE"}}\n\n$/,
  )
})

test('a route to Claude answers Gemini’s calls in Google’s dialect', async () => {
  const base = await routerFor('claude', 'claude-sonnet-4-5')
  const refused = await post(`${base}/v1beta/models/any:generateContent`, ASK)
  assert.equal(refused.status, 400)
  assert.equal(refused.headers.get('x-openshell-error'), 'protocol_unsupported')
  const { error } = JSON.parse(await refused.text())
  assert.deepEqual([error.code, error.status], [400, 'INVALID_ARGUMENT'])
  assert.match(error.message, /does not serve gemini_generate_content.*anthropic_messages/)
})

test('embedding models embed for Gemini’s clients too', async () => {
  const base = await routerFor('embedder', 'text-embedding-005')
  const content = { parts: [{ text: 'one' }] }
  const url = `${base}/v1beta/models/any`
  const one = await post(`${url}:embedContent`, { content, outputDimensionality: 4 })
  assert.equal(JSON.parse(await one.text()).embedding.values.length, 4)
  const requests = [
    { model: 'models/any', content, taskType: 'RETRIEVAL_QUERY' },
    { model: 'models/any', content },
  ]
  const two = await post(`${url}:batchEmbedContents`, { requests })
  const { embeddings } = JSON.parse(await two.text())
  assert.deepEqual(embeddings[0], embeddings[1])
  const own = `${base}/v1beta1/publishers/google/models/any:predict`
  const three = await post(own, { instances: [{ content: 'one' }] })
  const [prediction] = JSON.parse(await three.text()).predictions
  assert.deepEqual(prediction.embeddings.values, embeddings[0].values)
  const refused = await post(`${url}:embedContent`, { content, taskType: 'JUGGLING' })
  assert.equal(refused.status, 400)
  assert.equal(JSON.parse(await refused.text()).error.status, 'INVALID_ARGUMENT')
})
