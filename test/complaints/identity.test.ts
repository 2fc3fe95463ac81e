// Goal: what people complain of elsewhere about whose token is whose, and about secrets that change or
// leak, does not happen here.
// Method: real gateways, routers and vendors on a clock that only the test moves; the vendors tell who
// asked. Each test names the public threads where the complaint was made.
import assert from 'node:assert/strict'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { AppError } from '../../src/core/errors.ts'
import { Doctor } from '../../src/wire/gen/openshell/doctor/v1/doctor_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { present } from '../store/records.ts'
import { refusal, until, vertexProvider } from '../support/gateway.ts'
import { oauthProvider } from '../support/oauth-provider.ts'
import {
  allServed,
  ask,
  assertNoTokenRefused,
  type ComplaintWorld,
  MINUTE_MS,
  startComplaintWorld,
} from './world.ts'

const { method } = OpenShell

/** Whose token the vendor was shown last. */
function lastSubject(world: ComplaintWorld): string {
  const { tokenId } = present(world.calls('vertex').at(-1))
  return present(world.lab.tokens().find(one => one.id === tokenId)).subject
}

// api7/aisix#779, api7/aisix#780, anthropics/claude-code#726, block/goose#9689, block/goose#9849,
// BerriAI/litellm#13092
test('a rotated key is noticed at once, a wrong one takes nothing down', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'rotated-'))
  await using world = await startComplaintWorld({ subjectTokenDirs: [folder] })
  const { lab, gateway } = world
  await world.serveVertex('default', { email: 'old@demo' })
  const router = await world.router('default')
  await allServed([ask(router)])
  assert.equal(lastSubject(world), 'old@demo')

  const update = (key: string) =>
    gateway.call(method.updateProvider, {
      provider: { metadata: { name: 'vx' }, credentials: { GOOGLE_SERVICE_ACCOUNT_JSON: key } },
    })
  await update(lab.serviceAccountKey({ email: 'new@demo' }))
  await until(() => router.table.current()?.routes[0]?.generation === 2, 'the new token')
  await allServed([ask(router), ask(router)])
  assert.equal(lastSubject(world), 'new@demo')

  lab.serviceAccountKey({ email: 'wrong@demo' })
  lab.disableServiceAccount('wrong@demo')
  await assert.rejects(
    update(lab.serviceAccountKey({ email: 'wrong@demo' })),
    refusal('mint_refused'),
  )
  await allServed([ask(router)])
  assert.equal(lastSubject(world), 'new@demo')
  await world.turnOver('default', 'vx')
  assert.equal(lab.tokens().at(-1)?.subject, 'new@demo')

  // A key in a file, replaced as projected volumes do it.
  const file = path.join(folder, 'token')
  const { azure } = lab
  const project = () => {
    const identity = lab.identityToken({ ...azure.federation, lifetimeMs: 70 * MINUTE_MS }).reveal()
    writeFileSync(`${file}.next`, identity)
    renameSync(`${file}.next`, file)
    return identity
  }
  const sent = () => {
    const body = present(world.calls('entra.token').at(-1)).body ?? []
    return new URLSearchParams(Buffer.from(body).toString()).get('client_assertion')
  }
  const first = project()
  await gateway.call(method.createProvider, {
    provider: {
      ...{ metadata: { name: 'az' }, type: 'azure-openai' },
      config: {
        AZURE_AUTHORITY_HOST: lab.origin,
        AZURE_TENANT_ID: azure.tenantId,
        AZURE_CLIENT_ID: azure.clientId,
        AZURE_FEDERATED_TOKEN_FILE: file,
        AZURE_OPENAI_ENDPOINT: lab.origin,
      },
    },
  })
  assert.equal(sent(), first)
  const second = project()
  await world.turnOver('default', 'az')
  assert.equal(sent(), second)
  assertNoTokenRefused(world)
  rmSync(folder, { recursive: true })
})

// BerriAI/litellm#41251; Higress and Portkey, by their code
test('two accounts, workspaces or scopes that look alike never share a token', async () => {
  await using world = await startComplaintWorld()
  const { lab, gateway } = world
  // The same type, name, host, project and model; only the key differs.
  await world.serveVertex('one', { email: 'one@demo' })
  await world.serveVertex('two', { email: 'two@demo' })
  const [one, two] = await Promise.all([world.router('one'), world.router('two')])
  for (let turnover = 0; turnover < 2; turnover += 1) {
    await Promise.all([ask(one), ask(two)].map(asked => allServed([asked])))
    await allServed([ask(one)])
    assert.equal(lastSubject(world), 'one@demo')
    await allServed([ask(two)])
    assert.equal(lastSubject(world), 'two@demo')
    await world.turnOver('one', 'vx')
  }
  // A refusal of one account's token is no news about the other's.
  const before = await world.credentialOf('two', 'vx')
  lab.revokeTokens({ subject: 'one@demo' })
  await allServed([ask(one)])
  assert.equal((await world.credentialOf('two', 'vx')).generation, before.generation)

  // One client and one secret, two scopes.
  const realms: string[] = []
  for (const resource of ['https://cognitiveservices.azure.com', 'https://ai.azure.com']) {
    const provider = {
      ...{ metadata: { name: `az-${realms.length}` }, type: 'azure-openai' },
      credentials: { AZURE_CLIENT_SECRET: lab.azure.clientSecret.reveal() },
      config: {
        AZURE_AUTHORITY_HOST: lab.origin,
        AZURE_TENANT_ID: lab.azure.tenantId,
        AZURE_CLIENT_ID: lab.azure.clientId,
        AZURE_OPENAI_ENDPOINT: lab.origin,
        AZURE_OPENAI_SCOPE: `${resource}/.default`,
      },
    }
    await gateway.call(method.createProvider, { provider })
    const { token } = await world.credentialOf('default', provider.metadata.name)
    const value = present(token).value.reveal()
    realms.push(present(lab.tokens().find(issued => issued.value.reveal() === value)).realm)
  }
  assert.deepEqual(realms, ['azure.cognitiveservices', 'azure.ai'])
})

