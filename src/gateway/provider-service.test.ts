// Goal: provider CRUD means what OpenShell's wire says. Method: a real gateway over gRPC.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { MessageInitShape } from '@bufbuild/protobuf'
import {
  openaiProvider,
  refusal,
  startTestGateway,
  type TestGateway,
  VERTEX,
  vertexProvider,
} from '../../test/support/gateway.ts'
import type { ErrorCode } from '../core/errors.ts'
import type { ProviderSchema } from '../wire/gen/openshell/datamodel/v1/datamodel_pb.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'

const { method } = OpenShell
type ProviderInit = MessageInitShape<typeof ProviderSchema>

let world: TestGateway
before(async () => {
  world = await startTestGateway()
})
after(() => world[Symbol.asyncDispose]())

const create = (provider: ProviderInit, workspace = '') =>
  world.call(method.createProvider, { provider, workspace })
const update = (provider: ProviderInit, workspace = '') =>
  world.call(method.updateProvider, { provider, workspace })
const get = async (name: string, workspace = '') => {
  const { provider } = await world.call(method.getProvider, { name, workspace })
  assert.ok(provider !== undefined)
  return provider
}
interface Differences {
  readonly metadata?: { readonly name: string }
  readonly type?: string
  readonly credentials?: Record<string, string>
  readonly config?: Record<string, string>
  readonly credentialHandles?: Record<string, { driver: string; handle: string }>
}
const openai = (name: string, more: Differences = {}) => ({
  ...openaiProvider(world.lab, name),
  ...more,
})
const entries = (count: number, value = 'v') =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`KEY_${index}`, value]))

test('a provider goes round: created, read, changed, deleted, with its values redacted', async () => {
  const made = await create(openai('round'))
  const { metadata, ...rest } = await get('round')
  assert.equal(metadata?.resourceVersion, 1n)
  assert.equal(metadata?.workspace, 'default')
  assert.match(
    metadata?.id ?? '',
    /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
  )
  assert.ok(Math.abs(Number(metadata?.createdAtMs) - Date.now()) < 10_000)
  assert.deepEqual(rest.credentials, { OPENAI_API_KEY: 'REDACTED' })
  assert.deepEqual(rest.config, { OPENAI_BASE_URL: `${world.lab.origin}/openai/v1` })
  assert.deepEqual(made.provider, await get('round'))
  const changed = await update({ metadata: { name: 'round' }, config: { EXTRA: '1' } })
  assert.equal(changed.provider?.metadata?.resourceVersion, 2n)
  assert.deepEqual(changed.provider?.credentials, { OPENAI_API_KEY: 'REDACTED' })
  assert.equal((await world.call(method.deleteProvider, { name: 'round' })).deleted, true)
  assert.equal((await world.call(method.deleteProvider, { name: 'round' })).deleted, false)
  await assert.rejects(get('round'), refusal('not_found', /"round".*provider list/))
})

test('a value that a caller reads is never the secret, nor what REDACTED stood for', async () => {
  await create(openai('redacted'))
  const answers = [
    await get('redacted'),
    await world.call(method.listProviders, {}),
    await update({ metadata: { name: 'redacted' }, config: { A: 'b' } }),
  ]
  const text = answers
    .map(answer => JSON.stringify(answer, (_, v) => (typeof v === 'bigint' ? `${v}` : v)))
    .join()
  assert.ok(!text.includes(world.lab.openaiKey().reveal()))
})

