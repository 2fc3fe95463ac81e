// Goal: OpenShell's own command line finds in each answer what it prints. It cannot be had as a program
// here, so its calls are replayed, command by command and in its order, by a client that knows nothing but
// the table of field numbers. Method: a real gateway without authentication, messages made by hand.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startTestGateway, type TestGateway } from '../support/gateway.ts'
import { connect, type ForeignClient } from './client.ts'
import { integer, map, message, nested, text } from './fields.ts'

const WORKSPACE = 'default'
const OAUTH2_REFRESH_TOKEN = 3
const TOKEN = 'LAB_TOKEN'
const SANDBOX = 'box'

let world: TestGateway
let cli: ForeignClient

before(async () => {
  world = await startTestGateway({ isAuthRequired: false })
  cli = connect(world.origin)
})
after(async () => {
  cli.close()
  await world[Symbol.asyncDispose]()
})

/** A provider in a request; `workspace` is always filled. */
function provider(
  name: string,
  type: string,
  content: {
    readonly credentials?: Readonly<Record<string, string>>
    readonly config?: Readonly<Record<string, string>>
  } = {},
): Buffer {
  return message(
    nested(1, message(text(2, name), text(7, WORKSPACE))),
    text(2, type),
    map(3, content.credentials ?? {}),
    map(4, content.config ?? {}),
  )
}

const create = (body: Buffer) =>
  cli.call('CreateProvider', message(nested(1, body), text(2, WORKSPACE)))
const named = (name: string) => message(text(1, name), text(2, WORKSPACE))

function openai(name: string, config: Readonly<Record<string, string>> = {}): Buffer {
  return provider(name, 'openai', {
    credentials: { OPENAI_API_KEY: 'sk-test' },
    config: { OPENAI_BASE_URL: `${world.lab.origin}/v1`, ...config },
  })
}

test('status: Health, then GetGatewayInfo; /healthz answers on the same port', async () => {
  const health = await cli.call('Health')
  assert.equal(health.integer(1), 1n)
  assert.equal(health.text(2), '1.2.3')
  const info = await cli.call('GetGatewayInfo')
  assert.deepEqual([info.integer(1), info.text(2)], [1n, '1.2.3'])
  const response = await fetch(`${world.origin}/healthz`)
  assert.equal(response.status, 200)
})

test('whoami: the local administrator', async () => {
  const user = await cli.call('GetCurrentUser')
  assert.equal(user.text(1), 'unauthenticated-local-dev')
  assert.deepEqual(user.texts(3), ['openshell-user', 'openshell-admin'])
  assert.deepEqual(user.texts(4), ['openshell:all'])
  assert.equal(user.text(5), 'local_dev')
})

test('provider create, of a type that the command line knows by an alias', async () => {
  const made = (await create(openai('oa'))).one(1)
  const metadata = made.one(1)
  assert.match(metadata.text(1), /^[0-9a-f-]{36}$/)
  assert.deepEqual([metadata.text(2), metadata.text(7)], ['oa', WORKSPACE])
  assert.ok(metadata.integer(3) > 0n)
  assert.equal(metadata.integer(5), 1n)
  assert.equal(made.text(2), 'openai')
  assert.deepEqual(made.map(3), { OPENAI_API_KEY: 'REDACTED' })
  assert.ok(!made.has(7), 'no handles')
  const again = message(nested(1, openai('oa')), text(2, WORKSPACE))
  assert.equal(await cli.statusOf('CreateProvider', again), 'ALREADY_EXISTS')
})

test('provider create, of a type that it does not know: the profile is asked for first', async () => {
  const profile = (await cli.call('GetProviderProfile', named('nvidia'))).one(1)
  assert.equal(profile.text(1), 'nvidia')
  assert.ok(profile.all(5).some(one => one.texts(3).includes('NVIDIA_API_KEY')))
  const config = { NVIDIA_BASE_URL: `${world.lab.origin}/v1` }
  await create(provider('nv', 'nvidia', { credentials: { NVIDIA_API_KEY: 'nv-test' }, config }))
  assert.notEqual(await cli.statusOf('GetProviderProfile', named('nobody')), 'OK')
})

test('provider create --from-existing: the settings say which way to look', async () => {
  const settings = await cli.call('GetGatewayConfig')
  assert.ok(settings.keys(1).includes('providers_v2_enabled'))
  const profile = (await cli.call('GetProviderProfile', named('openai'))).one(1)
  assert.ok(profile.all(5).some(one => one.texts(3).includes('OPENAI_API_KEY')))
  await create(openai('existing'))
})

