// Goal: each way to a token of IBM's serves OpenAI's client through a router, chat and embeddings
// translated, and tokens turn over unnoticed.
// Method: the gateway and routers in this process, the lab's strict IBM, the official client.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import OpenAI from 'openai'
import type { Lab } from '../../src/lab/running-lab.ts'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { refusal, startTestGateway, type TestGateway } from '../support/gateway.ts'
import { startRouter, type TestRouter } from '../support/in-process-router.ts'

const TOKEN_LIFETIME_MS = 3_000
const MODEL = 'ibm/granite-3-3-8b-instruct'
const TOOLS: OpenAI.ChatCompletionTool[] = [
  {
    type: 'function',
    function: {
      name: 'weather',
      strict: true,
      parameters: {
        type: 'object',
        properties: { city: { type: 'string' }, strict: { type: 'boolean' } },
        required: ['city', 'strict'],
        additionalProperties: false,
      },
    },
  },
]

interface Source {
  readonly material?: Readonly<Record<string, string>>
  readonly config?: Readonly<Record<string, string>>
}

let world: TestGateway
let folder: string
let tokenFile: string

before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'ibm-'))
  tokenFile = path.join(folder, 'sa-token')
  world = await startTestGateway({ tokenLifetimeMs: TOKEN_LIFETIME_MS, subjectTokenDirs: [folder] })
  writeFileSync(tokenFile, `${world.lab.identityToken({ audience: 'iam' }).reveal()}\n`)
})
after(async () => {
  await world[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

function sources({ ibm, origin }: Lab): Readonly<Record<string, Source>> {
  const cloud = { IBM_IAM_URL: origin, WATSONX_PROJECT_ID: ibm.projectId }
  const space = { WATSONX_SPACE_ID: ibm.spaceId }
  const user = { ...space, WATSONX_USERNAME: ibm.username }
  return {
    'api-key': { material: { IBM_CLOUD_API_KEY: ibm.apiKey.reveal() }, config: cloud },
    profile: {
      config: { ...cloud, IBM_PROFILE_ID: ibm.profileId, IBM_CR_TOKEN_FILE: tokenFile },
    },
    vpc: {
      config: {
        ...{ ...space, WATSONX_AUTH: 'vpc', IBM_VPC_METADATA_URL: origin },
        IBM_PROFILE_NAME: ibm.profileName,
      },
    },
    password: { material: { WATSONX_PASSWORD: ibm.password.reveal() }, config: user },
    'user-key': { material: { IBM_CLOUD_API_KEY: ibm.userApiKey.reveal() }, config: user },
    console: {
      material: { WATSONX_APIKEY: ibm.apiKey.reveal() },
      config: { ...cloud, WATSONX_AUTH: 'mcsp' },
    },
    zen: {
      material: { IBM_CLOUD_API_KEY: ibm.userApiKey.reveal() },
      config: { ...user, WATSONX_AUTH: 'zen' },
    },
  }
}

test('each source gets answers over two turnovers', { concurrency: true }, async turnovers => {
  const cases = Object.entries(sources(world.lab)).map(([name, source]) =>
    turnovers.test(name, async () => {
      await add(name, source)
      await using router = await startRouter(world, { name, workspace: name })
      const openai = openaiAt(router)
      const startedMs = Date.now()
      while (Date.now() - startedMs < TOKEN_LIFETIME_MS * 2) {
        const answer = await openai.chat.completions.create(ask('hi'))
        assert.match(answer.choices[0]?.message.content ?? '', /You said: hi/)
        const text = await streamed(openai, 'lab:events=3,interval=20ms')
        assert.match(text, /^0 \.+1 \.+2 \.+$/)
        await new Promise(resolve => setTimeout(resolve, 150))
      }
    }),
  )
  await Promise.all(cases)
  const { unauthorized, broken } = world.lab.counts()
  assert.deepEqual({ unauthorized, broken }, { unauthorized: 0, broken: 0 })
  const { profileId, username } = world.lab.ibm
  const subjects = Map.groupBy(world.lab.tokens(), token => token.subject)
  // Two of the sources are the profile's, and two the user's.
  for (const [subject, least] of [
    ['IBMid-lab', 3],
    ['lab-service-id', 3],
    [profileId, 6],
    [username, 6],
  ] as const) {
    const { length } = subjects.get(subject) ?? []
    assert.ok(length >= least, `${subject} has had ${length} tokens`)
  }
})

test('tools are called, streamed and not', async () => {
  await using router = await configured('tools')
  const openai = openaiAt(router)
  const whole = await openai.chat.completions.create({ ...ask('lab:tool'), tools: TOOLS })
  assert.equal(whole.choices[0]?.finish_reason, 'tool_calls')
  const [call] = whole.choices[0]?.message.tool_calls ?? []
  assert.ok(call?.type === 'function' && call.id !== '')
  assert.equal(call.function.name, 'weather')
  assert.deepEqual(JSON.parse(call.function.arguments), { city: 'lab', strict: true })
  const again = await openai.chat.completions.create({
    ...ask('lab:tool'),
    tools: TOOLS,
    messages: [
      { role: 'developer', content: 'Be brief' },
      { role: 'user', content: 'weather?' },
      ...(whole.choices[0] === undefined ? [] : [whole.choices[0].message]),
      { role: 'tool', tool_call_id: call.id, content: 'sunny' },
    ],
  })
  assert.match(again.choices[0]?.message.content ?? '', /You said: sunny/)
  const stream = openai.chat.completions.stream({
    model: 'any',
    messages: [{ role: 'user', content: 'lab:tool' }],
    tools: TOOLS,
    tool_choice: 'auto',
    stream_options: { include_usage: true },
  })
  const final = await stream.finalChatCompletion()
  const [streamedCall] = final.choices[0]?.message.tool_calls ?? []
  assert.ok(streamedCall?.type === 'function')
  assert.equal(streamedCall.function.name, 'weather')
  assert.deepEqual(JSON.parse(streamedCall.function.arguments), { city: 'lab', strict: true })
  assert.ok((final.usage?.total_tokens ?? 0) > 0)
})

test('embeddings come as floats, and in the compact form that the client asks for by itself', async () => {
  await using router = await configured('embeddings')
  const openai = openaiAt(router)
  const input = ['one', 'two']
  const compact = await openai.embeddings.create({ model: 'any', input })
  const plain = await openai.embeddings.create({ model: 'any', input, encoding_format: 'float' })
  assert.equal(compact.data.length, 2)
  assert.deepEqual(
    compact.data.map(one => [...one.embedding]),
    plain.data.map(one => one.embedding),
  )
  assert.ok(compact.usage.prompt_tokens > 0)
  await assert.rejects(openai.embeddings.create({ model: 'any', input, dimensions: 4 }), {
    status: 400,
  })
})

test('a deployment is reached by its id, and the list of models is the router’s own', async () => {
  const { deploymentId } = world.lab.ibm
  await using router = await configured('deployment', `deployment/${deploymentId}`)
  const openai = openaiAt(router)
  const answer = await openai.chat.completions.create(ask('hi'))
  assert.equal(answer.model, deploymentId)
  const models = await openai.models.list()
  assert.deepEqual(
    models.data.map(model => model.id),
    [deploymentId],
  )
})

test('the model gateway is passed through', async () => {
  await using router = await configured('gateway', 'lab-model', { WATSONX_MODEL_GATEWAY: 'true' })
  const openai = openaiAt(router)
  assert.match(await streamed(openai, 'hi'), /You said: hi/)
  const { data } = await openai.embeddings.create({ model: 'any', input: 'one' })
  assert.equal(data.length, 1)
  assert.equal((await openai.models.list()).data[0]?.id, 'lab-model')
})

test('an error of the API is one of OpenAI’s, with its status; a broken stream ends broken', async () => {
  await using router = await configured('errors')
  const openai = openaiAt(router)
  await assert.rejects(openai.post('/chat/completions', { body: { ...ask('hi'), frequency: 1 } }), {
    status: 400,
    code: 'invalid_request_entity',
    message: /unknown member/,
  })
  world.lab.faults.set('watsonx status=429 retry_after=7 count=1')
  await assert.rejects(openai.chat.completions.create(ask('hi')), {
    status: 429,
    type: 'rate_limit_error',
  })
  world.lab.faults.set('watsonx break_after=3 count=1')
  await assert.rejects(streamed(openai, 'lab:events=9'))
})

test('a revoked token is replaced and the agent sees an answer', async () => {
  await using router = await configured('revoked')
  const openai = openaiAt(router)
  await openai.chat.completions.create(ask('hi'))
  world.lab.revokeTokens({ realm: 'ibm' })
  const answer = await openai.chat.completions.create(ask('again'))
  assert.match(answer.choices[0]?.message.content ?? '', /You said: again/)
})

test('what is refused is said when the provider is added', async () => {
  const { lab } = world
  const right = sources(lab)['api-key'] ?? {}
  const wrong = { IBM_CLOUD_API_KEY: 'no-such-key' }
  await assert.rejects(
    add('wrong-key', { ...right, material: wrong }),
    /BXNIM0415E|Provided API key could not be found/,
  )
  const both = { ...right.config, WATSONX_SPACE_ID: lab.ibm.spaceId }
  await assert.rejects(
    add('both', { ...right, config: both }),
    refusal('invalid_config', /only one/),
  )
})

async function configured(
  name: string,
  model = MODEL,
  config: Readonly<Record<string, string>> = {},
): Promise<TestRouter> {
  const source = sources(world.lab)['api-key'] ?? {}
  await add(name, { ...source, config: { ...source.config, ...config } }, model)
  return startRouter(world, { name, workspace: name })
}

async function add(name: string, { material = {}, config = {} }: Source, model = MODEL) {
  const { origin } = world.lab
  await world.call(OpenShell.method.createProvider, {
    provider: {
      metadata: { name },
      type: 'ibm-watsonx',
      credentials: material,
      config: { WATSONX_URL: origin, ...config },
    },
    workspace: name,
  })
  await world.call(Inference.method.setInferenceRoute, {
    providerName: name,
    modelId: model,
    workspace: name,
  })
}

function openaiAt({ baseUrl }: TestRouter): OpenAI {
  return new OpenAI({ apiKey: 'placeholder', baseURL: `${baseUrl}/v1`, maxRetries: 0 })
}

function ask(content: string): OpenAI.ChatCompletionCreateParamsNonStreaming {
  return { model: 'any', messages: [{ role: 'user', content }] }
}

async function streamed(openai: OpenAI, content: string): Promise<string> {
  let text = ''
  const stream = await openai.chat.completions.create({ ...ask(content), stream: true })
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? ''
  return text
}