test('limits hold on both sides', async t => {
  const long = (count: number) => 'x'.repeat(count)
  const rows: readonly [string, ProviderInit, ErrorCode | null][] = [
    ['name of 253', openai(long(253)), null],
    ['name of 254', openai(long(254)), 'invalid_argument'],
    ['name with a slash', openai('a/b'), 'invalid_argument'],
    ['name with a line end', openai('a\nb'), 'invalid_argument'],
    ['name that begins with a dash', openai('-a'), 'invalid_argument'],
    ['name cut within a surrogate pair', openai(`${long(63)}😀`), 'invalid_argument'],
    ['32 credentials', openai('c32', { credentials: entries(32) }), null],
    ['33 credentials', openai('c33', { credentials: entries(33) }), 'invalid_argument'],
    [
      '64 settings',
      openai('s64', {
        config: { ...entries(63), OPENAI_BASE_URL: `${world.lab.origin}/openai/v1` },
      }),
      null,
    ],
    ['65 settings', openai('s65', { config: entries(65) }), 'invalid_argument'],
    ['key of 256', openai('k256', { credentials: { [long(256)]: 'v' } }), null],
    ['key of 257', openai('k257', { credentials: { [long(257)]: 'v' } }), 'invalid_argument'],
    ['key with a space', openai('ks', { credentials: { 'a b': 'v' } }), 'invalid_argument'],
    ['config key with a dash first', openai('kd', { config: { '-a': 'v' } }), 'invalid_argument'],
    [
      'value of 8192 bytes',
      openai('v8192', {
        config: { A: 'é'.repeat(4_096), OPENAI_BASE_URL: `${world.lab.origin}/openai/v1` },
      }),
      null,
    ],
    [
      'value of 8193 bytes',
      openai('v', { config: { A: `${'é'.repeat(4_096)}x` } }),
      'invalid_argument',
    ],
    [
      'credential of 8193',
      openai('w', { credentials: { OPENAI_API_KEY: long(8_193) } }),
      'invalid_argument',
    ],
    ['type unknown', openai('u', { type: 'no-such-type' }), 'unknown_provider_type'],
    ['type of a million characters', openai('u', { type: long(900_000) }), 'unknown_provider_type'],
    ['no type', openai('u', { type: '' }), 'unknown_provider_type'],
    ['no key yet', openai('bare', { credentials: {} }), null],
    [
      'foreign host',
      openai('u', { config: { OPENAI_BASE_URL: 'https://evil.test/v1' } }),
      'endpoint_forbidden',
    ],
    [
      'handles',
      openai('u', { credentialHandles: { A: { driver: 'd', handle: 'h' } } }),
      'invalid_argument',
    ],
  ]
  for (const [label, provider, code] of rows) {
    await t.test(label, async () => {
      if (code === null) assert.ok((await create(provider, 'limits')).provider)
      else await assert.rejects(create(provider, 'limits'), refusal(code))
    })
  }
  const { providers } = await world.call(method.listProviders, { workspace: 'limits' })
  assert.equal(providers.length, rows.filter(([, , code]) => code === null).length)
})

test('no provider at all is refused, and an unknown type names those that exist', async () => {
  await assert.rejects(
    world.call(method.createProvider, {}),
    refusal('invalid_argument', /missing/),
  )
  await assert.rejects(
    create(openai('x', { type: 'no-such-type' })),
    refusal('unknown_provider_type', /"no-such-type".*google-vertex-ai.*openai/),
  )
})

test('an empty name is made up from the type', async () => {
  const { provider } = await create(openai('', { metadata: { name: '' } }), 'unnamed')
  assert.match(provider?.metadata?.name ?? '', /^openai-[0-9a-f]{8}$/)
})

test('a message of nearly 1 MiB is taken, one above it is refused', async () => {
  const big = {
    credentials: entries(32, 'x'.repeat(8_192)),
    config: entries(63, 'y'.repeat(8_192)),
  }
  big.config.OPENAI_BASE_URL = `${world.lab.origin}/openai/v1`
  assert.ok((await create(openai('big', big), 'sizes')).provider)
  assert.equal(Object.keys((await get('big', 'sizes')).config).length, 64)
  const huge = openai('huge', { config: { A: 'x'.repeat(1_048_576) } })
  await assert.rejects(create(huge, 'sizes'), refusal('too_large'))
})

