// Goal: the doctor names the step that fails, says what to do, and leaves everything as it was.
// Method: a real gateway over gRPC against the lab, whose faults make each step fail in turn.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { after, before, beforeEach, test } from 'node:test'
import {
  openaiProvider,
  refusal,
  startTestGateway,
  type TestGateway,
  vertexProvider,
} from '../../test/support/gateway.ts'
import { callUnary } from '../wire/client.ts'
import { Doctor, type Step } from '../wire/gen/openshell/doctor/v1/doctor_pb.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'

const MODEL = 'claude-3-7-sonnet'

let world: TestGateway
before(async () => {
  world = await startTestGateway()
  const config = { OPENAI_BASE_URL: `${world.lab.origin}/openai/v1` }
  const openai = { ...openaiProvider(world.lab, 'oa'), config }
  for (const provider of [vertexProvider(world.lab, 'vx'), openai])
    await world.call(OpenShell.method.createProvider, { provider })
})
after(() => world[Symbol.asyncDispose]())
beforeEach(() => world.lab.faults.clear())

const check = async (provider: string, modelId = ''): Promise<Record<string, Step>> => {
  const { steps } = await world.call(Doctor.method.checkProvider, { provider, modelId })
  assert.deepEqual(
    steps.map(step => step.name),
    ['decode', 'resolve', 'mint', 'probe'],
  )
  return Object.fromEntries(steps.map(step => [step.name, step]))
}
const outcomes = (steps: Record<string, Step>): string =>
  Object.values(steps)
    .map(step => step.outcome)
    .join(' ')

test('a healthy provider passes all four steps, and nothing of it is stored', async () => {
  await world.call(Inference.method.setInferenceRoute, { providerName: 'vx', modelId: MODEL })
  const before = await standing('vx')
  const steps = await check('vx')
  assert.equal(outcomes(steps), 'ok ok ok ok')
  const host = new URL(world.lab.origin).host
  assert.match(steps.decode?.message ?? '', /^Type google-vertex-ai, with GOOGLE_SERVICE_ACCOUNT/)
  assert.match(
    steps.resolve?.message ?? '',
    new RegExp(`^Reached API host ${host}, token host ${host} within \\d+ ms, model ${MODEL}@2025`),
  )
  assert.match(steps.mint?.message ?? '', /^Got a token for 60 min, which is not stored$/)
  assert.match(steps.probe?.message ?? '', /^POST .*\/count-tokens:rawPredict answered 200$/)
  for (const step of Object.values(steps)) assert.deepEqual([step.code, step.advice], ['', ''])
  assert.deepEqual(await standing('vx'), before)
})

test('a static key has nothing to mint, and its list of models is asked', async () => {
  const steps = await check('oa')
  assert.equal(outcomes(steps), 'ok ok skipped ok')
  assert.match(steps.probe?.message ?? '', /^GET .*\/v1\/models answered 200$/)
})

test('without a route and without a list there is no model to ask, unless one is named', async () => {
  await world.call(OpenShell.method.createProvider, {
    provider: vertexProvider(world.lab, 'unrouted'),
  })
  const steps = await check('unrouted')
  assert.equal(outcomes(steps), 'ok ok ok skipped')
  assert.equal(steps.probe?.code, 'no_model')
  assert.match(steps.probe?.advice ?? '', /--model/)
  assert.equal((await check('unrouted', MODEL)).probe?.outcome, 'ok')
})

interface Row {
  readonly fault: string
  readonly step: string
  readonly code: string
  readonly says: RegExp
  readonly outcomes: string
}

const reason = (word: string) =>
  JSON.stringify({
    error: { code: 403, message: 'No.', status: 'PERMISSION_DENIED', details: [{ reason: word }] },
  })

const NO_MODEL = JSON.stringify({
  error: { code: 404, message: 'Publisher Model x was not found.', status: 'NOT_FOUND' },
})