test('provider create --runtime-credentials: a provider that begins without any', async () => {
  await cli.call('GetProviderProfile', named('google-cloud'))
  const made = (await create(provider('gc', 'google-cloud'))).one(1)
  assert.deepEqual(made.keys(3), [])
})

test('provider profile import, list, export, lint, update and delete', async () => {
  const refresh = message(
    integer(1, OAUTH2_REFRESH_TOKEN),
    text(2, `${world.lab.origin}/oauth2/token`),
  )
  const credential = message(
    text(1, 'token'),
    text(3, TOKEN),
    text(5, 'bearer'),
    nested(8, refresh),
  )
  const endpoint = message(text(1, 'api.lab.test'), integer(2, 443))
  const profile = (description: string) =>
    message(
      ...[text(1, 'lab-adc'), text(2, 'Lab'), text(3, description), integer(4, 1)],
      ...[nested(5, credential), nested(6, endpoint)],
    )
  const item = (description: string) =>
    message(nested(1, profile(description)), text(2, 'lab-adc.yaml'))
  const linted = await cli.call('LintProviderProfiles', message(nested(1, item('one'))))
  assert.deepEqual([linted.integer(2), linted.all(1).length], [1n, 0])
  const request = message(nested(1, item('one')), text(2, WORKSPACE))
  const imported = await cli.call('ImportProviderProfiles', request)
  assert.equal(imported.integer(3), 1n)
  const listing = message(integer(1, 100), text(3, WORKSPACE))
  const ids = (await cli.call('ListProviderProfiles', listing)).all(1).map(one => one.text(1))
  for (const id of ['lab-adc', 'google-vertex-ai', 'claude-code', 'github'])
    assert.ok(ids.includes(id), id)
  const found = (await cli.call('GetProviderProfile', named('lab-adc'))).one(1)
  const version = found.integer(10)
  assert.deepEqual([found.text(3), version], ['one', 1n])
  const update = (expected: bigint) =>
    message(
      ...[nested(1, item('two')), integer(2, expected)],
      ...[text(3, 'lab-adc'), text(4, WORKSPACE)],
    )
  assert.equal(await cli.statusOf('UpdateProviderProfiles', update(9n)), 'ABORTED')
  const updated = await cli.call('UpdateProviderProfiles', update(version))
  assert.equal(updated.integer(3), 1n)
  assert.equal(await cli.statusOf('DeleteProviderProfile', named('openai')), 'INVALID_ARGUMENT')
})

test('provider create --from-gcloud-adc: create, configure, rotate', async () => {
  const client = world.lab.registerOauthClient({ method: 'post' })
  await cli.call('GetProviderProfile', named('lab-adc'))
  await create(provider('adc', 'lab-adc'))
  const configure = message(
    ...[text(1, 'adc'), text(2, TOKEN), integer(3, OAUTH2_REFRESH_TOKEN)],
    map(4, {
      client_id: client.clientId,
      client_secret: client.clientSecret.reveal(),
      refresh_token: client.refreshToken.reveal(),
    }),
    ...[text(5, 'client_secret'), text(5, 'refresh_token'), text(7, WORKSPACE)],
  )
  const configured = (await cli.call('ConfigureProviderRefresh', configure)).one(1)
  assert.deepEqual([configured.text(1), configured.text(3)], ['adc', TOKEN])
  assert.equal(configured.integer(4), BigInt(OAUTH2_REFRESH_TOKEN))
  const key = message(text(1, 'adc'), text(2, TOKEN), text(3, WORKSPACE))
  const status = await rotated(key)
  assert.equal(status.text(5), 'refreshed')
  assert.ok(status.integer(6) > BigInt(Date.now()), 'it ends in the future')
})

/** The first mint may be under way already; then the rotation has its token or must wait for its turn. */
async function rotated(key: Buffer) {
  const outcome = await cli.statusOf('RotateProviderCredential', key)
  assert.ok(['OK', 'FAILED_PRECONDITION', 'ABORTED'].includes(outcome), outcome)
  for (;;) {
    const [status] = (await cli.call('GetProviderRefreshStatus', key)).all(1)
    if (status !== undefined && status.integer(6) > 0n) return status
  }
}

test('provider create --from-gcloud-adc that fails is rolled back', async () => {
  await create(provider('undone', 'lab-adc'))
  const configure = message(
    ...[text(1, 'undone'), text(2, TOKEN), integer(3, OAUTH2_REFRESH_TOKEN)],
    ...[map(4, { client_id: 'nobody' }), text(7, WORKSPACE)],
  )
  assert.equal(await cli.statusOf('ConfigureProviderRefresh', configure), 'INVALID_ARGUMENT')
  assert.equal((await cli.call('DeleteProvider', named('undone'))).integer(1), 1n)
})

