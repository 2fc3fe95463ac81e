// Goal: an agent that names every beta it knows is served by clouds that refuse what they do not know.
// Method: the gateway and routers in this process, before the lab's strict Vertex and Bedrock, which
// refuse unknown betas and members as the real ones do; the official client.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import { awsKeys } from '../../src/lab/aws.ts'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { startTestGateway, type TestGateway, vertexProvider } from '../support/gateway.ts'
import { startRouter, type TestRouter } from '../support/in-process-router.ts'

/** What Claude Code and its like name, whatever is behind them. */
const BETAS = [
  ...['claude-code-20250219', 'oauth-2025-04-20', 'interleaved-thinking-2025-05-14'],
  ...['context-management-2025-06-27', 'prompt-caching-scope-2026-01-05'],
  ...['structured-outputs-2025-11-13', 'unheard-of-2099-01-01'],
]
const MARK = { cache_control: { type: 'ephemeral', scope: 'global' } }
const ASK = {
  model: 'any',
  max_tokens: 16,
  context_management: { edits: [] },
  output_format: { type: 'json_schema', schema: {} },
  system: [{ type: 'text', text: 'be brief', ...MARK }],
  messages: [
    {
      role: 'user',
      content: [
        { type: 'text', text: 'hello', ...MARK },
        { type: 'tool_result', tool_use_id: 't', content: [{ type: 'text', text: 'x', ...MARK }] },
      ],
    },
  ],
  tools: [{ name: 't', input_schema: { type: 'object', properties: { scope: {} } }, ...MARK }],
}

let world: TestGateway
before(async () => {
  world = await startTestGateway()
})
after(() => world[Symbol.asyncDispose]())

async function routerFor(name: string, provider: object, modelId: string): Promise<TestRouter> {
  await world.call(OpenShell.method.createProvider, { provider, workspace: name })
  await world.call(Inference.method.setInferenceRoute, {
    ...{ providerName: name, modelId, workspace: name },
  })
  return startRouter(world, { name, workspace: name })
}

async function ask(
  { baseUrl }: TestRouter,
  betas: readonly string[],
  path = '',
): Promise<Response> {
  const { max_tokens: _, ...counted } = ASK
  return fetch(`${baseUrl}/v1/messages${path}`, {
    method: 'POST',
    headers: {
      ...{ 'content-type': 'application/json', 'anthropic-version': '2023-06-01' },
      'anthropic-beta': betas.join(','),
    },
    body: JSON.stringify(path === '' ? ASK : counted),
  })
}

/** The last calls of a vendor: status, header and what the body has of betas. */
function calls(vendor: string, count: number): readonly (readonly unknown[])[] {
  const entries = world.lab.journal.entries().filter(one => one.vendor === vendor)
  return entries
    .slice(-count)
    .map(({ status, headers, body }) => [
      status,
      headers.find(([header]) => header === 'anthropic-beta')?.[1],
      JSON.parse(Buffer.from(body ?? []).toString()).anthropic_beta,
    ])
}

test('Vertex AI gets the betas that it knows, and nothing of the others', async () => {
  const provider = vertexProvider(world.lab, 'vertex')
  await using router = await routerFor('vertex', provider, 'claude-sonnet-4-5')
  const answer = await ask(router, BETAS)
  assert.equal(answer.status, 200, await answer.text())
  const kept = 'claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27'
  assert.deepEqual(calls('vertex', 1), [[200, kept, undefined]])
  const sent = Buffer.from(world.lab.journal.entries().at(-1)?.body ?? []).toString()
  const { model: _, output_format: __, ...rest } = ASK
  const body = JSON.stringify(rest).replaceAll(',"scope":"global"', '').slice(1)
  assert.equal(sent, `{"anthropic_version":"vertex-2023-10-16",${body}`)
  assert.equal((await ask(router, [], '/count_tokens')).status, 400)
  assert.equal((await ask(router, BETAS, '/count_tokens')).status, 200)
})

test('what Vertex AI refuses all the same costs one repetition, once for many requests', async () => {
  const provider = vertexProvider(world.lab, 'twice')
  await using router = await routerFor('twice', provider, 'claude-sonnet-4-5')
  const anthropic = new Anthropic({ apiKey: 'x', baseURL: router.baseUrl, maxRetries: 0 })
  const create = () =>
    anthropic.beta.messages.create({
      ...{ model: 'any', max_tokens: 16, messages: [{ role: 'user', content: 'hello' }] },
      betas: ['web-search-2025-03-05', 'interleaved-thinking-2025-05-14'],
    })
  for (let turn = 0; turn < 3; turn += 1) assert.equal((await create()).stop_reason, 'end_turn')
  const both = 'web-search-2025-03-05,interleaved-thinking-2025-05-14'
  const one = 'interleaved-thinking-2025-05-14'
  assert.deepEqual(calls('vertex', 4), [
    [400, both, undefined],
    ...Array.from({ length: 3 }, () => [200, one, undefined]),
  ])
})

test('Bedrock gets them in the body, and its nameless refusal means all', async () => {
  const keys = awsKeys(world.lab)
  const provider = {
    metadata: { name: 'bedrock', workspace: 'bedrock' },
    type: 'aws-bedrock',
    credentials: { AWS_BEARER_TOKEN_BEDROCK: keys.AWS_BEARER_TOKEN_BEDROCK ?? '' },
    config: {
      AWS_REGION: keys.AWS_REGION ?? '',
      AWS_ENDPOINT_URL_BEDROCK_RUNTIME: keys.AWS_ENDPOINT_URL_BEDROCK_RUNTIME ?? '',
    },
  }
  const model = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'
  await using router = await routerFor('bedrock', provider, model)
  const known = ['claude-code-20250219', 'interleaved-thinking-2025-05-14']
  assert.equal((await ask(router, BETAS)).status, 200)
  assert.equal((await ask(router, [...BETAS, 'compact-2026-01-12'])).status, 200)
  assert.deepEqual(calls('bedrock', 3), [
    [200, undefined, [...known, 'context-management-2025-06-27']],
    [400, undefined, [...known, 'context-management-2025-06-27', 'compact-2026-01-12']],
    [200, undefined, undefined],
  ])
})
