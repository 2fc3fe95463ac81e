// Goal: provider profiles keep OpenShell's rules. Method: a real gateway over gRPC.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { refusal, startTestGateway, type TestGateway } from '../../test/support/gateway.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import { ProviderProfileCategory } from '../wire/gen/openshell/v1/profile_pb.ts'
import { profileFromDocument, profileToDocument } from '../wire/profile.ts'

const { method } = OpenShell

let world: TestGateway
before(async () => {
  world = await startTestGateway()
})
after(() => world[Symbol.asyncDispose]())

const acme = (id: string, more: object = {}) =>
  profileFromDocument({ id, display_name: 'Acme', category: 'data', ...more })
const bring = (workspace: string, ...profiles: ReturnType<typeof acme>[]) =>
  world.call(method.importProviderProfiles, {
    profiles: profiles.map(profile => ({ profile, source: `${profile.id}.yaml` })),
    workspace,
  })
const get = async (id: string, workspace = 'default') => {
  const { profile } = await world.call(method.getProviderProfile, { id, workspace })
  assert.ok(profile !== undefined)
  return profile
}
const idsOf = async (workspace: string) => {
  const { profiles } = await world.call(method.listProviderProfiles, { limit: 1_000, workspace })
  return profiles.map(one => one.id)
}

test('the built-in profiles of OpenShell are there, and its types without one', async () => {
  const ids = await idsOf('default')
  const builtin = [
    ...['aws', 'aws-bedrock', 'aws-s3', 'claude-code', 'codex', 'copilot', 'cursor', 'deepinfra'],
    ...['github', 'google-cloud', 'google-vertex-ai', 'nvidia', 'pypi'],
  ]
  for (const id of [...builtin, 'openai', 'anthropic', 'gitlab', 'opencode', 'outlook', 'generic'])
    assert.ok(ids.includes(id), id)
  assert.deepEqual(ids, [...ids].sort())
  for (const [alias, id] of [
    ...[['claude', 'claude-code'] as const, ['claude_code', 'claude-code'] as const],
    ...[['gcp', 'google-cloud'] as const, ['gh', 'github'] as const],
    ...[['glab', 'gitlab'] as const, ['vertex', 'google-vertex-ai'] as const],
  ]) {
    assert.equal((await get(alias)).id, id)
  }
  const s3 = await get('aws-s3')
  assert.equal(s3.endpoints.length, 6)
  assert.ok(s3.endpoints.every(one => one.credentialSigning === 'sigv4'))
  assert.deepEqual(
    s3.credentials[0]?.refresh?.additionalOutputs.map(one => one.credential),
    ['secret_access_key', 'session_token'],
  )
  const vertex = await get('google-vertex-ai')
  assert.deepEqual(vertex.discovery?.credentials, ['service_account_token', 'gcloud_adc_token'])
  assert.equal((await get('github')).category, ProviderProfileCategory.SOURCE_CONTROL)
  assert.equal((await get('cursor')).source, 'builtin')
})

test('a provider of a type that serves sandboxes alone is created, and serves no route', async () => {
  await world.call(method.createProvider, {
    provider: { metadata: { name: 'gh' }, type: 'gh', credentials: { GITHUB_TOKEN: 'made-up' } },
  })
  const { provider } = await world.call(method.getProvider, { name: 'gh' })
  assert.equal(provider?.type, 'github')
  assert.deepEqual(provider?.credentials, { GITHUB_TOKEN: 'REDACTED' })
  const route = world.call(Inference.method.setInferenceRoute, {
    providerName: 'gh',
    modelId: 'm',
    noVerify: true,
  })
  await assert.rejects(route, refusal('invalid_argument', /serve no inference route/))
})

