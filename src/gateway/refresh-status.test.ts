// Goal: a credential's life is told whole: its state, its last changes, what waits beside it, and
// what cannot be read. Method: a real gateway over a real store, its vendor the lab with faults, its
// database damaged by hand.
import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { after, afterEach, before, test } from 'node:test'
import {
  refusal,
  startTestGateway,
  type TestGateway,
  until,
  VERTEX,
  vertexProvider,
} from '../../test/support/gateway.ts'
import { oauthProvider } from '../../test/support/oauth-provider.ts'
import { Secret } from '../core/secret.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import { ProviderCredentialRefreshRecoveryAction } from '../wire/gen/openshell/v1/refresh_pb.ts'

const { method } = OpenShell
const PARKED = 2n ** 63n - 1n
const { INVESTIGATE, REAUTHORIZE } = ProviderCredentialRefreshRecoveryAction

let world: TestGateway
before(async () => {
  world = await startTestGateway()
})
afterEach(() => world.lab.faults.clear())
after(() => world[Symbol.asyncDispose]())

const add = (name: string, workspace = '') =>
  world.call(method.createProvider, {
    provider: vertexProvider(world.lab, name, `${name}@demo`),
    workspace,
  })
const update = (name: string, email: string, noVerify = false) =>
  world.call(method.updateProvider, {
    provider: {
      metadata: { name },
      credentials: { GOOGLE_SERVICE_ACCOUNT_JSON: world.lab.serviceAccountKey({ email }) },
    },
    noVerify,
  })
const statusesOf = async (provider: string, workspace = '') =>
  (await world.call(method.getProviderRefreshStatus, { provider, workspace })).credentials
const statusOf = async (provider: string) => {
  const [status] = await statusesOf(provider)
  assert.ok(status !== undefined)
  return status
}
const historyOf = async (provider: string) =>
  (await statusOf(provider)).history.map(({ state, failureClass, failureCode }) =>
    [state, failureClass, failureCode].join(' ').trim(),
  )
/** Runs a statement behind the gateway's back. */
const damage = (statement: string): void => {
  const database = new DatabaseSync(`${world.folder}/gateway.db`, { timeout: 5_000 })
  database.exec(statement)
  database.close()
}

test('the history tells what became of a credential, when, and why', async () => {
  const beganMs = Date.now()
  await add('lived')
  world.lab.faults.set('google.token status=400 error=invalid_grant')
  await assert.rejects(world.call(method.rotateProviderCredential, { provider: 'lived' }))
  await world.call(method.deleteProviderRefresh, { provider: 'lived' })
  assert.deepEqual(await historyOf('lived'), [
    'pending',
    'valid',
    'failed P oauth_invalid_grant',
    'disabled P oauth_invalid_grant',
  ])
  world.lab.faults.clear()
  await update('lived', 'other@demo')
  assert.equal((await historyOf('lived')).at(-1), 'valid')
  const { history } = await statusOf('lived')
  const instants = history.map(one => Number(one.atMs))
  assert.deepEqual(
    instants,
    instants.toSorted((one, other) => one - other),
  )
  assert.ok((instants[0] ?? 0) >= beganMs && (instants.at(-1) ?? 0) <= Date.now())
})

test('what waits is told until it is promoted, and so is why it waits', async () => {
  await add('patient')
  assert.deepEqual([(await statusOf('patient')).candidateState, ''], ['', ''])
  world.lab.faults.set('google.token status=503')
  await update('patient', 'patient-2@demo')
  const waiting = await statusOf('patient')
  assert.deepEqual([waiting.state, waiting.failureCode], ['valid', ''])
  assert.deepEqual(
    [waiting.candidateState, waiting.candidateCode],
    ['waiting', 'oauth_token_endpoint_retryable'],
  )
  assert.match(waiting.candidateError, /503.*the gateway tries again by itself/)
  world.lab.faults.clear()
  await until(async () => (await statusOf('patient')).candidateState === '', 'the promotion')
  const { generation, candidateError, candidateCode } = await statusOf('patient')
  assert.deepEqual([generation, candidateError, candidateCode], [2n, '', ''])
})