// BerriAI/litellm (the watsonx debug log), Portkey 2.0 (cache keys), envoyproxy/ai-gateway#2435,
// envoyproxy/ai-gateway#2508
test('no secret stands in logs, metrics, errors or status, not even one that a vendor repeats', async () => {
  await using world = await startComplaintWorld()
  const { lab, gateway, clock } = world
  await world.serveVertex('default', { email: 'robot@demo' })
  const router = await world.router('default')
  const said: string[] = []
  const hear = async (answer: Promise<unknown>): Promise<unknown> => {
    const heard = await answer.catch((error: unknown) => error)
    said.push(inspect(heard, { depth: 9 }))
    if (heard instanceof AppError) said.push(`${heard.message} ${heard.hint} ${heard.stack}`)
    return heard
  }
  await hear(ask(router))
  await world.turnOver('default', 'vx')
  // A vendor that repeats what it was sent, in every spelling and in every place that has words.
  const key = lab.serviceAccountKey({ email: 'robot@demo' })
  const client = oauthProvider(lab, 'echoed', { method: 'post', refreshes: true })
  const sent = Object.values(client.credentials)
  for (const words of sent.flatMap(spellings)) {
    for (const fault of [
      ['status=400', 'error=invalid_grant', `description=You said ${words}`],
      ['status=200', 'error=invalid_request', `description=${words}`],
      ['status=401', `error=${words}`],
      [`body=<html>${words}</html>`],
    ]) {
      lab.faults.set(['oauth2.token', ...fault, 'count=1'])
      const refused = await hear(gateway.call(method.createProvider, { provider: client }))
      assert.ok(refused instanceof AppError && refused.code === 'mint_refused', inspect(refused))
    }
  }
  const broken = { GOOGLE_SERVICE_ACCOUNT_JSON: key.slice(0, -9) }
  const provider = { ...vertexProvider(lab, 'broken'), credentials: broken }
  await hear(gateway.call(method.createProvider, { provider }))
  lab.faults.clear()
  lab.revokeTokens()
  await hear(ask(router))
  await hear(gateway.call(method.getProviderRefreshStatus, {}))
  await hear(gateway.call(method.getProvider, { name: 'vx' }))
  await hear(gateway.call(method.listProviders, {}))
  await hear(gateway.call(Doctor.method.checkProvider, { provider: 'vx' }))
  await clock.advance(2 * MINUTE_MS)
  for (const page of ['metrics', 'healthz', 'readyz']) {
    await hear(fetch(`${gateway.origin}/${page}`).then(response => response.text()))
  }
  const stored = present(await gateway.store.getProvider('default', 'vx'))
  said.push(inspect([stored, await world.credentialOf('default', 'vx')], { depth: 9 }))
  said.push(inspect(router.table.current(), { depth: 9 }), JSON.stringify(router.table.current()))

  const secrets = [
    ...sent,
    ...lab.tokens().map(one => one.value.reveal()),
    ...JSON.parse(key)
      .private_key.split('\n')
      .filter((line: string) => /^[\w+/=]{20,}$/.test(line)),
    ...assertionsOf(world),
    gateway.adminToken.reveal(),
  ]
  assert.ok(secrets.length > 20 && said.length > 10)
  const logs = [gateway.lines.join(''), world.routerLines.join('')]
  for (const [place, text] of [...said, ...logs].entries()) {
    for (const secret of secrets) {
      for (const form of spellings(secret))
        assert.ok(!text.includes(form), `a secret in what was said at ${place}`)
    }
  }
})

/** The assertions that the vendor was sent. */
function assertionsOf(world: ComplaintWorld): readonly string[] {
  return world
    .calls('google.token')
    .map(
      call => new URLSearchParams(Buffer.from(call.body ?? []).toString()).get('assertion') ?? '',
    )
    .filter(assertion => assertion !== '')
}

function spellings(secret: string): readonly string[] {
  const bytes = Buffer.from(secret)
  return [
    secret,
    encodeURIComponent(secret),
    JSON.stringify(secret).slice(1, -1),
    bytes.toString('base64'),
    bytes.toString('base64url'),
  ]
}
