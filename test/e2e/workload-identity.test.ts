// Goal: a provider without any stored key serves the official clients by its workload's identity.
// Method: a real gateway and router; the lab's Anthropic takes each identity token once, so that the
// file behind it is renewed as a cluster would.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import { FEDERATION } from '../../src/lab/workload-identity.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { refusal, startTestGateway, type TestGateway } from '../support/gateway.ts'
import { askOpenai, serve, statusOf } from '../support/oauth-provider.ts'
import { type ServingRouter, startServingRouter } from '../support/serving-router.ts'

const FOLDER = '/var/run/secrets/lab'
/** What the identity token files are for: their name is the path of the vendor's token endpoint. */
const FILES = { anthropic: '/anthropic/v1/oauth/token', openai: '/openai/oauth/token' }

let world: TestGateway
let router: ServingRouter
before(async () => {
  world = await startTestGateway({
    tokenLifetimeMs: 2_000,
    subjectTokenDirs: [FOLDER],
    files: {
      realPath: async name => name,
      async read(name) {
        const audience = `${world.lab.origin}${name.slice(FOLDER.length)}`
        return Buffer.from(world.lab.identityToken({ audience }).reveal())
      },
    },
  })
  router = await startServingRouter(world)
})
after(async () => {
  await router[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

const upper = (ids: Readonly<Record<string, string>>, vendor: string) =>
  Object.fromEntries(
    Object.entries(ids).map(([name, id]) => [`${vendor}_${name.toUpperCase()}`, id]),
  )

const anthropicProvider = (config: Readonly<Record<string, string>> = {}) => ({
  metadata: { name: 'claude' },
  type: 'anthropic',
  config: {
    ...upper(FEDERATION.anthropic, 'ANTHROPIC'),
    ANTHROPIC_IDENTITY_TOKEN_FILE: `${FOLDER}${FILES.anthropic}`,
    ANTHROPIC_BASE_URL: `${world.lab.origin}/anthropic/v1`,
    ...config,
  },
})

const add = (provider: object) =>
  world.call(OpenShell.method.createProvider, { provider: { ...provider } })

test('Anthropic: two turnovers by identity, the agent’s betas beside ours, no key anywhere', async () => {
  await add(anthropicProvider())
  await serve(world, 'claude', 'claude-sonnet-5-5')
  // What the gateway asked to validate the route is no request of the agent.
  const asked = world.lab.journal.entries().length
  const client = new Anthropic({
    apiKey: 'placeholder',
    baseURL: router.baseUrl,
    maxRetries: 0,
    defaultHeaders: { 'anthropic-beta': 'context-management-2025-06-27' },
  })
  const request = {
    model: 'any',
    max_tokens: 64,
    messages: [{ role: 'user' as const, content: 'hi' }],
  }
  const first = (await statusOf(world, 'claude')).generation
  do {
    assert.equal((await client.messages.create(request)).stop_reason, 'end_turn')
    const final = await client.messages.stream(request).finalMessage()
    assert.equal(final.stop_reason, 'end_turn')
  } while ((await statusOf(world, 'claude')).generation < first + 2n)
  const entries = world.lab.journal.entries().slice(asked)
  const calls = entries.filter(entry => entry.vendor === 'anthropic')
  for (const { headers, status } of calls) {
    assert.equal(status, 200)
    const betas = headers.filter(([name]) => name === 'anthropic-beta').map(([, value]) => value)
    assert.deepEqual(betas, ['context-management-2025-06-27,oauth-2025-04-20'])
    assert.ok(!headers.some(([name]) => name === 'x-api-key'))
  }
})

test('OpenAI: an identity serves the client, too', async () => {
  await add({
    metadata: { name: 'gpt' },
    type: 'openai',
    config: {
      ...upper(FEDERATION.openai, 'OPENAI'),
      OPENAI_IDENTITY_TOKEN_FILE: `${FOLDER}${FILES.openai}`,
      OPENAI_TOKEN_URL: `${world.lab.origin}${FILES.openai}`,
      OPENAI_BASE_URL: `${world.lab.origin}/openai/v1`,
    },
  })
  await serve(world, 'gpt', 'gpt-5.5')
  const first = (await statusOf(world, 'gpt')).generation
  do await askOpenai(router.baseUrl)
  while ((await statusOf(world, 'gpt')).generation < first + 2n)
})

test('what cannot work is refused in words', async () => {
  const other = (config: Readonly<Record<string, string>>) => ({
    ...anthropicProvider(config),
    metadata: { name: 'other' },
  })
  const rule = other({ ANTHROPIC_FEDERATION_RULE_ID: 'fdrl_of_somebody_else' })
  await assert.rejects(add(rule), refusal('mint_refused', /match the federation rule/))
  const half = other({ ANTHROPIC_ORGANIZATION_ID: '' })
  await assert.rejects(add(half), refusal('invalid_config', /ANTHROPIC_ORGANIZATION_ID is missing/))
  const both = { ...other({}), credentials: { ANTHROPIC_API_KEY: 'sk-test' } }
  await assert.rejects(add(both), refusal('invalid_config', /are both given/))
  const outside = other({ ANTHROPIC_IDENTITY_TOKEN_FILE: '/etc/passwd' })
  await assert.rejects(add(outside), refusal('mint_refused', /allowed folder/))
})
