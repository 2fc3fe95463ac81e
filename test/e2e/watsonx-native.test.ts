// Goal: an agent that speaks watsonx's own dialect is served, with the operator's model and project.
// Method: the gateway and a router in this process, the lab's strict IBM, requests as its SDK sends.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { startTestGateway, type TestGateway } from '../support/gateway.ts'
import { startRouter, type TestRouter } from '../support/in-process-router.ts'

const MODEL = 'ibm/granite-3-3-8b-instruct'
/** What an agent says; none of it may reach the API. */
const THEIRS = { model_id: 'any/model', project_id: 'their-project' }
const MESSAGES = [{ role: 'user', content: 'hi' }]

let world: TestGateway

before(async () => {
  world = await startTestGateway({})
})
after(async () => {
  await world[Symbol.asyncDispose]()
})

test('chat, streamed chat and embeddings pass as watsonx has them', async () => {
  await using router = await configured('native')
  const chat = await ask(router, 'chat', { ...THEIRS, messages: MESSAGES })
  assert.equal(chat.status, 200)
  const whole: unknown = JSON.parse(chat.text)
  assert.ok(typeof whole === 'object' && whole !== null && 'model_id' in whole)
  assert.equal(whole.model_id, MODEL)
  assert.match(chat.text, /You said: hi/)
  assert.match(chat.text, /"warnings"/)
  const stream = await ask(router, 'chat_stream', { ...THEIRS, messages: MESSAGES })
  assert.equal(stream.status, 200)
  assert.match(stream.text, /^id: 1\nevent: message\ndata: \{/)
  assert.doesNotMatch(stream.text, /\[DONE\]/)
  const vectors = await ask(router, 'embeddings', { ...THEIRS, inputs: ['one', 'two'] })
  assert.equal(vectors.status, 200)
  assert.match(vectors.text, /"results":\[\{"embedding":\[/)
  for (const { text } of [chat, stream, vectors]) assert.doesNotMatch(text, /any\/model/)
})

test('a space pays where the operator says so, and a deployment knows its own', async () => {
  const { spaceId, deploymentId } = world.lab.ibm
  await using inSpace = await configured('space', { payer: { WATSONX_SPACE_ID: spaceId } })
  const said = await ask(inSpace, 'chat', { ...THEIRS, messages: MESSAGES })
  assert.equal(said.status, 200, said.text)
  await using deployed = await configured('deployed', { model: `deployment/${deploymentId}` })
  const answer = await ask(deployed, 'chat', { ...THEIRS, space_id: 'x', messages: MESSAGES })
  assert.match(answer.text, /"model_id":"deployed-model"/)
  const vectors = await ask(deployed, 'embeddings', { ...THEIRS, inputs: ['one'] })
  assert.equal(vectors.status, 400)
  assert.match(vectors.text, /^\{"errors":\[\{"code":"protocol_unsupported"/)
})

test('the version is the agent’s, unless the operator chose one', async () => {
  await using free = await configured('free')
  const body = { ...THEIRS, messages: MESSAGES }
  const none = await ask(free, 'chat', body, '')
  assert.equal(none.status, 400)
  assert.match(none.text, /missing_version/)
  await using chosen = await configured('chosen', { config: { WATSONX_API_VERSION: '2025-02-11' } })
  assert.equal((await ask(chosen, 'chat', body, '')).status, 200)
  assert.equal((await ask(chosen, 'chat', body, '?version=nonsense')).status, 200)
})

test('a refusal passes as watsonx said it, and a revoked token is replaced', async () => {
  await using router = await configured('refusals')
  const wrong = await ask(router, 'chat', { ...THEIRS, messages: [] })
  assert.equal(wrong.status, 400)
  assert.match(wrong.text, /"more_info":/)
  world.lab.revokeTokens({ realm: 'ibm' })
  const again = await ask(router, 'chat', { ...THEIRS, messages: MESSAGES })
  assert.equal(again.status, 200)
})

async function configured(
  name: string,
  options: {
    readonly model?: string
    readonly payer?: Readonly<Record<string, string>>
    readonly config?: Readonly<Record<string, string>>
  } = {},
): Promise<TestRouter> {
  const { origin, ibm } = world.lab
  const { model = MODEL, payer = { WATSONX_PROJECT_ID: ibm.projectId }, config = {} } = options
  await world.call(OpenShell.method.createProvider, {
    provider: {
      metadata: { name },
      type: 'watsonx',
      credentials: { IBM_CLOUD_API_KEY: ibm.apiKey.reveal() },
      config: { WATSONX_URL: origin, IBM_IAM_URL: origin, ...payer, ...config },
    },
    workspace: name,
  })
  await world.call(Inference.method.setInferenceRoute, {
    providerName: name,
    modelId: model,
    workspace: name,
  })
  return startRouter(world, { name, workspace: name })
}

async function ask(
  { baseUrl }: TestRouter,
  operation: string,
  body: unknown,
  query = '?version=2025-02-11',
): Promise<{ readonly status: number; readonly text: string }> {
  const answer = await fetch(`${baseUrl}/ml/v1/text/${operation}${query}`, {
    method: 'POST',
    headers: {
      authorization: 'Bearer placeholder',
      'content-type': 'application/json',
      accept: operation === 'chat_stream' ? 'text/event-stream' : 'application/json',
    },
    body: JSON.stringify(body),
  })
  return { status: answer.status, text: await answer.text() }
}
