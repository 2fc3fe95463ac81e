// Goal: a person configures how a key is refreshed, by every strategy, and OpenShell's rules hold.
// Method: a real gateway over gRPC, the lab's token endpoints, profiles that lead to them.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { refusal, startTestGateway, type TestGateway, until } from '../../test/support/gateway.ts'
import { callUnary, type GatewayChannel } from '../wire/client.ts'
import { Doctor } from '../wire/gen/openshell/doctor/v1/doctor_pb.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import {
  type ConfigureProviderRefreshRequestSchema,
  ProviderCredentialRefreshStrategy as Strategy,
} from '../wire/gen/openshell/v1/refresh_pb.ts'
import { profileFromDocument } from '../wire/profile.ts'

const { method } = OpenShell
type Configuration = MessageInitShape<typeof ConfigureProviderRefreshRequestSchema>

let world: TestGateway
before(async () => {
  world = await startTestGateway()
  const { origin } = world.lab
  const { token_uri: googleUrl } = JSON.parse(world.lab.serviceAccountKey())
  const profile = profileFromDocument({
    id: 'acme',
    display_name: 'Acme',
    inference_capable: true,
    credentials: [
      credential('refreshed', 'ACME_TOKEN', {
        strategy: 'oauth2-refresh-token',
        token_url: `${origin}/oauth2/token`,
        material: [{ name: 'client_id', required: true }],
      }),
      credential('client', 'ACME_CLIENT_TOKEN', {
        strategy: 'OAUTH2_CLIENT_CREDENTIALS',
        token_url: `${origin}/oauth2/token`,
        max_lifetime_seconds: 600,
      }),
      credential('account', 'ACME_GOOGLE_TOKEN', {
        strategy: 'google_service_account_jwt',
        token_url: googleUrl,
        scopes: ['https://www.googleapis.com/auth/cloud-platform'],
      }),
      credential('key_id', 'AWS_ACCESS_KEY_ID', {
        strategy: 'aws_sts_assume_role',
        token_url: `${origin}/aws/sts`,
        additional_outputs: [
          { output: 'secret_access_key', credential: 'secret' },
          { output: 'session_token', credential: 'session' },
        ],
      }),
      { name: 'secret', env_vars: ['AWS_SECRET_ACCESS_KEY'] },
      { name: 'session', env_vars: ['AWS_SESSION_TOKEN'] },
      credential('elsewhere', 'ELSEWHERE_TOKEN', {
        strategy: 'oauth2_client_credentials',
        token_url: 'https://login.evil.test/token',
      }),
      credential('by_hand', 'BY_HAND_TOKEN', { strategy: 'external' }),
    ],
  })
  const answer = await world.call(method.importProviderProfiles, {
    profiles: [{ profile, source: 'test' }],
    workspace: 'default',
  })
  assert.deepEqual(answer.diagnostics, [])
})
after(() => world[Symbol.asyncDispose]())

function credential(name: string, variable: string, refresh: object) {
  return { name, env_vars: [variable], refresh }
}

const add = async (name: string, more: Readonly<Record<string, string>> = {}, type = 'acme') => {
  const config = type === 'acme' ? { BASE_URL: `${world.lab.origin}/oauth2/openai/v1` } : {}
  await world.call(method.createProvider, {
    provider: { metadata: { name }, type, credentials: more, config },
  })
}
const get = async (name: string) => (await world.call(method.getProvider, { name })).provider
const configure = async (provider: string, configuration: Configuration) => {
  const { status } = await world.call(method.configureProviderRefresh, {
    provider,
    ...configuration,
  })
  assert.ok(status !== undefined)
  return status
}
const statusOf = async (provider: string, credentialKey = '') => {
  const answer = await world.call(method.getProviderRefreshStatus, { provider, credentialKey })
  return answer.credentials
}
const rotate = async (provider: string, credentialKey = '') =>
  (await world.call(method.rotateProviderCredential, { provider, credentialKey })).status
const bundleOf = (channel: GatewayChannel) =>
  callUnary(channel, Inference.method.getInferenceBundle, {}, { timeoutMs: 9_000 })
const client = () => {
  const { clientId, clientSecret, refreshToken } = world.lab.registerOauthClient({ method: 'post' })
  return {
    client_id: clientId,
    client_secret: clientSecret.reveal(),
    refresh_token: refreshToken.reveal(),
  }
}
const clientGrant = (material: Readonly<Record<string, string>>): Configuration => ({
  credentialKey: 'ACME_CLIENT_TOKEN',
  strategy: Strategy.OAUTH2_CLIENT_CREDENTIALS,
  material: { ...material },
})

