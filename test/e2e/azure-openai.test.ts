// Goal: each way to a token of Entra ID, and the static key, serve OpenAI's protocols and Claude
// through a router, and tokens turn over unnoticed.
// Method: the gateway and routers in this process, the lab's strict Azure, the official clients.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import type { Lab } from '../../src/lab/running-lab.ts'
import type { Files } from '../../src/system/files.ts'
import { realFiles } from '../../src/system/real.ts'
import { Doctor } from '../../src/wire/gen/openshell/doctor/v1/doctor_pb.ts'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { refusal, startTestGateway, type TestGateway } from '../support/gateway.ts'
import { startRouter, type TestRouter } from '../support/in-process-router.ts'

const TOKEN_LIFETIME_MS = 4_000
const ARC_FOLDER = '/var/opt/azcmagent/tokens'

interface Source {
  readonly material?: Readonly<Record<string, string>>
  readonly config?: Readonly<Record<string, string>>
}

let world: TestGateway
let tokenFolder: string
let tokenFile: string

/** The machine's files, and the folder of the Azure Arc agent, which only its own group can read. */
const files: Files = {
  realPath: file => (isArc(file) ? Promise.resolve(file) : realFiles.realPath(file)),
  read(file, bytesMax) {
    if (!isArc(file)) return realFiles.read(file, bytesMax)
    return Promise.resolve(Buffer.from(world.lab.azure.arcKey(file) ?? ''))
  },
}

before(async () => {
  tokenFolder = mkdtempSync(path.join(tmpdir(), 'entra-'))
  tokenFile = path.join(tokenFolder, 'azure-identity-token')
  world = await startTestGateway({
    ...{ tokenLifetimeMs: TOKEN_LIFETIME_MS, files, subjectTokenDirs: [tokenFolder] },
  })
  writeFileSync(tokenFile, `${identityOf(world.lab)}\n`)
})
after(async () => {
  await world[Symbol.asyncDispose]()
  rmSync(tokenFolder, { recursive: true })
})

/** What tells the sources apart, as their providers are configured. */
function sources({ azure, origin }: Lab): Readonly<Record<string, Source>> {
  const app = {
    AZURE_AUTHORITY_HOST: origin,
    AZURE_TENANT_ID: azure.tenantId,
    AZURE_CLIENT_ID: azure.clientId,
  }
  const endpoint = { IDENTITY_ENDPOINT: `${origin}/metadata/identity/oauth2/token` }
  return {
    secret: { material: { AZURE_CLIENT_SECRET: azure.clientSecret.reveal() }, config: app },
    certificate: {
      material: { AZURE_CLIENT_CERTIFICATE: azure.certificate().pem.reveal() },
      config: app,
    },
    federated: { config: { ...app, AZURE_FEDERATED_TOKEN_FILE: tokenFile } },
    imds: {
      config: {
        AZURE_POD_IDENTITY_AUTHORITY_HOST: origin,
        AZURE_CLIENT_ID: azure.clientId,
      },
    },
    'app-service': {
      material: { IDENTITY_HEADER: azure.identityHeader.reveal() },
      config: { IDENTITY_ENDPOINT: `${origin}/msi/token` },
    },
    arc: { config: { ...endpoint, IMDS_ENDPOINT: origin } },
    key: { material: { AZURE_OPENAI_API_KEY: azure.apiKey.reveal() } },
  }
}

test('each source gets answers over two turnovers', { concurrency: true }, async turnovers => {
  const cases = Object.entries(sources(world.lab)).map(([name, source]) =>
    turnovers.test(name, async () => {
      await add(name, source, 'gpt-5.5')
      await using router = await startRouter(world, { name, workspace: name })
      const openai = openaiAt(router.baseUrl, name)
      const tokens = new Set<string>()
      const startedMs = Date.now()
      while (name === 'key' ? tokens.size < 1 : tokens.size < 3) {
        assert.match(await chat(openai), /hello/)
        assert.match(await streamedChat(openai), /hello/)
        for (const { tokenId, status } of callsOf(name)) {
          tokens.add(tokenId)
          assert.equal(status, 200)
        }
        assert.ok(Date.now() - startedMs < 3 * TOKEN_LIFETIME_MS, 'tokens do not turn over')
        await new Promise(resolve => setTimeout(resolve, 100))
      }
    }),
  )
  await Promise.all(cases)
})

