// Goal: each way to AWS's session keys, and both kinds of Bedrock API keys, serve Claude and Bedrock's
// own API through a router, and sessions turn over unnoticed.
// Method: the gateway and routers in this process, the lab's strict AWS, which verifies every
// signature by code of its own; the official Anthropic client, and plain requests for Bedrock's paths.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { awsKeys } from '../../src/lab/aws.ts'
import { readAwsEvents } from '../../src/router/translate/aws-event-stream.ts'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { refusal, startTestGateway, type TestGateway } from '../support/gateway.ts'
import { startRouter, type TestRouter } from '../support/in-process-router.ts'

const TOKEN_LIFETIME_MS = 4_000
const LOAD_MS = 8_000
const CLAUDE = 'us.anthropic.claude-sonnet-4-5-20250929-v1:0'

interface Source {
  readonly material: readonly string[]
  readonly config: readonly string[]
  readonly more?: Readonly<Record<string, string>>
}

/** The sources, by the keys that the lab hands out for them. */
const SOURCES: ReadonlyMap<string, Source> = new Map<string, Source>([
  ['role', { material: ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'], config: ['AWS_ROLE_ARN'] }],
  ['user', { material: ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'], config: [] }],
  ['web-identity', { material: [], config: ['AWS_ROLE_ARN', 'AWS_WEB_IDENTITY_TOKEN_FILE'] }],
  [
    'container',
    {
      material: ['AWS_CONTAINER_AUTHORIZATION_TOKEN'],
      config: ['AWS_CONTAINER_CREDENTIALS_FULL_URI'],
    },
  ],
  ['instance', { material: [], config: ['AWS_EC2_METADATA_SERVICE_ENDPOINT'] }],
  [
    'short-term-key',
    {
      material: ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'],
      config: [],
      more: { BEDROCK_AUTH: 'api-key' },
    },
  ],
  ['api-key', { material: ['AWS_BEARER_TOKEN_BEDROCK'], config: [] }],
])

let world: TestGateway
let tokenFolder: string

before(async () => {
  tokenFolder = mkdtempSync(path.join(tmpdir(), 'aws-'))
  world = await startTestGateway({
    ...{ tokenLifetimeMs: TOKEN_LIFETIME_MS, subjectTokenDirs: [tokenFolder] },
  })
  const { audience } = world.lab.aws
  writeFileSync(
    path.join(tokenFolder, 'token'),
    `${world.lab.identityToken({ audience }).reveal()}\n`,
  )
})
after(async () => {
  await world[Symbol.asyncDispose]()
  rmSync(tokenFolder, { recursive: true })
})

test('each source serves Claude, streamed and unstreamed, over two turnovers', async () => {
  const cases = [...SOURCES.keys()].map(async name => {
    await using router = await routerFor(name, CLAUDE)
    const anthropic = claudeAt(router)
    const startedMs = Date.now()
    while (Date.now() - startedMs < LOAD_MS) {
      const message = await anthropic.messages.create(MESSAGE)
      assert.equal(message.stop_reason, 'end_turn', name)
      const streamed = await anthropic.messages.stream(MESSAGE).finalMessage()
      assert.match(JSON.stringify(streamed.content), /You said: hello/, name)
      await new Promise(resolve => setTimeout(resolve, 150))
    }
  })
  await Promise.all(cases)
  const calls = world.lab.journal.entries().filter(({ vendor }) => vendor === 'bedrock')
  assert.deepEqual(
    calls.filter(({ status }) => status !== 200).map(({ status, path: one }) => [status, one]),
    [],
  )
  const sessions = new Set(
    calls.flatMap(({ headers }) =>
      headers.filter(([name]) => name === 'x-amz-security-token').map(([, value]) => value),
    ),
  )
  // Five of the sources sign; each had a session at first and two more.
  assert.ok(sessions.size >= 15, `${sessions.size} sessions`)
  const { user } = world.lab.aws
  const said = world.lines.join('\n')
  assert.ok(!said.includes(user.secretAccessKey.reveal()), 'a long-lived key was logged')
  for (const { value } of world.lab.tokens()) assert.ok(!said.includes(value.reveal()))
})

test('Bedrock’s own paths are served with the operator’s model, and the body as it was sent', async () => {
  await using router = await routerFor('role', CLAUDE, 'native')
  const body = `{ "anthropic_version": "bedrock-2023-05-31", "max_tokens": 16.0,
    "messages": [{"role": "user", "content": "hello"}] }`
  const invoked = await post(router, '/model/anything/invoke', body)
  assert.equal(invoked.status, 200)
  assert.match(await invoked.text(), /You said: hello/)
  const [call] = world.lab.journal.entries().slice(-1)
  assert.equal(call?.path, `/bedrock/model/${encodeURIComponent(CLAUDE)}/invoke`)
  assert.equal(Buffer.from(call?.body ?? []).toString(), body)
  const streamed = await post(router, '/model/anything/invoke-with-response-stream', body)
  assert.equal(streamed.headers.get('content-type'), 'application/vnd.amazon.eventstream')
  assert.deepEqual(new Set(await eventTypes(streamed)), new Set(['chunk']))
  const talk = '{"messages":[{"role":"user","content":[{"text":"hello"}]}]}'
  const conversed = await post(router, '/model/arn%3Aaws%3Ax/converse', talk)
  assert.match(await conversed.text(), /"output":\{"message":.*You said: hello/)
  const events = await eventTypes(await post(router, '/model/m/converse-stream', talk))
  assert.deepEqual([events[0], events.at(-1)], ['messageStart', 'metadata'])
})

test('another family of models, and OpenAI’s own dialect for OpenAI’s models', async () => {
  await using router = await routerFor('user', 'openai.gpt-oss-120b-1:0', 'openai')
  const openai = new OpenAI({ baseURL: `${router.baseUrl}/v1`, apiKey: 'none', maxRetries: 0 })
  const chat = { model: 'any', messages: [{ role: 'user' as const, content: 'hello' }] }
  const { choices } = await openai.chat.completions.create(chat)
  assert.match(choices[0]?.message.content ?? '', /hello/)
  const refused = await post(router, '/v1/messages', JSON.stringify(MESSAGE))
  assert.equal(refused.headers.get('x-openshell-error'), 'protocol_unsupported')
})

test('a session that is over costs one refresh; an error of the model is put into words', async () => {
  await using router = await routerFor('role', CLAUDE, 'dead')
  const anthropic = claudeAt(router)
  await anthropic.messages.create(MESSAGE)
  world.lab.revokeTokens()
  await anthropic.messages.create(MESSAGE)
  await assert.rejects(anthropic.messages.create({ ...MESSAGE, max_tokens: -1 }), {
    status: 400,
    message: /max_tokens/,
  })
})

test('what AWS refuses is said by its code, with what to do, and nothing is stored', async () => {
  const keys = awsKeys(world.lab)
  const wrong: readonly (readonly [Readonly<Record<string, string>>, RegExp])[] = [
    [{ AWS_SECRET_ACCESS_KEY: 'another-secret' }, /SignatureDoesNotMatch.*does not belong/s],
    [{ AWS_ACCESS_KEY_ID: 'AKIANOBODYNOBODY' }, /InvalidClientTokenId.*new access key/s],
    [{ AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/other' }, /AccessDenied.*trust policy/s],
  ]
  for (const [changed, words] of wrong) {
    const values = { ...keys, ...changed }
    await assert.rejects(
      add('role', CLAUDE, { name: 'wrong', values }),
      refusal('mint_refused', words),
    )
  }
})

const MESSAGE = {
  model: 'any',
  max_tokens: 64,
  messages: [{ role: 'user' as const, content: 'hello' }],
}

async function add(
  sourceName: string,
  modelId: string,
  options: { readonly name: string; readonly values: Readonly<Record<string, string>> },
): Promise<void> {
  const { name, values } = options
  const { material = [], config = [], more = {} } = SOURCES.get(sourceName) ?? {}
  const pick = (names: readonly string[]) =>
    Object.fromEntries(names.map(one => [one, values[one] ?? '']))
  const places = ['AWS_REGION', 'AWS_ENDPOINT_URL_STS', 'AWS_ENDPOINT_URL_BEDROCK_RUNTIME']
  const provider = {
    metadata: { name },
    type: 'bedrock',
    credentials: pick(material),
    config: { ...pick([...places, ...config]), ...more },
  }
  await world.call(OpenShell.method.createProvider, { provider, workspace: name })
  const route = { providerName: name, modelId, workspace: name }
  await world.call(Inference.method.setInferenceRoute, route)
}

async function routerFor(source: string, modelId: string, name = source): Promise<TestRouter> {
  const tokenFile = { AWS_WEB_IDENTITY_TOKEN_FILE: path.join(tokenFolder, 'token') }
  const values = { ...awsKeys(world.lab), ...tokenFile }
  await add(source, modelId, { name, values })
  return startRouter(world, { name, workspace: name })
}

function claudeAt({ baseUrl }: TestRouter): Anthropic {
  return new Anthropic({ baseURL: baseUrl, apiKey: 'placeholder', maxRetries: 0 })
}

/** As an AWS SDK would, which signs with whatever keys its agent was given. */
function post({ baseUrl }: TestRouter, target: string, body: string): Promise<Response> {
  const headers = {
    'content-type': 'application/json',
    authorization: 'AWS4-HMAC-SHA256 Credential=placeholder',
    'x-amz-date': '20000101T000000Z',
    'x-amz-security-token': 'placeholder',
    'amz-sdk-invocation-id': 'placeholder',
  }
  return fetch(`${baseUrl}${target}`, { method: 'POST', headers, body })
}

async function eventTypes({ body }: Response): Promise<readonly string[]> {
  const types: string[] = []
  async function* chunks(): AsyncGenerator<Uint8Array> {
    for await (const chunk of body ?? []) yield chunk
  }
  for await (const { headers } of readAwsEvents(chunks())) {
    types.push(headers.get(':event-type') ?? '')
  }
  return types
}