test('client credentials are configured, minted at once, and never told', async () => {
  await add('client')
  const { refresh_token: _token, ...material } = client()
  const configured = await configure('client', clientGrant(material))
  assert.equal(configured.status, 'configured')
  assert.equal(configured.strategy, Strategy.OAUTH2_CLIENT_CREDENTIALS)
  await until(async () => (await statusOf('client'))[0]?.status === 'refreshed', 'a token')
  const [status] = await statusOf('client')
  assert.equal(status?.state, 'valid')
  assert.ok(Number(status?.expiresAtMs) - Date.now() <= 600_000, 'the profile caps the life')
  const provider = await get('client')
  assert.deepEqual(provider?.credentials, { ACME_CLIENT_TOKEN: 'REDACTED' })
  assert.equal(provider?.credentialExpiresAtMs.ACME_CLIENT_TOKEN, status?.expiresAtMs)
  const told = JSON.stringify([status, provider], (_, v) => (typeof v === 'bigint' ? `${v}` : v))
  assert.ok(![material.client_secret, ...world.lines].some(text => told.includes(text)))
  assert.ok(!world.lines.some(line => line.includes(material.client_secret)))
})

test('a rotated refresh token takes the place of the old one, again and again', async () => {
  await add('rotating')
  await configure('rotating', {
    credentialKey: 'ACME_TOKEN',
    strategy: Strategy.OAUTH2_REFRESH_TOKEN,
    material: client(),
    secretMaterialKeys: ['client_secret', 'refresh_token'],
  })
  const first = await rotate('rotating', 'ACME_TOKEN')
  assert.equal(first?.status, 'refreshed')
  const [row] = await world.store.listCredentials(first?.providerId ?? '')
  assert.ok(row?.grant !== null && row?.grant !== undefined)
  // The forced refresh is over its floor as soon as the clock says so; here the row is made due.
  const due = await world.store.saveCredential({ ...row, dueAtMs: Date.now() }, null)
  assert.ok(due)
  await world.call(method.updateProvider, {
    provider: { metadata: { name: 'rotating' }, config: { WAKE: '1' } },
  })
  await until(async () => ((await statusOf('rotating'))[0]?.generation ?? 0n) >= 2n, 'the second')
  const [later] = await world.store.listCredentials(row.providerId)
  assert.notEqual(later?.grant?.epoch, row.grant.epoch)
  const token = (grant: typeof row.grant | null | undefined) =>
    grant?.material.get('refresh_token')?.reveal()
  assert.notEqual(token(later?.grant), token(row.grant))
})

test('a service account is configured by e-mail and private key', async () => {
  await add('account')
  const { client_email, private_key, private_key_id } = JSON.parse(world.lab.serviceAccountKey())
  await configure('account', {
    credentialKey: 'ACME_GOOGLE_TOKEN',
    strategy: Strategy.GOOGLE_SERVICE_ACCOUNT_JWT,
    material: { client_email, private_key, private_key_id },
  })
  assert.equal((await rotate('account'))?.status, 'refreshed')
  const bad = configure('account', {
    credentialKey: 'ACME_GOOGLE_TOKEN',
    strategy: Strategy.GOOGLE_SERVICE_ACCOUNT_JWT,
    material: { client_email, private_key: 'no key' },
  })
  await assert.rejects(bad, refusal('invalid_credential', /private_key/))
})

test('one session of AWS brings three keys', async () => {
  await add('aws')
  const { user, roleArn } = world.lab.aws
  await configure('aws', {
    credentialKey: 'AWS_ACCESS_KEY_ID',
    strategy: Strategy.AWS_STS_ASSUME_ROLE,
    material: {
      role_arn: roleArn,
      aws_access_key_id: user.accessKeyId,
      aws_secret_access_key: user.secretAccessKey.reveal(),
    },
  })
  assert.equal((await rotate('aws', 'AWS_SESSION_TOKEN'))?.status, 'refreshed')
  const keys = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN']
  const provider = await get('aws')
  assert.deepEqual(Object.keys(provider?.credentials ?? {}), keys)
  assert.deepEqual(Object.keys(provider?.credentialExpiresAtMs ?? {}).sort(), keys)
  const other = configure('aws', {
    ...clientGrant(client()),
    credentialKey: 'AWS_SESSION_TOKEN',
  })
  await assert.rejects(other, refusal('failed_precondition', /AWS_SESSION_TOKEN is refreshed/))
  const half = configure('aws', {
    credentialKey: 'AWS_ACCESS_KEY_ID',
    strategy: Strategy.AWS_STS_ASSUME_ROLE,
    material: { role_arn: roleArn, aws_access_key_id: user.accessKeyId },
  })
  await assert.rejects(half, refusal('invalid_argument', /lacks aws_secret_access_key/))
})

