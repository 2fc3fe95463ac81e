// Goal: a sandbox's environment holds what was configured and what a profile describes, and no variable
// twice. Method: a real gateway over gRPC, as OpenShell's supervisor asks it.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { refusal, startTestGateway, type TestGateway, until } from '../../test/support/gateway.ts'
import { callUnary } from '../wire/client.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import { ProviderCredentialRefreshStrategy } from '../wire/gen/openshell/v1/refresh_pb.ts'
import { profileFromDocument } from '../wire/profile.ts'

const { method } = OpenShell

let world: TestGateway
before(async () => {
  world = await startTestGateway()
  const refresh = {
    strategy: 'oauth2_client_credentials',
    token_url: `${world.lab.origin}/oauth2/token`,
  }
  const profile = profileFromDocument({
    ...{ id: 'acme', display_name: 'Acme' },
    credentials: [
      { name: 'token', env_vars: ['ACME_TOKEN'], refresh },
      { name: 'seed', env_vars: ['ACME_SEED'] },
    ],
    endpoints: [{ host: 'api.acme.test', ports: [443, 8_443] }],
  })
  await world.call(method.importProviderProfiles, { profiles: [{ profile, source: '' }] })
})
after(() => world[Symbol.asyncDispose]())

const add = (name: string, type: string, credentials: Record<string, string> = {}) =>
  world.call(method.createProvider, { provider: { metadata: { name }, type, credentials } })
const configure = (provider: string, credentialKey = 'ACME_TOKEN') => {
  const { clientId, clientSecret } = world.lab.registerOauthClient({ method: 'post' })
  return world.call(method.configureProviderRefresh, {
    ...{ provider, credentialKey },
    strategy: ProviderCredentialRefreshStrategy.OAUTH2_CLIENT_CREDENTIALS,
    material: { client_id: clientId, client_secret: clientSecret.reveal() },
  })
}
async function environmentOf(name: string, providers: readonly string[]) {
  const { channel } = await world.sandbox(name)
  for (const providerName of providers) {
    await world.call(method.attachSandboxProvider, { sandboxName: name, providerName })
  }
  const { sandbox } = await world.call(method.getSandbox, { name })
  const sandboxId = sandbox?.metadata?.id ?? ''
  return callUnary(
    channel,
    method.getSandboxProviderEnvironment,
    { sandboxId },
    { timeoutMs: 9_000 },
  )
}

test('a tool’s key goes where its profile says, and nowhere else', async () => {
  await add('gh', 'github', { GITHUB_TOKEN: 'made-up', SOMETHING: 'else' })
  const answer = await environmentOf('tools', ['gh'])
  assert.equal(answer.environment.GITHUB_TOKEN, 'made-up')
  assert.equal(answer.environment.SOMETHING, undefined)
  const hosts = answer.staticCredentialBindings.GITHUB_TOKEN?.endpoints.map(one => one.host)
  assert.deepEqual(new Set(hosts), new Set(['api.github.com', 'github.com']))
})

test('a configured token is there with its end; what no request carries is not', async () => {
  await add('configured', 'acme', { ACME_SEED: 'never-told' })
  await configure('configured')
  await until(async () => {
    const { credentials } = await world.call(method.getProviderRefreshStatus, {
      provider: 'configured',
    })
    return credentials[0]?.status === 'refreshed'
  }, 'a token')
  const answer = await environmentOf('acme', ['configured'])
  const issued = world.lab.tokens().map(one => one.value.reveal())
  assert.ok(issued.includes(answer.environment.ACME_TOKEN ?? ''))
  assert.ok((answer.credentialExpiresAtMs.ACME_TOKEN ?? 0n) > BigInt(Date.now()))
  assert.equal(answer.environment.ACME_SEED, undefined)
  const ports = answer.staticCredentialBindings.ACME_TOKEN?.endpoints.map(one => one.port)
  assert.deepEqual(ports, [443, 8_443])
})

test('a key that a neighbour in a sandbox brings is not configured, attached or set', async () => {
  await add('left', 'acme')
  await add('right', 'acme')
  await configure('left')
  await environmentOf('both', ['left', 'right'])
  const taken = refusal('failed_precondition', /both set ACME_TOKEN/)
  await assert.rejects(configure('right'), taken)
  await add('third', 'acme')
  await configure('third')
  const third = { sandboxName: 'both', providerName: 'third' }
  await assert.rejects(world.call(method.attachSandboxProvider, third), taken)
})