test('what is imported is read again, listed, and a provider type from then on', async () => {
  const answer = await bring('default', acme('one', { description: 'First' }), acme('two'))
  assert.deepEqual([answer.imported, answer.diagnostics], [true, []])
  const one = await get('one')
  assert.deepEqual(
    [one.description, one.resourceVersion, one.source, one.scope],
    ['First', 1n, 'user', 'workspace'],
  )
  assert.ok((await idsOf('default')).includes('two'))
  const { provider } = await world.call(method.createProvider, {
    provider: { metadata: { name: 'of-one' }, type: 'ONE' },
  })
  assert.deepEqual([provider?.type, provider?.profileWorkspace], ['one', 'default'])
})

test('an import with one wrong profile brings none, and names all that is wrong at once', async () => {
  const wrong = acme('Bad_Id', {
    display_name: '',
    credentials: [
      { name: 'a', env_vars: ['1X'], auth_style: 'magic' },
      { name: 'a', env_vars: ['B'], auth_style: 'header' },
      { name: 'q', env_vars: ['B'], auth_style: 'query' },
      {
        name: 'r',
        env_vars: [],
        refresh: {
          strategy: 'oauth2_refresh_token',
          token_url: 'http://10.0.0.1/token',
          refresh_before_seconds: -1,
          material: [{ name: 'token_url' }, { name: '' }],
          additional_outputs: [{ output: 'secret_access_key', credential: 'a' }],
        },
      },
      { name: 't', env_vars: ['T'], token_grant: { token_endpoint: 'http://public.test/token' } },
    ],
    discovery: { credentials: ['nobody'] },
    endpoints: [{ host: 'bad host', port: 70_000 }],
    binaries: ['relative/path'],
  })
  const { imported, diagnostics } = await bring('default', acme('good'), wrong)
  assert.equal(imported, false)
  const fields = diagnostics.map(one => one.field)
  for (const field of [
    ...['id', 'display_name', 'credentials[0].env_vars', 'credentials[0].auth_style'],
    ...['credentials[1].name', 'credentials[1].header_name', 'credentials[2].query_param'],
    ...['credentials[2].env_vars', 'credentials[3].env_vars', 'credentials[3].refresh.token_url'],
    ...['credentials[3].refresh.refresh_before_seconds', 'credentials[3].refresh.material'],
    'credentials[3].refresh.additional_outputs[0].output',
    ...['credentials[4].token_grant.token_endpoint', 'discovery.credentials'],
    ...['endpoints[0].host', 'endpoints[0].port', 'binaries[0].path'],
  ]) {
    assert.ok(fields.includes(field), field)
  }
  assert.ok(diagnostics.every(one => one.source === 'Bad_Id.yaml' && one.severity === 'error'))
  await assert.rejects(get('good'), refusal('not_found'))
})

test('what AWS brings besides the key goes to a credential without a refresh, under its usual name', async () => {
  const output = (credential: string) =>
    acme('aws-like', {
      credentials: [
        {
          name: 'key',
          env_vars: ['AWS_ACCESS_KEY_ID'],
          refresh: {
            strategy: 'aws-sts-assume-role',
            additional_outputs: [{ output: 'session_token', credential }],
          },
        },
        { name: 'usual', env_vars: ['AWS_SESSION_TOKEN'] },
        { name: 'unusual', env_vars: ['MY_TOKEN'] },
        { name: 'own', env_vars: ['OTHER'], refresh: { strategy: 'external' } },
      ],
    })
  const lint = async (credential: string) => {
    const profiles = [{ profile: output(credential), source: '' }]
    return world.call(method.lintProviderProfiles, { profiles })
  }
  assert.equal((await lint('usual')).valid, true)
  for (const credential of ['unusual', 'own', 'key', 'nobody']) {
    const { valid, diagnostics } = await lint(credential)
    assert.equal(valid, false, credential)
    assert.equal(diagnostics[0]?.field, 'credentials[0].refresh.additional_outputs[0].credential')
  }
  await assert.rejects(get('aws-like'), refusal('not_found'))
})