test('what can never work is refused, in words, and leaves nothing', async t => {
  await add('refused')
  const material = client()
  const rows: readonly (readonly [string, Configuration, Parameters<typeof refusal>])[] = [
    ['unknown key', { credentialKey: 'a key' }, ['invalid_argument', /name of a variable/]],
    ['no key', { credentialKey: '' }, ['invalid_argument']],
    [
      'static strategy',
      { credentialKey: 'ACME_TOKEN', strategy: Strategy.STATIC },
      ['invalid_argument', /"static"/],
    ],
    ['external by profile', { credentialKey: 'BY_HAND_TOKEN' }, ['invalid_argument', /external/]],
    ['no strategy', { credentialKey: 'OTHER_TOKEN' }, ['invalid_argument', /unspecified/]],
    [
      'address as material',
      { ...clientGrant({ ...material, token_url: 'https://evil.test' }) },
      ['invalid_argument', /"token_url" is no material/],
    ],
    [
      'missing material',
      { credentialKey: 'ACME_TOKEN', strategy: Strategy.OAUTH2_REFRESH_TOKEN },
      ['invalid_argument', /client_id, refresh_token/],
    ],
    ['empty material', clientGrant({ client_id: '' }), ['invalid_argument', /client_id is empty/]],
    [
      'oversized material',
      clientGrant({ ...material, client_secret: 'x'.repeat(8_193) }),
      ['invalid_argument', /longer than 8192/],
    ],
    [
      'time that is none',
      clientGrant({ ...material, refresh_before_seconds: 'soon' }),
      ['invalid_argument', /number of seconds/],
    ],
    [
      'address that nobody allowed',
      { ...clientGrant(material), credentialKey: 'ELSEWHERE_TOKEN' },
      ['endpoint_forbidden', /login\.evil\.test/],
    ],
    [
      'no address',
      { ...clientGrant(material), credentialKey: 'UNKNOWN_TOKEN' },
      ['invalid_config', /Nothing says/],
    ],
  ]
  for (const [label, configuration, expected] of rows) {
    await t.test(label, () =>
      assert.rejects(configure('refused', configuration), refusal(...expected)),
    )
  }
  assert.deepEqual(await statusOf('refused'), [])
  const nobody = configure('nobody', clientGrant(material))
  await assert.rejects(nobody, refusal('not_found'))
})

test('of two that configure a key at once one wins', async () => {
  await add('raced')
  const all = await Promise.allSettled(
    [1, 2, 3].map(() => configure('raced', clientGrant(client()))),
  )
  const lost = all.filter(one => one.status === 'rejected')
  assert.ok(lost.length < 3)
  for (const one of lost) assert.ok(refusal('version_conflict')(one.reason))
  assert.equal((await statusOf('raced')).length, 1)
})

test('a mint that is overtaken by a new configuration, or a deletion, is discarded', async () => {
  await add('overtaken')
  await configure('overtaken', clientGrant(client()))
  await until(async () => (await statusOf('overtaken'))[0]?.status === 'refreshed', 'a token')
  const [read] = await world.store.listCredentials(
    (await statusOf('overtaken'))[0]?.providerId ?? '',
  )
  assert.ok(read !== undefined)
  await configure('overtaken', clientGrant(client()))
  assert.equal(await world.store.saveCredential({ ...read, generation: 99 }, null), null)
  assert.equal(await world.store.keepRotated(read, read.grant?.epoch ?? ''), false)
  const key = { provider: 'overtaken', credentialKey: 'ACME_CLIENT_TOKEN' }
  assert.equal((await world.call(method.deleteProviderRefresh, key)).deleted, true)
  assert.equal((await world.call(method.deleteProviderRefresh, key)).deleted, false)
  assert.equal(await world.store.saveCredential({ ...read, generation: 99 }, null), null)
  assert.deepEqual((await get('overtaken'))?.credentials, {})
})

test('a key that is refreshed is not changed by hand, and is free again afterwards', async () => {
  await add('owned')
  await configure('owned', clientGrant(client()))
  const set = () =>
    world.call(method.updateProvider, {
      provider: { metadata: { name: 'owned' }, credentials: { ACME_CLIENT_TOKEN: 'mine' } },
    })
  await assert.rejects(set(), refusal('failed_precondition', /refreshes ACME_CLIENT_TOKEN/))
  await world.call(method.deleteProviderRefresh, { provider: 'owned' })
  assert.deepEqual((await set()).provider?.credentials, { ACME_CLIENT_TOKEN: 'REDACTED' })
})