test('an update merges: an empty value deletes, no value keeps, an empty type keeps', async () => {
  await create(
    openai('merge', {
      config: { OPENAI_BASE_URL: `${world.lab.origin}/openai/v1`, A: '1', B: '2' },
    }),
  )
  const same = await update({ metadata: { name: 'merge' } })
  assert.equal(same.provider?.metadata?.resourceVersion, 1n, 'nothing to change')
  await update({ metadata: { name: 'merge' }, type: 'openai', config: { A: '', B: '3', C: '4' } })
  await update({ metadata: { name: 'merge' }, credentials: { OTHER_KEY: 'o' } })
  const merged = await get('merge')
  assert.deepEqual(merged.config, {
    OPENAI_BASE_URL: `${world.lab.origin}/openai/v1`,
    B: '3',
    C: '4',
  })
  assert.deepEqual(Object.keys(merged.credentials).sort(), ['OPENAI_API_KEY', 'OTHER_KEY'])
  await update({ metadata: { name: 'merge' }, credentials: { OPENAI_API_KEY: '' } })
  assert.deepEqual((await get('merge')).credentials, { OTHER_KEY: 'REDACTED' })
  await assert.rejects(
    update({ metadata: { name: 'merge' }, credentials: { OTHER_KEY: '' } }),
    refusal('invalid_credential', /OPENAI_API_KEY is missing/),
  )
  await assert.rejects(
    update({ metadata: { name: 'merge' }, type: 'anthropic' }),
    refusal('invalid_argument', /"openai"/),
  )
  await assert.rejects(update({ metadata: { name: 'none' } }), refusal('not_found'))
  await assert.rejects(
    update({ metadata: { name: 'merge' }, credentialHandles: { A: { driver: 'd', handle: 'h' } } }),
    refusal('invalid_argument', /handles/),
  )
  await assert.rejects(
    update({ metadata: { name: 'merge' }, config: entries(65) }),
    refusal('invalid_argument', /at most 64/),
  )
  assert.deepEqual((await get('merge')).credentials, { OTHER_KEY: 'REDACTED' })
})

test('an expected version that is stale is refused and changes nothing', async () => {
  await create(openai('cas'))
  await update({ metadata: { name: 'cas', resourceVersion: 1n }, config: { A: '1' } })
  await assert.rejects(
    update({ metadata: { name: 'cas', resourceVersion: 1n }, config: { A: '2' } }),
    refusal('version_conflict', /changed by someone else/),
  )
  assert.equal((await get('cas')).config.A, '1')
})

test('of many updates at once from one version a single one wins', async () => {
  await create(openai('race'))
  const settled = await Promise.allSettled(
    Array.from({ length: 20 }, (_, index) =>
      update({ metadata: { name: 'race', resourceVersion: 1n }, config: { A: `${index}` } }),
    ),
  )
  assert.equal(settled.filter(one => one.status === 'fulfilled').length, 1)
  assert.equal((await get('race')).metadata?.resourceVersion, 2n)
})

test('of many creations of one name a single one wins', async () => {
  const settled = await Promise.allSettled(
    Array.from({ length: 20 }, () => create(openai('twice'))),
  )
  assert.equal(settled.filter(one => one.status === 'fulfilled').length, 1)
  for (const one of settled) {
    if (one.status === 'rejected') refusal('already_exists', /"twice" exists already/)(one.reason)
  }
  await assert.rejects(create(openai('twice')), refusal('already_exists', /provider update twice/))
})

test('lists come in name order, a page at a time', async () => {
  const names = Array.from({ length: 105 }, (_, index) => `p${String(index).padStart(3, '0')}`)
  for (const name of names.toReversed()) await create(openai(name), 'pages')
  const page = async (limit: number, offset: number) => {
    const { providers } = await world.call(method.listProviders, {
      workspace: 'pages',
      limit,
      offset,
    })
    return providers.map(one => one.metadata?.name)
  }
  assert.deepEqual(await page(0, 0), names.slice(0, 100))
  assert.deepEqual(await page(2, 3), ['p003', 'p004'])
  assert.deepEqual(await page(1_001, 0), names)
  assert.deepEqual(await page(10, 105), [])
})