test('what is built in, stands already or comes twice is not imported', async () => {
  for (const id of ['github', 'claude', 'openai', 'vertex', 'azure-openai']) {
    const { imported, diagnostics } = await bring('', acme(id))
    assert.deepEqual([imported, diagnostics[0]?.field], [false, 'id'], id)
  }
  await bring('default', acme('standing'))
  assert.match((await bring('default', acme('standing'))).diagnostics[0]?.message ?? '', /exists/)
  const twice = await bring('default', acme('twice'), acme('twice'))
  assert.match(twice.diagnostics[0]?.message ?? '', /twice in this batch/)
  await assert.rejects(bring('default'), refusal('invalid_argument', /1 to 100/))
})

test('an update needs the version that stands', async () => {
  await bring('default', acme('changing'))
  const update = (expectedResourceVersion: bigint, more: object = {}, id = 'changing') =>
    world.call(method.updateProviderProfiles, {
      ...{ id, expectedResourceVersion, workspace: 'default' },
      profile: { profile: acme('changing', more), source: '' },
    })
  await assert.rejects(update(0n), refusal('invalid_argument', /resource_version/))
  const changed = await update(1n, { description: 'New' })
  assert.deepEqual([changed.updated, changed.profile?.resourceVersion], [true, 2n])
  await assert.rejects(update(1n), refusal('version_conflict'))
  assert.equal((await get('changing')).description, 'New')
  assert.equal((await update(2n, { display_name: '' })).updated, false)
  assert.equal((await update(2n, {}, 'other')).diagnostics[0]?.field, 'id')
  const nowhere = world.call(method.updateProviderProfiles, {
    ...{ id: 'nowhere', expectedResourceVersion: 1n, workspace: 'default' },
    profile: { profile: acme('nowhere'), source: '' },
  })
  await assert.rejects(nowhere, refusal('not_found'))
})

test('a workspace’s own profile hides the one of all workspaces, and is nobody else’s', async () => {
  await world.call(method.createWorkspace, { name: 'team' })
  await bring('', acme('shared', { description: 'All' }))
  await bring('team', acme('shared', { description: 'Team' }), acme('private'))
  assert.equal((await get('shared', 'team')).description, 'Team')
  assert.deepEqual((await get('shared')).scope, 'platform')
  assert.equal((await get('shared', '')).description, 'All')
  assert.ok(!(await idsOf('default')).includes('private'))
  assert.equal((await idsOf('team')).filter(id => id === 'shared').length, 1)
  const foreign = world.call(method.createProvider, {
    provider: { metadata: { name: 'p' }, type: 'private' },
  })
  await assert.rejects(foreign, refusal('unknown_provider_type'))
  const moved = world.call(method.createProvider, {
    provider: { metadata: { name: 'p' }, type: 'shared', profileWorkspace: 'team' },
  })
  await assert.rejects(moved, refusal('invalid_argument', /workspace "team"/))
  const made = await world.call(method.createProvider, {
    provider: { metadata: { name: 'of-team' }, type: 'shared' },
    workspace: 'team',
  })
  assert.equal(made.provider?.profileWorkspace, 'team')
})

test('a profile is deleted once, a built-in one never', async () => {
  await bring('default', acme('gone'))
  const remove = (id: string) =>
    world.call(method.deleteProviderProfile, { id, workspace: 'default' })
  assert.equal((await remove('gone')).deleted, true)
  assert.equal((await remove('gone')).deleted, false)
  await assert.rejects(remove('github'), refusal('invalid_argument', /built-in/))
})

test('what is exported can be imported again under another name, and says the same', async () => {
  const { scope: _scope, source: _source, ...exported } = profileToDocument(await get('aws-s3'))
  const answer = await bring('default', profileFromDocument({ ...exported, id: 'my-s3' }))
  assert.deepEqual(answer.diagnostics, [])
  const again = profileToDocument(await get('my-s3'))
  assert.deepEqual(again.endpoints, exported.endpoints)
  assert.deepEqual(again.credentials, exported.credentials)
})
