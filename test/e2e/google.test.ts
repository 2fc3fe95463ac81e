// Goal: every source of Google tokens, and every shape of request at Google, serves the official
// clients through turnovers of the token, and typical refusals tell a person what to do.
// Method: the gateway and routers in this process, before the lab's strict Google.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import Anthropic from '@anthropic-ai/sdk'
import OpenAI from 'openai'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { refusal, startTestGateway, type TestGateway } from '../support/gateway.ts'
import { startRouter } from '../support/in-process-router.ts'

type Texts = Readonly<Record<string, string>>

const { method } = OpenShell
const TOKEN_LIFETIME_MS = 2_000
const CLAUDE = 'claude-sonnet-4-5'
const ROBOT = 'robot@demo-project.iam.gserviceaccount.com'

let world: TestGateway
let folder: string

before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'google-'))
  world = await startTestGateway({
    tokenLifetimeMs: TOKEN_LIFETIME_MS,
    subjectTokenDirs: [folder],
    mayExecute: true,
  })
})
afterEach(() => world.lab.faults.clear())
after(async () => {
  await world[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

/** A credential file of the lab's, as material. */
function anyFile(kind: string, parameters: Texts = {}): Texts {
  const json = world.lab.googleCredentials(kind, parameters)
  if (json === null) throw new Error(`The lab knows no ${kind}`)
  return { GOOGLE_APPLICATION_CREDENTIALS_JSON: json }
}

function addProvider(name: string, material: Texts, config: Texts = {}) {
  const provider = {
    metadata: { name, workspace: name },
    type: 'vertex',
    credentials: material,
    config: {
      VERTEX_BASE_URL: `${world.lab.origin}/v1/projects/demo-project/locations/us-east1`,
      ...config,
    },
  }
  return world.call(method.createProvider, { provider, workspace: name })
}

async function statusOf(name: string) {
  const request = { provider: name, workspace: name }
  const { credentials } = await world.call(method.getProviderRefreshStatus, request)
  const [status] = credentials
  assert.ok(status !== undefined)
  return status
}

async function serve(name: string, modelId: string): Promise<void> {
  await world.call(Inference.method.setInferenceRoute, {
    ...{ providerName: name, modelId, workspace: name },
  })
}

/** An unstreamed and a streamed answer of Claude. */
async function askClaude(baseURL: string): Promise<void> {
  const client = new Anthropic({ apiKey: 'placeholder', baseURL, maxRetries: 0 })
  const ask = {
    model: 'any',
    max_tokens: 16,
    messages: [{ role: 'user' as const, content: 'hi' }],
  }
  const whole = await client.messages.create(ask)
  assert.equal(whole.stop_reason, 'end_turn')
  const streamed = await client.messages.stream(ask).finalMessage()
  assert.equal(streamed.stop_reason, 'end_turn')
}

/** An unstreamed and a streamed answer of another model. */
async function askChat(baseUrl: string): Promise<void> {
  const client = new OpenAI({ apiKey: 'placeholder', baseURL: `${baseUrl}/v1`, maxRetries: 0 })
  const ask = { model: 'any', messages: [{ role: 'user' as const, content: 'hi' }] }
  const whole = await client.chat.completions.create(ask)
  assert.equal(whole.choices[0]?.finish_reason, 'stop')
  const stream = await client.chat.completions.create({
    ...{ ...ask, stream: true, stream_options: { include_usage: true } },
  })
  let reason: string | null = null
  for await (const chunk of stream) reason = chunk.choices[0]?.finish_reason ?? reason
  assert.equal(reason, 'stop')
}

/** Whose tokens the model API saw, by this lab's register. */
function subjectsAt(vendor: string): readonly string[] {
  const tokens = new Map(world.lab.tokens().map(token => [token.id, token.subject]))
  return world.lab.journal
    .entries()
    .filter(entry => entry.vendor === vendor)
    .map(entry => tokens.get(entry.tokenId) ?? '')
}

test('every source serves Claude through two turnovers, with the token of who was meant', async () => {
  const { lab } = world
  const subject = 'system:serviceaccount:lab:agent'
  const tokenFile = path.join(folder, 'subject-token')
  const pool = JSON.parse(anyFile('external_account_url').GOOGLE_APPLICATION_CREDENTIALS_JSON ?? '')
  const subjectToken = lab.identityToken({ audience: pool.audience }).reveal()
  writeFileSync(tokenFile, `${subjectToken}\n`)
  const program = path.join(folder, 'program.cjs')
  writeFileSync(
    program,
    `const type = process.env.GOOGLE_EXTERNAL_ACCOUNT_TOKEN_TYPE
    console.log(JSON.stringify({ version: 1, success: true, token_type: type, id_token: ${JSON.stringify(subjectToken)} }))`,
  )
  const command = `${process.execPath} "${program}"`
  const sources: readonly (readonly [name: string, subject: string, Texts, Texts?])[] = [
    ['user', 'person@lab.example', anyFile('authorized_user')],
    ['file', subject, anyFile('external_account_file', { file: tokenFile })],
    ['url', ROBOT, anyFile('external_account_url', { impersonate: ROBOT })],
    ['aws', 'aws:lab-role', anyFile('external_account_aws')],
    ['program', subject, anyFile('external_account_executable', { command })],
    ['workforce', 'principal://workforce/person', anyFile('external_account_authorized_user')],
    ['impersonated', ROBOT, anyFile('impersonated_service_account')],
    ['machine', 'machine', {}, { GCE_METADATA_HOST: new URL(lab.origin).host }],
  ]
  await Promise.all(
    sources.map(async ([name, , material, config = {}]) => {
      await addProvider(name, material, { VERTEX_AI_PROJECT_ID: 'demo-project', ...config })
      await serve(name, CLAUDE)
      await using router = await startRouter(world, { name, workspace: name })
      const first = (await statusOf(name)).generation
      while ((await statusOf(name)).generation < first + 2n) await askClaude(router.baseUrl)
    }),
  )
  assert.equal(lab.counts().unauthorized, 0)
  const wanted = new Set(sources.map(([, who]) => who))
  assert.deepEqual(new Set(subjectsAt('vertex')), wanted)
  const quota = lab.journal.entries().filter(({ vendor }) => vendor === 'vertex')
  assert.ok(quota.some(({ headers }) => headers.some(([name]) => name === 'x-goog-user-project')))
  for (const [name] of sources) {
    await world.call(method.deleteProvider, { name, workspace: name })
  }
})

test('a key signs tokens itself: always, or while Google’s endpoint is down', async () => {
  const key = { GOOGLE_SERVICE_ACCOUNT_JSON: world.lab.serviceAccountKey() }
  const before = world.lab.counts().mints
  await addProvider('always', key, { VERTEX_SELF_SIGNED_JWT: 'always' })
  assert.equal(world.lab.counts().mints, before)
  world.lab.faults.set('google.token status=503')
  await addProvider('fallback', key, { VERTEX_SELF_SIGNED_JWT: 'fallback' })
  for (const name of ['always', 'fallback']) {
    await serve(name, CLAUDE)
    await using router = await startRouter(world, { name, workspace: name })
    await askClaude(router.baseUrl)
    await world.call(method.deleteProvider, { name, workspace: name })
  }
})

test('Mistral, a deployed model, and Claude in a workspace are served in their own shapes', async () => {
  const key = { GOOGLE_SERVICE_ACCOUNT_JSON: world.lab.serviceAccountKey() }
  const shapes: readonly (readonly [name: string, model: string, end: string, Texts?])[] = [
    ['mistral', 'mistral-medium-3', '/models/mistral-medium-3:streamRawPredict'],
    ['codestral', 'codestral-2405', '/models/codestral@2405:streamRawPredict'],
    ['jamba', 'jamba-1.5-large', '/ai21/models/jamba-1.5-large:streamRawPredict'],
    ['llama', 'llama-4-maverick-maas', '/endpoints/openapi/chat/completions'],
    [
      'deployed',
      'gemma',
      '/endpoints/123456/chat/completions',
      { VERTEX_AI_ENDPOINT_ID: '123456' },
    ],
  ]
  for (const [name, model, end, config = {}] of shapes) {
    await addProvider(name, key, config)
    await serve(name, model)
    await using router = await startRouter(world, { name, workspace: name })
    await askChat(router.baseUrl)
    const last = world.lab.journal.entries().findLast(({ vendor }) => vendor === 'vertex')
    assert.ok(decodeURIComponent(last?.path ?? '').endsWith(end), `${last?.path} ends in ${end}`)
  }
  await addProvider('workspace', key, { ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID: 'wrkspc_lab' })
  await serve('workspace', 'claude-sonnet-5-5')
  await using router = await startRouter(world, { name: 'workspace', workspace: 'workspace' })
  await askClaude(router.baseUrl)
  const sent = world.lab.journal.entries().findLast(({ vendor }) => vendor === 'google.claude')
  assert.equal(JSON.parse(Buffer.from(sent?.body ?? []).toString()).model, 'claude-sonnet-5-5')
})

test('a refusal says what to do, and nothing is stored', async () => {
  const { lab } = world
  const user = JSON.parse(anyFile('authorized_user').GOOGLE_APPLICATION_CREDENTIALS_JSON ?? '')
  const stale = { ...user, refresh_token: '1//revoked-some-time-ago' }
  const rejected = (material: Texts, words: RegExp, config: Texts = {}) =>
    assert.rejects(addProvider('refused', material, config), refusal('mint_refused', words))
  await rejected(
    { GOOGLE_APPLICATION_CREDENTIALS_JSON: JSON.stringify(stale) },
    /google_refresh_token_dead.*gcloud auth application-default login/s,
  )
  lab.faults.set('google.iam status=403')
  await rejected(
    anyFile('impersonated_service_account'),
    /google_impersonation_denied.*roles\/iam.serviceAccountTokenCreator/s,
  )
  const federated = anyFile('external_account_url')
  const json = federated.GOOGLE_APPLICATION_CREDENTIALS_JSON ?? ''
  await rejected(
    { GOOGLE_APPLICATION_CREDENTIALS_JSON: json.replace('providers/lab', 'providers/gone') },
    /google_pool_unknown.*workload identity pool/s,
  )
  const expired = path.join(folder, 'expired')
  const { audience } = JSON.parse(json)
  writeFileSync(expired, lab.identityToken({ audience, lifetimeMs: -60_000 }).reveal())
  await rejected(
    anyFile('external_account_file', { file: expired }),
    /google_subject_token_stale.*renews it/s,
  )
  const shown = world.lines.join('\n')
  for (const secret of [user.refresh_token, user.client_secret, '1//revoked-some-time-ago']) {
    assert.ok(!shown.includes(secret), 'a secret stands in the log')
  }
  const { providers } = await world.call(method.listProviders, { workspace: 'refused' })
  assert.deepEqual(providers, [])
})