test('every protocol of the v1 API is served', async () => {
  await using router = await routerFor('v1', { ...sources(world.lab).secret }, 'gpt-4o')
  const openai = openaiAt(router.baseUrl, 'v1')
  const response = await openai.responses.create({ model: 'any', input: 'hello' })
  assert.match(response.output_text, /hello/)
  const events = await openai.responses.create({ model: 'any', input: 'hello', stream: true })
  const types = []
  for await (const event of events) types.push(event.type)
  assert.equal(types.at(-1), 'response.completed')
  const { data } = await openai.embeddings.create({ model: 'any', input: 'hello' })
  assert.equal(data.length, 1)
  const models = await openai.models.list()
  assert.ok(models.data.some(model => model.id === 'gpt-4o'))
  assert.equal((await openai.completions.create({ model: 'any', prompt: 'hi' })).model, 'gpt-4o')
  assert.ok(callsOf('v1').every(call => call.path.startsWith('/azure/openai/v1/')))
})

test('a dated version serves by the paths of deployments', async () => {
  const { material, config } = sources(world.lab).certificate ?? {}
  const classic = {
    ...{ AZURE_OPENAI_API_VERSION: '2024-10-21', AZURE_OPENAI_DEPLOYMENT: 'gpt-4o' },
  }
  const source = { material: material ?? {}, config: { ...config, ...classic } }
  await using router = await routerFor('classic', source, 'the-name-of-a-model')
  const openai = openaiAt(router.baseUrl, 'classic')
  assert.match(await chat(openai), /hello/)
  assert.match(await streamedChat(openai), /hello/)
  await openai.models.list()
  const paths = new Set(callsOf('classic').map(({ path: one, query }) => `${one}${query}`))
  assert.deepEqual(
    paths,
    new Set([
      '/azure/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21',
      '/azure/openai/models?api-version=2024-10-21',
    ]),
  )
})

for (const name of ['secret', 'key']) {
  test(`Claude in Foundry answers with ${name}`, async () => {
    const source = sources(world.lab)[name] ?? {}
    await using router = await routerFor(`claude-${name}`, source, 'claude-sonnet-5-5')
    const options = { baseURL: router.baseUrl, apiKey: 'placeholder', maxRetries: 0 }
    const anthropic = new Anthropic(options)
    const request = {
      model: 'any',
      max_tokens: 64,
      messages: [{ role: 'user' as const, content: 'hello' }],
    }
    const message = await anthropic.messages.create(request)
    assert.equal(message.model, 'claude-sonnet-5-5')
    const streamed = await anthropic.messages.stream(request).finalMessage()
    assert.equal(streamed.stop_reason, 'end_turn')
    const counted = await anthropic.messages.countTokens({
      model: 'any',
      messages: request.messages,
    })
    assert.ok(counted.input_tokens > 0)
  })
}

test('a revoked token costs one refresh; a missing role costs none and is passed on', async () => {
  await using router = await routerFor('dead', sources(world.lab).imds ?? {}, 'gpt-5.5')
  const openai = openaiAt(router.baseUrl, 'dead')
  assert.match(await chat(openai), /hello/)
  world.lab.revokeTokens()
  assert.match(await chat(openai), /hello/)
  assert.deepEqual(
    callsOf('dead').map(({ status }) => status),
    [200, 401, 200],
  )
  world.lab.azure.assignRole(false)
  try {
    await assert.rejects(chat(openai), { status: 401, code: 'PermissionDenied' })
    assert.equal(callsOf('dead').length, 4)
  } finally {
    world.lab.azure.assignRole(true)
  }
})

test('what Entra ID refuses is said by its number, with what to do, and nothing is stored', async () => {
  const { config = {} } = sources(world.lab).secret ?? {}
  const material = { AZURE_CLIENT_SECRET: 'another-secret' }
  const wrong: readonly (readonly [Source, RegExp])[] = [
    [{ material, config }, /AADSTS7000215.*entra_wrong_secret.*value/s],
    [{ material, config: { ...config, AZURE_TENANT_ID: 'nobody' } }, /90002.*AZURE_TENANT_ID/s],
    [{ material, config: { ...config, AZURE_CLIENT_ID: 'nobody' } }, /700016.*AZURE_CLIENT_ID/s],
    [
      {
        config: { AZURE_POD_IDENTITY_AUTHORITY_HOST: world.lab.origin, AZURE_CLIENT_ID: 'nobody' },
      },
      /Identity not found.*managed identity/s,
    ],
  ]
  for (const [source, words] of wrong) {
    await assert.rejects(add('wrong', source, 'gpt-5.5'), refusal('mint_refused', words))
  }
})