test('each failure is told at its step, with the vendor’s code and what to do', async () => {
  await world.call(Inference.method.setInferenceRoute, { providerName: 'vx', modelId: MODEL })
  const minted = 'ok ok failed skipped'
  const probed = 'ok ok ok failed'
  const rows: readonly Row[] = [
    {
      fault: 'google.token status=503',
      step: 'mint',
      code: 'oauth_token_endpoint_retryable',
      says: /answered 503/,
      outcomes: minted,
    },
    {
      fault: 'google.token reset=before',
      step: 'mint',
      code: 'oauth_token_endpoint_unavailable',
      says: /Cannot reach token endpoint/,
      outcomes: minted,
    },
    {
      fault: 'google.token status=401 error=disabled_client',
      step: 'mint',
      code: 'google_disabled_client',
      says: /disabled_client.*Enable the service account/,
      outcomes: minted,
    },
    {
      fault: "google.token status=400 error=invalid_grant description='Invalid JWT Signature.'",
      step: 'mint',
      code: 'google_invalid_signature',
      says: /Invalid JWT Signature.*create a new key/,
      outcomes: minted,
    },
    {
      fault: `vertex status=403 body='${reason('SERVICE_DISABLED')}'`,
      step: 'probe',
      code: 'google_api_disabled',
      says: /answered 403 SERVICE_DISABLED: No\..*services enable/,
      outcomes: probed,
    },
    {
      fault: `vertex status=403 body='${reason('IAM_PERMISSION_DENIED')}'`,
      step: 'probe',
      code: 'google_permission_denied',
      says: /IAM_PERMISSION_DENIED.*roles\/aiplatform.user/,
      outcomes: probed,
    },
    {
      fault: `vertex status=404 body='${NO_MODEL}'`,
      step: 'probe',
      code: 'google_model_not_found',
      says: /count-tokens.*NOT_FOUND: Publisher Model.*Model Garden/,
      outcomes: probed,
    },
    {
      fault: 'vertex status=401',
      step: 'probe',
      code: 'api_unauthenticated',
      says: /401 UNAUTHENTICATED/,
      outcomes: probed,
    },
    {
      fault: 'vertex status=429',
      step: 'probe',
      code: 'google_quota_exhausted',
      says: /RESOURCE_EXHAUSTED/,
      outcomes: probed,
    },
    {
      fault: 'vertex status=503',
      step: 'probe',
      code: 'api_trouble',
      says: /UNAVAILABLE/,
      outcomes: probed,
    },
    {
      fault: 'vertex body=<html>',
      step: 'probe',
      code: 'api_unexpected',
      says: /200 with something that is no JSON.*proxy/,
      outcomes: probed,
    },
    {
      fault: 'vertex reset=before',
      step: 'probe',
      code: 'api_unreachable',
      says: /gave no answer/,
      outcomes: probed,
    },
  ]
  for (const row of rows) {
    world.lab.faults.set(row.fault)
    const steps = await check('vx')
    world.lab.faults.clear()
    const { code = '', message = '', advice = '' } = steps[row.step] ?? {}
    assert.deepEqual([outcomes(steps), code], [row.outcomes, row.code], row.fault)
    assert.match(`${message} ${advice}`, row.says)
    assert.notEqual(advice, '')
  }
})

test('a clock that is off is a warning while the vendor still takes the key', async () => {
  world.lab.faults.set('google.token date_offset=-1h')
  const { mint } = await check('vx')
  assert.deepEqual([mint?.outcome, mint?.code], ['warning', 'clock_skew'])
  assert.match(mint?.message ?? '', /the vendor's clock is 60 min behind this machine's$/)
})

test('nothing stays of an examination: the next one has to learn the clock anew', async () => {
  world.lab.faults.set('google.token clock_offset=2h')
  for (const _ of [1, 2]) assert.equal((await check('vx')).mint?.code, 'clock_skew')
})

