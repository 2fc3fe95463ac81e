// Goal: every grant of `oauth2` serves the official clients without a failed request, and what the
// server refuses is said in words.
// Method: a real gateway and router before the lab's strict authorization server.
import assert from 'node:assert/strict'
import path from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { refusal, startTestGateway, type TestGateway, until } from '../support/gateway.ts'
import { askOpenai, oauthProvider, serve, statusOf } from '../support/oauth-provider.ts'
import { type ServingRouter, startServingRouter } from '../support/serving-router.ts'

const { method } = OpenShell
const TOKEN_LIFETIME_MS = 2_000
const SUBJECT_TOKEN_DIR = '/var/run/secrets/lab'

let world: TestGateway
let router: ServingRouter
let subjectToken = ''
before(async () => {
  world = await startTestGateway({
    tokenLifetimeMs: TOKEN_LIFETIME_MS,
    subjectTokenDirs: [SUBJECT_TOKEN_DIR],
    files: { realPath: async name => name, read: async () => Buffer.from(subjectToken) },
  })
  router = await startServingRouter(world)
})
afterEach(() => world.lab.faults.clear())
after(async () => {
  await router[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

const add = (provider: ReturnType<typeof oauthProvider>) =>
  world.call(method.createProvider, { provider })

test('client credentials in every form, and token exchange, serve the OpenAI client', async () => {
  subjectToken = world.lab
    .identityToken({ audience: `${world.lab.origin}/oauth2`, lifetimeMs: 60_000 })
    .reveal()
  const file = { OAUTH2_SUBJECT_TOKEN_FILE: path.posix.join(SUBJECT_TOKEN_DIR, 'token') }
  const providers = [
    oauthProvider(world.lab, 'by-basic', { config: { OAUTH2_SCOPES: 'inference models' } }),
    oauthProvider(world.lab, 'by-raw-basic', { method: 'basic_raw' }),
    oauthProvider(world.lab, 'by-post', { method: 'post' }),
    oauthProvider(world.lab, 'by-ec-key', { method: 'private_key_jwt' }),
    oauthProvider(world.lab, 'by-rsa-key', { method: 'private_key_jwt', algorithm: 'RS256' }),
    oauthProvider(world.lab, 'by-exchange', { method: 'none', config: file }),
  ]
  for (const provider of providers) {
    await add(provider)
    await serve(world, provider.metadata.name, 'gpt-5.5')
    await until(
      async () => (await statusOf(world, provider.metadata.name)).state === 'valid',
      'a token',
    )
    await askOpenai(router.baseUrl)
  }
  const { lab } = world
  assert.equal(lab.counts().unauthorized, 0)
  const seen = lab.journal.entries().filter(entry => entry.vendor === 'oauth2.openai')
  assert.ok(seen.every(entry => !JSON.stringify(entry.headers).includes('placeholder')))
  for (const { metadata } of providers) await world.call(method.deleteProvider, metadata)
})

test('what the server refuses is said at once, with what to do', async () => {
  const wrong = oauthProvider(world.lab, 'wrong', { config: { OAUTH2_SCOPES: 'everything' } })
  await assert.rejects(add(wrong), refusal('mint_refused', /OAUTH2_SCOPES/))
  const secret = {
    ...oauthProvider(world.lab, 'wrong'),
    credentials: { OAUTH2_CLIENT_SECRET: 'not-it-at-all' },
  }
  await assert.rejects(add(secret), refusal('mint_refused', /OAUTH2_CLIENT_ID/))
  const spentBefore = oauthProvider(world.lab, 'wrong', { method: 'post', refreshes: true })
  const stranger = { ...spentBefore.credentials, OAUTH2_REFRESH_TOKEN: 'of-somebody-else' }
  const revoked = add({ ...spentBefore, credentials: stranger })
  await assert.rejects(revoked, refusal('mint_refused', /Sign in again/))
})

test('the Anthropic client is served by an API behind the same server', async () => {
  const config = {
    OAUTH2_BASE_URL: `${world.lab.origin}/oauth2/anthropic/v1`,
    OAUTH2_PROTOCOL: 'anthropic',
  }
  await add(oauthProvider(world.lab, 'claude', { method: 'private_key_jwt', config }))
  await serve(world, 'claude', 'claude-sonnet-5-5')
  const client = new Anthropic({ apiKey: 'placeholder', baseURL: router.baseUrl, maxRetries: 0 })
  const request = {
    model: 'any',
    max_tokens: 64,
    messages: [{ role: 'user', content: 'hi' }],
  } as const
  const first = (await statusOf(world, 'claude')).generation
  do {
    const message = await client.messages.create({ ...request, messages: [...request.messages] })
    assert.equal(message.stop_reason, 'end_turn')
    const stream = client.messages.stream({ ...request, messages: [...request.messages] })
    assert.equal((await stream.finalMessage()).stop_reason, 'end_turn')
  } while ((await statusOf(world, 'claude')).generation < first + 2n)
})