test('provider list and get', async () => {
  const listing = message(integer(1, 100), integer(2, 0), text(3, WORKSPACE))
  const names = (await cli.call('ListProviders', listing)).all(1).map(one => one.one(1).text(2))
  assert.deepEqual(names, ['adc', 'existing', 'gc', 'nv', 'oa'])
  const everywhere = message(integer(1, 100), integer(4, 1))
  assert.equal((await cli.call('ListProviders', everywhere)).all(1).length, names.length)
  const got = (await cli.call('GetProvider', named('oa'))).one(1)
  assert.deepEqual(got.keys(4), ['OPENAI_BASE_URL'])
  assert.equal(await cli.statusOf('GetProvider', named('nobody')), 'NOT_FOUND')
})

test('provider update: no type, an expiry beside it, a version that may be stale', async () => {
  const ends = BigInt(Date.now() + 3_600_000)
  const expiry = nested(2, message(text(1, 'OPENAI_API_KEY'), integer(2, ends)))
  const update = (body: Buffer) => message(nested(1, body), expiry, text(3, WORKSPACE))
  const body = provider('oa', '', { config: { NEW: 'value' } })
  const updated = (await cli.call('UpdateProvider', update(body))).one(1)
  assert.equal(updated.one(1).integer(5), 2n)
  assert.deepEqual(updated.keys(4).toSorted(), ['NEW', 'OPENAI_BASE_URL'])
  assert.equal(updated.all(5)[0]?.integer(2), ends)
  const stale = message(nested(1, message(text(2, 'oa'), integer(5, 1))), map(4, { NEW: 'x' }))
  assert.equal(await cli.statusOf('UpdateProvider', update(stale)), 'ABORTED')
  const retyped = provider('oa', 'anthropic')
  assert.equal(await cli.statusOf('UpdateProvider', update(retyped)), 'INVALID_ARGUMENT')
})

test('provider refresh status and delete', async () => {
  const all = (await cli.call('GetProviderRefreshStatus', message(text(1, 'adc')))).all(1)
  assert.equal(all.length, 1)
  const [status] = all
  assert.deepEqual([status?.text(1), status?.text(3)], ['adc', TOKEN])
  assert.ok((status?.integer(7) ?? 0n) > 0n, 'the next refresh')
  assert.ok((status?.integer(8) ?? 0n) > 0n, 'the last one')
  const key = message(text(1, 'adc'), text(2, TOKEN), text(3, WORKSPACE))
  assert.equal((await cli.call('DeleteProviderRefresh', key)).integer(1), 1n)
  assert.equal((await cli.call('DeleteProviderRefresh', key)).integer(1), 0n)
})

test('inference set, update, get and delete', async () => {
  const set = (model: string, route: string) =>
    message(
      ...[text(1, 'oa'), text(2, model), text(3, route)],
      ...[integer(5, 1), text(7, WORKSPACE)],
    )
  const get = (route: string) => message(text(1, route), text(2, WORKSPACE))
  assert.equal(await cli.statusOf('GetInferenceRoute', get('')), 'NOT_FOUND')
  const first = await cli.call('SetInferenceRoute', set('gpt-one', ''))
  assert.deepEqual([first.text(1), first.text(2), first.integer(3)], ['oa', 'gpt-one', 1n])
  assert.deepEqual([first.text(4), first.text(8)], ['inference.local', WORKSPACE])
  await cli.call('SetInferenceRoute', set('gpt-system', 'sandbox-system'))
  assert.equal((await cli.call('GetInferenceRoute', get(''))).integer(3), 1n)
  const second = await cli.call('SetInferenceRoute', set('gpt-two', ''))
  assert.equal(second.integer(3), 2n)
  const system = await cli.call('GetInferenceRoute', get('sandbox-system'))
  assert.equal(system.text(2), 'gpt-system')
  assert.equal(await cli.statusOf('SetInferenceRoute', set('m', 'other')), 'INVALID_ARGUMENT')
  const nobody = message(text(1, 'nobody'), text(2, 'm'), text(7, WORKSPACE))
  assert.equal(await cli.statusOf('SetInferenceRoute', nobody), 'FAILED_PRECONDITION')
  assert.equal((await cli.call('DeleteInferenceRoute', get(''))).integer(1), 1n)
  assert.equal((await cli.call('DeleteInferenceRoute', get(''))).integer(1), 0n)
})

