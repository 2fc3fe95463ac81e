// Goal: an agent that speaks Vertex AI's own paths gets Claude with the operator's model, place and
// token, whatever it names itself.
// Method: the gateway and a router in this process, before the lab's strict Vertex; plain requests.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { startTestGateway, type TestGateway } from '../support/gateway.ts'
import { startRouter, type TestRouter } from '../support/in-process-router.ts'

const WORKSPACE = 'native'
const AGENTS = '/projects/of-the-agent/locations/europe-west1/publishers/anthropic/models'
const OPERATORS = '/v1/projects/demo-project/locations/us-east1/publishers/anthropic/models'
const MODEL = 'claude-sonnet-4-5@20250929'

const MESSAGES = [{ role: 'user', content: 'hi' }]
const ASK = { anthropic_version: '2026-10-21', max_tokens: 16, messages: MESSAGES }
const ADDED = '"anthropic_version":"vertex-2023-10-16"'

let world: TestGateway
let router: TestRouter

before(async () => {
  world = await startTestGateway()
  await world.call(OpenShell.method.createProvider, {
    provider: {
      metadata: { name: WORKSPACE, workspace: WORKSPACE },
      type: 'vertex',
      credentials: { GOOGLE_SERVICE_ACCOUNT_JSON: world.lab.serviceAccountKey() },
      config: {
        VERTEX_BASE_URL: `${world.lab.origin}/v1/projects/demo-project/locations/us-east1`,
      },
    },
    workspace: WORKSPACE,
  })
  await world.call(Inference.method.setInferenceRoute, {
    ...{ providerName: WORKSPACE, modelId: MODEL, workspace: WORKSPACE },
  })
  router = await startRouter(world, { name: WORKSPACE, workspace: WORKSPACE })
})
after(async () => {
  await router[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

function post(path: string, body: object): Promise<Response> {
  return fetch(`${router.baseUrl}${path}`, {
    method: 'POST',
    headers: {
      authorization: 'Bearer placeholder',
      'content-type': 'application/json',
      'anthropic-beta': 'unknown-to-vertex',
    },
    body: JSON.stringify(body),
  })
}

/** Vertex was last sent this, with a token of its own. */
function assertSent(end: string, body: string): void {
  const sent = world.lab.journal.entries().findLast(({ vendor }) => vendor === 'vertex')
  assert.equal(decodeURIComponent(sent?.path ?? ''), `${OPERATORS}/${end}`)
  assert.equal(Buffer.from(sent?.body ?? []).toString(), body)
  assert.ok(sent?.tokenId)
}

test('rawPredict serves the operator’s model, and the body passes as it is', async () => {
  for (const prefix of ['/v1', '']) {
    const answer = await post(`${prefix}${AGENTS}/claude-opus-4@20250514:rawPredict`, ASK)
    assert.equal(answer.status, 200)
    assert.equal(JSON.parse(await answer.text()).stop_reason, 'end_turn')
    assertSent(`${MODEL}:rawPredict`, JSON.stringify(ASK))
  }
})

test('streamRawPredict streams', async () => {
  const ask = { ...ASK, stream: true }
  const answer = await post(`/v1${AGENTS}/any:streamRawPredict`, ask)
  assert.match(answer.headers.get('content-type') ?? '', /^text\/event-stream/)
  assert.match(await answer.text(), /^event: message_start\n.*event: message_stop\n/s)
  assertSent(`${MODEL}:streamRawPredict`, JSON.stringify(ask))
})

test('counting names the operator’s model in the body', async () => {
  const ask = { model: 'any', messages: MESSAGES }
  const answer = await post(`/v1${AGENTS}/count-tokens:rawPredict`, ask)
  assert.ok(JSON.parse(await answer.text()).input_tokens > 0)
  const body = JSON.stringify({ ...ask, model: MODEL }).slice(1)
  assertSent('count-tokens:rawPredict', `{${ADDED},${body}`)
})

test('a version is added where there is none, and what belongs to a beta goes', async () => {
  const ask = { max_tokens: 16, messages: MESSAGES }
  const answer = await post(`${AGENTS}/any:rawPredict?beta=true`, {
    context_management: { edits: [] },
    ...ask,
  })
  assert.equal(answer.status, 200)
  assertSent(`${MODEL}:rawPredict`, `{${ADDED},${JSON.stringify(ask).slice(1)}`)
})

test('an error of Vertex passes, and one of the router’s own is in Claude’s dialect', async () => {
  const refused = await post(`/v1${AGENTS}/any:rawPredict`, { ...ASK, stream: true })
  assert.equal(refused.status, 400)
  assert.equal(refused.headers.get('x-openshell-error'), null)
  const got = await fetch(`${router.baseUrl}${AGENTS}/any:rawPredict`)
  assert.equal(got.status, 405)
  const { type, error } = JSON.parse(await got.text())
  assert.deepEqual([type, error.type], ['error', 'invalid_request_error'])
})