test('key and configuration that no longer pass are told by the first steps', async () => {
  const { store } = world
  const provider = await store.getProvider('default', 'vx')
  assert.ok(provider !== null)
  const rows = [
    { config: 'http://127.0.0.1:9', step: 'decode', code: 'endpoint_forbidden' },
    { config: 'https://x/v2/nowhere', step: 'decode', code: 'endpoint_forbidden' },
  ]
  for (const { config, step, code } of rows) {
    const place = { ...provider, name: `broken-${code}-${rows.length}`, id: `id-${config}` }
    await store.createProvider({ ...place, config: new Map([['VERTEX_BASE_URL', config]]) }, [])
    const steps = await check(place.name)
    await store.deleteProvider('default', place.name)
    assert.equal(outcomes(steps), 'failed skipped skipped skipped')
    assert.deepEqual([steps[step]?.code, steps[step]?.outcome], [code, 'failed'])
    assert.match(steps[step]?.advice ?? '', /--allow-endpoint/)
  }
})

test('a host that cannot be reached is named, the token host apart from the API host', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  await new Promise(resolve => server.close(resolve))
  const closed = `127.0.0.1:${address.port}`
  const lab = new URL(world.lab.origin).host
  await using other = await startTestGateway({ alsoAllow: [closed, lab] })
  const key = JSON.parse(other.lab.serviceAccountKey())
  const provider = (name: string, changes: object) => {
    const wire = vertexProvider(other.lab, name)
    return { provider: { ...wire, ...changes }, noVerify: true }
  }
  await other.call(
    OpenShell.method.createProvider,
    provider('no-api', {
      config: { VERTEX_BASE_URL: `http://${closed}/v1/projects/demo-project/locations/us-east1` },
    }),
  )
  await other.call(
    OpenShell.method.createProvider,
    provider('no-token', {
      credentials: {
        GOOGLE_SERVICE_ACCOUNT_JSON: JSON.stringify({
          ...key,
          token_uri: `http://${closed}/token`,
        }),
      },
    }),
  )
  const rows = [
    { name: 'no-api', what: 'API host', outcomes: 'ok failed ok skipped' },
    { name: 'no-token', what: 'token host', outcomes: 'ok failed skipped skipped' },
  ]
  for (const row of rows) {
    const { steps } = await other.call(Doctor.method.checkProvider, { provider: row.name })
    assert.equal(steps.map(step => step.outcome).join(' '), row.outcomes)
    assert.equal(steps[1]?.code, 'connect_failed')
    assert.equal(steps[1]?.message, `Cannot reach ${row.what} ${closed}: connect (ECONNREFUSED)`)
  }
})

test('no secret is in any step, also when the vendor echoes what it got', async () => {
  await world.call(Inference.method.setInferenceRoute, { providerName: 'oa', modelId: 'gpt-5' })
  const key = world.lab.openaiKey().reveal()
  const echo = JSON.stringify({ error: { message: `Incorrect API key provided: ${key}` } })
  world.lab.faults.set(`openai status=401 body='${echo}'`)
  const { probe } = await check('oa')
  assert.equal(probe?.code, 'openai_invalid_api_key')
  assert.match(probe?.message ?? '', /Incorrect API key provided: \[secret\]$/)
  assert.ok(!world.lines.join('\n').includes(key))
})

test('only an administrator may ask, and only for what exists', async () => {
  const { channel } = await world.sandbox('s')
  const asked = callUnary(
    channel,
    Doctor.method.checkProvider,
    { provider: 'vx' },
    { timeoutMs: 10_000 },
  )
  await assert.rejects(asked, refusal('permission_denied'))
  const unknown = world.call(Doctor.method.checkProvider, { provider: 'nobody' })
  await assert.rejects(unknown, refusal('not_found'))
})

/** All that is stored of a provider and its token. */
async function standing(name: string): Promise<unknown> {
  const provider = await world.store.getProvider('default', name)
  assert.ok(provider !== null)
  const credentials = await world.store.listCredentials(provider.id)
  return { provider, credentials }
}