test('settings set and get --global', async () => {
  const set = (value: Buffer) =>
    message(text(3, 'ocsf_json_enabled'), nested(4, value), integer(6, 1), text(10, WORKSPACE))
  const updated = await cli.call('UpdateConfig', set(integer(2, 1)))
  const got = await cli.call('GetGatewayConfig')
  assert.equal(got.integer(2), updated.integer(3))
  const entry = got.all(1).find(one => one.text(1) === 'ocsf_json_enabled')
  assert.equal(entry?.one(2).integer(2), 1n)
  const unset = got.all(1).find(one => one.text(1) === 'proposal_approval_mode')
  assert.ok(unset?.has(2) && !unset.one(2).has(1), 'listed, with an empty value')
  assert.equal(await cli.statusOf('UpdateConfig', set(text(1, 'yes'))), 'INVALID_ARGUMENT')
})

test('sandbox create --provider: GetProvider, CreateSandbox, then a watch that is not here', async () => {
  await cli.call('GetProvider', named('oa'))
  const policy = message(integer(1, 1), text(90, 'of a later version'))
  const later = text(91, 'of a later version, too')
  const spec = message(text(8, 'oa'), text(12, 'claude'), nested(7, policy), later)
  const request = message(
    nested(1, spec),
    text(2, SANDBOX),
    map(3, { env: 'x' }),
    text(5, WORKSPACE),
  )
  const made = (await cli.call('CreateSandbox', request)).one(1)
  assert.deepEqual(made.one(1).map(4), { env: 'x' })
  assert.deepEqual(made.one(2).texts(8), ['oa'])
  const kept = (await cli.call('GetSandbox', named(SANDBOX))).one(1).one(2)
  assert.equal(kept.one(7).text(90), 'of a later version')
  assert.equal(kept.text(91), 'of a later version, too')
  const watch = message(text(1, made.one(1).text(1)))
  assert.equal(await cli.streamStatusOf('WatchSandbox', watch), 'UNIMPLEMENTED')
  assert.equal(await cli.statusOf('CreateSshSession'), 'UNIMPLEMENTED')
})

test('sandbox provider list, attach and detach', async () => {
  const sandbox = (await cli.call('GetSandbox', named(SANDBOX))).one(1)
  const version = sandbox.one(1).integer(5)
  const change = (name: string, expected: bigint) =>
    message(text(1, SANDBOX), text(2, name), integer(3, expected), text(4, WORKSPACE))
  const attached = await cli.call('AttachSandboxProvider', change('nv', version))
  assert.equal(attached.integer(2), 1n)
  assert.equal(attached.one(1).one(1).integer(5), version + 1n)
  const again = await cli.call('AttachSandboxProvider', change('nv', 0n))
  assert.equal(again.integer(2), 0n)
  const stale = await cli.statusOf('DetachSandboxProvider', change('nv', version))
  assert.equal(stale, 'ABORTED')
  const unknown = await cli.statusOf('AttachSandboxProvider', change('nobody', 0n))
  assert.equal(unknown, 'FAILED_PRECONDITION')
  const twin = await cli.statusOf('AttachSandboxProvider', change('existing', 0n))
  assert.equal(twin, 'FAILED_PRECONDITION')
  const listed = await cli.call('ListSandboxProviders', named(SANDBOX))
  assert.deepEqual(
    listed.all(1).map(one => one.one(1).text(2)),
    ['oa', 'nv'],
  )
  assert.equal((await cli.call('DetachSandboxProvider', change('nv', 0n))).integer(2), 1n)
})

test('provider delete, name by name; one that is attached stays', async () => {
  assert.equal(await cli.statusOf('DeleteProvider', named('oa')), 'FAILED_PRECONDITION')
  assert.equal((await cli.call('DeleteProvider', named('nv'))).integer(1), 1n)
  assert.equal((await cli.call('DeleteProvider', named('nv'))).integer(1), 0n)
  assert.equal((await cli.call('DeleteSandbox', named(SANDBOX))).integer(1), 1n)
  assert.equal((await cli.call('DeleteProvider', named('oa'))).integer(1), 1n)
})

test('a message up to a megabyte is taken, a larger one is refused', async () => {
  const request = (bytes: number) =>
    message(nested(1, openai('large', { LARGE: 'x'.repeat(bytes) })), text(2, WORKSPACE))
  assert.equal(await cli.statusOf('CreateProvider', request(1_000_000)), 'INVALID_ARGUMENT')
  assert.equal(await cli.statusOf('CreateProvider', request(1_100_000)), 'RESOURCE_EXHAUSTED')
})