test('a static token whose end is told serves until its refresh is due', async () => {
  await add('adopted', { ACME_CLIENT_TOKEN: 'handed-in' })
  const endMs = BigInt(Date.now() + 3_600_000)
  const status = await configure('adopted', { ...clientGrant(client()), expiresAtMs: endMs })
  assert.equal(status.expiresAtMs, endMs)
  assert.equal(status.status, 'refreshed')
  assert.ok(status.nextRefreshAtMs > BigInt(Date.now()) + 3_000_000n)
  assert.equal((await get('adopted'))?.credentialExpiresAtMs.ACME_CLIENT_TOKEN, endMs)
})

test('a route sends what was configured, and says so when there is nothing yet', async () => {
  await add('served')
  const set = () =>
    world.call(Inference.method.setInferenceRoute, { providerName: 'served', modelId: 'gpt-4o' })
  await assert.rejects(set(), refusal('invalid_credential'))
  await configure('served', clientGrant(client()))
  await rotate('served', 'ACME_CLIENT_TOKEN')
  await set()
  const { channel } = await world.sandbox('reader')
  const bundle = await bundleOf(channel)
  const [route] = bundle.routes
  const issued = world.lab.tokens().map(one => one.value.reveal())
  assert.ok(route !== undefined && issued.includes(route.apiKey), 'a token of the lab')
  assert.ok(route.generation >= 1n)
  assert.ok(route.expiresAtMs > BigInt(Date.now()))
})

test('the doctor probes with a configured token, and mints none', async () => {
  const { steps } = await world.call(Doctor.method.checkProvider, {
    provider: 'served',
    modelId: 'gpt-4o',
  })
  assert.deepEqual(
    steps.map(one => [one.name, one.outcome]),
    [
      ['decode', 'ok'],
      ['resolve', 'ok'],
      ['mint', 'skipped'],
      ['probe', 'ok'],
    ],
  )
  assert.match(steps[2]?.message ?? '', /ACME_CLIENT_TOKEN is configured by itself: its token/)
})

test('a described type that could serve models is of use without an address, too', async () => {
  await world.call(method.createProvider, {
    provider: { metadata: { name: 'idle' }, type: 'acme' },
  })
  const route = { providerName: 'idle', modelId: 'm', noVerify: true }
  const set = world.call(Inference.method.setInferenceRoute, route)
  await assert.rejects(set, refusal('invalid_config', /BASE_URL/))
})

test('Vertex takes a configured token under each of its names', async () => {
  const { client_email, private_key } = JSON.parse(world.lab.serviceAccountKey())
  const account = {
    strategy: Strategy.GOOGLE_SERVICE_ACCOUNT_JWT,
    material: { client_email, private_key },
  }
  const signIn = {
    strategy: Strategy.OAUTH2_REFRESH_TOKEN,
    material: { client_id: 'id', client_secret: 'secret', refresh_token: 'token' },
  }
  const { channel } = await world.sandbox('vertex')
  for (const [key, configuration] of [
    ['GOOGLE_VERTEX_AI_SERVICE_ACCOUNT_TOKEN', account],
    ['VERTEX_AI_SERVICE_ACCOUNT_TOKEN', account],
    ['GOOGLE_VERTEX_AI_TOKEN', signIn],
    ['VERTEX_AI_TOKEN', signIn],
  ] as const) {
    const name = key.toLowerCase()
    // A token that lives, so that nobody is asked for another while the test runs.
    await world.call(method.createProvider, {
      provider: {
        ...{ metadata: { name }, type: 'google-vertex-ai', credentials: { [key]: `of-${name}` } },
        config: { VERTEX_AI_PROJECT_ID: 'demo-project', VERTEX_AI_REGION: 'us-east1' },
      },
    })
    const expiresAtMs = BigInt(Date.now() + 3_600_000)
    const status = await configure(name, { ...configuration, credentialKey: key, expiresAtMs })
    assert.equal(status.strategy, configuration.strategy)
    await world.call(Inference.method.setInferenceRoute, {
      ...{ providerName: name, modelId: 'claude-3-7-sonnet', routeName: 'sandbox-system' },
      noVerify: true,
    })
    const bundle = await bundleOf(channel)
    const route = bundle.routes.find(one => one.name === 'sandbox-system')
    assert.deepEqual([route?.apiKey, route?.expiresAtMs], [`of-${name}`, expiresAtMs])
  }
  const missing = configure('vertex_ai_token', {
    credentialKey: 'GOOGLE_VERTEX_AI_TOKEN',
    strategy: Strategy.OAUTH2_REFRESH_TOKEN,
    material: { client_id: 'id', refresh_token: 'token' },
  })
  await assert.rejects(missing, refusal('invalid_argument', /lacks client_secret/))
})

test('a profile in use stays, and goes when its last provider has gone', async () => {
  const id = { id: 'acme', workspace: 'default' }
  const used = world.call(method.deleteProviderProfile, id)
  await assert.rejects(used, refusal('failed_precondition', /in use by provider/))
})