test('the doctor finds each source in order, and names what the API refuses', async () => {
  for (const name of Object.keys(sources(world.lab))) {
    const outcomes = (await examine(name, 'gpt-5.5')).map(step => step.outcome)
    assert.deepEqual(outcomes, ['ok', 'ok', name === 'key' ? 'skipped' : 'ok', 'ok'], name)
  }
  const missing = (await examine('secret', 'no-such-deployment')).at(-1)
  assert.equal(missing?.code, 'azure_deployment_not_found')
  world.lab.azure.assignRole(false)
  try {
    const refused = (await examine('certificate', 'gpt-5.5')).at(-1)
    assert.equal(refused?.code, 'azure_role_missing')
    assert.match(refused.advice, /Cognitive Services OpenAI User/)
  } finally {
    world.lab.azure.assignRole(true)
  }
})

test('a clock that is off is learnt from Entra ID, with one more try', async () => {
  const { certificate = {} } = sources(world.lab)
  for (const offset of ['10m', '-10m']) {
    world.lab.faults.set(`entra.token clock_offset=${offset}`)
    try {
      await add(`clock${offset}`, certificate, 'gpt-5.5')
    } finally {
      world.lab.faults.clear('entra.token')
    }
  }
})

test('a token file that nobody keeps fresh is said so, and read anew each time', async () => {
  const { federated = {} } = sources(world.lab)
  writeFileSync(tokenFile, identityOf(world.lab, -600_000))
  const words = /AADSTS700024.*entra_assertion_expired.*AZURE_FEDERATED_TOKEN_FILE/s
  await assert.rejects(add('stale', federated, 'gpt-5.5'), refusal('mint_refused', words))
  writeFileSync(tokenFile, identityOf(world.lab))
  await add('stale', federated, 'gpt-5.5')
})

async function add(name: string, source: Source, modelId: string): Promise<void> {
  const provider = {
    metadata: { name },
    type: 'azure',
    credentials: { ...source.material },
    config: { AZURE_OPENAI_ENDPOINT: `${world.lab.origin}/azure`, ...source.config },
  }
  await world.call(OpenShell.method.createProvider, { provider, workspace: name })
  const route = { providerName: name, modelId, workspace: name }
  await world.call(Inference.method.setInferenceRoute, route)
}

/** What `provider doctor` finds, as name, outcome, code and advice. */
async function examine(provider: string, modelId: string) {
  const request = { provider, modelId, workspace: provider }
  const { steps } = await world.call(Doctor.method.checkProvider, request)
  return steps.map(({ name, outcome, code, message, advice }) => ({
    ...{ name, outcome, code, message, advice },
  }))
}

async function routerFor(name: string, source: Source, modelId: string): Promise<TestRouter> {
  await add(name, source, modelId)
  return startRouter(world, { name, workspace: name })
}

/** The official client of an agent that holds a placeholder; its name travels as the user agent. */
function openaiAt(baseUrl: string, name: string): OpenAI {
  return new OpenAI({
    ...{ baseURL: `${baseUrl}/v1`, apiKey: 'placeholder', maxRetries: 0 },
    defaultHeaders: { 'user-agent': `agent-${name}` },
  })
}

const CHAT = { model: 'any', messages: [{ role: 'user' as const, content: 'hello' }] }

async function chat(openai: OpenAI): Promise<string> {
  const { choices } = await openai.chat.completions.create(CHAT)
  return choices[0]?.message.content ?? ''
}

async function streamedChat(openai: OpenAI): Promise<string> {
  let text = ''
  const chunks = await openai.chat.completions.create({ ...CHAT, stream: true })
  for await (const { choices } of chunks) text += choices[0]?.delta.content ?? ''
  return text
}

/** The calls to Azure that came from this agent. */
function callsOf(name: string) {
  return world.lab.journal.entries().filter(({ vendor, headers }) => {
    const agent = headers.find(([header]) => header === 'user-agent')?.[1]
    return vendor === 'azure.openai' && agent === `agent-${name}`
  })
}

function identityOf({ azure, identityToken }: Lab, lifetimeMs = 3_600_000): string {
  const { audience, subject } = azure.federation
  return identityToken({ audience, subject, lifetimeMs }).reveal()
}

function isArc(file: string): boolean {
  return file === ARC_FOLDER || file.startsWith(`${ARC_FOLDER}/`)
}