test('workspaces see only their own', async () => {
  await create(openai('mine'), 'one')
  await create(openai('mine'), 'two')
  await update({ metadata: { name: 'mine' }, config: { A: '1' } }, 'one')
  assert.equal((await get('mine', 'two')).config.A, undefined)
  assert.equal((await get('mine', 'two')).metadata?.workspace, 'two')
  await assert.rejects(get('mine'), refusal('not_found'))
  assert.equal((await world.call(method.deleteProvider, { name: 'mine' })).deleted, false)
  await assert.rejects(get('mine', 'a/b'), refusal('invalid_argument', /workspace/))
  const all = await world.call(method.listProviders, { allWorkspaces: true, limit: 1_000 })
  const places = all.providers.filter(one => one.metadata?.name === 'mine')
  assert.deepEqual(
    places.map(one => one.metadata?.workspace),
    ['one', 'two'],
  )
})

test('aliases of types and keys are brought to the canonical names', async () => {
  const { credentials, ...rest } = vertexProvider(world.lab, 'alias')
  const key = credentials.GOOGLE_SERVICE_ACCOUNT_JSON
  const made = await create({
    ...rest,
    type: 'Vertex',
    credentials: { GOOGLE_SERVICE_ACCOUNT_KEY: key },
  })
  assert.equal(made.provider?.type, VERTEX)
  assert.deepEqual(made.provider?.credentials, { GOOGLE_SERVICE_ACCOUNT_JSON: 'REDACTED' })
  assert.equal(made.mint?.credentialKey, 'GOOGLE_VERTEX_AI_TOKEN')
  assert.equal(made.mint?.warning, '')
  const again = await update({
    metadata: { name: 'alias' },
    type: 'gcp-vertex',
    credentials: { GOOGLE_SERVICE_ACCOUNT_KEY: key },
  })
  assert.equal(again.provider?.metadata?.resourceVersion, 1n, 'the same key under its other name')
})

test('a key that the type does not use is worth a warning', async () => {
  const typo = vertexProvider(world.lab, 'typo')
  const made = await create({ ...typo, config: { ...typo.config, VERTEX_REGION: 'x' } })
  assert.match(made.mint?.warning ?? '', /"google-vertex-ai" does not use VERTEX_REGION/)
})

test('profiles tell what a type takes, by any of its names', async () => {
  const { profiles } = await world.call(method.listProviderProfiles, {})
  const ids = profiles.map(one => one.id)
  assert.equal(new Set(ids).size, ids.length)
  for (const id of ['anthropic', 'deepinfra', 'generic', VERTEX, 'nvidia', 'openai'])
    assert.ok(ids.includes(id), id)
  const { profile } = await world.call(method.getProviderProfile, { id: 'vertex' })
  assert.equal(profile?.id, VERTEX)
  const variables = profile?.credentials.flatMap(one => one.envVars) ?? []
  for (const name of ['GOOGLE_SERVICE_ACCOUNT_KEY', 'GOOGLE_SERVICE_ACCOUNT_JSON'])
    assert.ok(variables.includes(name), name)
  const missing = world.call(method.getProviderProfile, { id: 'nope' })
  await assert.rejects(missing, refusal('not_found'))
})

test('deleting a provider that a route uses is allowed, and the route says what is wrong', async () => {
  await create(openai('used'), 'used')
  await world.call(Inference.method.setInferenceRoute, {
    providerName: 'used',
    modelId: 'm',
    workspace: 'used',
  })
  assert.equal(
    (await world.call(method.deleteProvider, { name: 'used', workspace: 'used' })).deleted,
    true,
  )
})