test('new material that the vendor refuses later is told as refused, and the old one serves', async () => {
  await add('wrong')
  world.lab.faults.set('google.token status=503')
  await update('wrong', 'dead@demo')
  world.lab.disableServiceAccount('dead@demo')
  world.lab.faults.clear()
  await until(async () => (await statusOf('wrong')).candidateState === 'refused', 'the refusal')
  const { state, generation, candidateCode, candidateError, failureCode } = await statusOf('wrong')
  assert.deepEqual([state, generation, failureCode], ['valid', 1n, ''])
  assert.notEqual(candidateCode, '')
  assert.match(candidateError, /disabled/)
  await update('wrong', 'better@demo')
  assert.equal((await statusOf('wrong')).candidateState, '')
})

test('a refresh token that may be spent says so, and asks for a new one', async () => {
  const provider = oauthProvider(world.lab, 'spent', { method: 'post', refreshes: true })
  world.lab.faults.set('oauth2.token reset=before')
  const { mint } = await world.call(method.createProvider, { provider })
  assert.match(mint?.warning ?? '', /^No token yet: /)
  await until(async () => (await statusOf('spent')).state === 'failed', 'giving up')
  const { recoveryAction, failureCode, nextRefreshAtMs, advice } = await statusOf('spent')
  assert.deepEqual([recoveryAction, failureCode], [REAUTHORIZE, 'oauth_outcome_unknown'])
  assert.equal(nextRefreshAtMs, PARKED)
  assert.match(advice, /Sign in again/)
})

test('a provider that cannot be read is told beside the others, and can be deleted', async () => {
  const workspace = 'damage'
  for (const name of ['a', 'b', 'c']) await add(name, workspace)
  damage(`update providers set config = '{' where workspace = 'damage' and name = 'b'`)
  const statuses = await statusesOf('', workspace)
  assert.deepEqual(statuses.map(one => one.providerName).sort(), ['a', 'b', 'c'])
  for (const name of ['a', 'c'])
    assert.equal(statuses.find(one => one.providerName === name)?.state, 'valid')
  const damaged = statuses.find(one => one.providerName === 'b')
  assert.deepEqual(
    [damaged?.state, damaged?.status, damaged?.failureCode, damaged?.providerType],
    ['failed', 'error', 'store_row_damaged', VERTEX],
  )
  assert.deepEqual([damaged?.recoveryAction, damaged?.nextRefreshAtMs], [INVESTIGATE, PARKED])
  assert.match(damaged?.lastError ?? '', /provider "b".*damaged/)
  assert.match(damaged?.advice ?? '', /delete the provider/)
  await assert.rejects(statusesOf('b', workspace), refusal('store_unavailable', /damaged/))
  await world.call(method.deleteProvider, { name: 'b', workspace })
  assert.deepEqual(
    (await statusesOf('', workspace)).map(one => one.providerName),
    ['a', 'c'],
  )
})

test('a provider of a type that this version does not know hides no other', async () => {
  const workspace = 'foreign'
  for (const name of ['a', 'b']) await add(name, workspace)
  damage(`update providers set type = 'acme' where workspace = 'foreign' and name = 'a'`)
  const statuses = await statusesOf('', workspace)
  assert.equal(statuses.find(one => one.providerName === 'b')?.state, 'valid')
  assert.ok(statuses.some(one => one.providerName === 'a'))
  const { providers } = await world.call(method.listProviders, { workspace, limit: 10 })
  assert.equal(providers.length, 2)
  await world.restart()
  assert.equal((await statusesOf('', workspace)).length, 2)
})

test('a token that cannot be read is minted anew, and the history is kept', async () => {
  await add('torn')
  const { generation } = await statusOf('torn')
  const { id } = (await world.store.getProvider('default', 'torn')) ?? { id: '' }
  damage(`update credentials set token_envelope = 'v1.00' where provider_id = '${id}'`)
  await world.restart()
  await until(async () => (await statusOf('torn')).state === 'valid', 'a new token')
  assert.equal((await statusOf('torn')).generation, generation + 1n)
  assert.equal((await historyOf('torn'))[0], 'pending')
})

test('no status holds a secret', async () => {
  const { credentials } = await world.call(method.getProviderRefreshStatus, { workspace: '' })
  const text = JSON.stringify(credentials, (_key, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  )
  assert.ok(credentials.length >= 4 && text.includes('spent'))
  const { providers } = await world.store.listProviders(null, { limit: 100, offset: 0 })
  const secrets = [
    ...world.lab.tokens().map(one => one.value),
    ...providers.flatMap(one => [...one.material.values()]),
    new Secret('PRIVATE KEY'),
  ]
  assert.ok(secrets.length > 10)
  for (const secret of secrets) assert.ok(!text.includes(secret.reveal()))
})
