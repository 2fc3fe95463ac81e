// Goal: a rotating refresh token serves through turnovers, restarts and edits, is never spent twice,
// and is given up rather than tried for ever when nobody knows what became of it.
// Method: a real gateway and router before an authorization server that revokes the whole family of a
// refresh token that it sees again.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { startTestGateway, type TestGateway, until } from '../support/gateway.ts'
import { askOpenai, oauthProvider, serve, statusOf } from '../support/oauth-provider.ts'
import { type ServingRouter, startServingRouter } from '../support/serving-router.ts'

const { method } = OpenShell
const TOKEN_LIFETIME_MS = 2_000

let world: TestGateway
let router: ServingRouter
before(async () => {
  world = await startTestGateway({ tokenLifetimeMs: TOKEN_LIFETIME_MS })
  router = await startServingRouter(world)
})
afterEach(() => world.lab.faults.clear())
after(async () => {
  await router[Symbol.asyncDispose]()
  await world[Symbol.asyncDispose]()
})

const add = (provider: ReturnType<typeof oauthProvider>) =>
  world.call(method.createProvider, { provider })

/** Asks until the provider's token has turned over so often. */
async function askThrough(provider: string, turnovers: number): Promise<void> {
  const generation = async () => (await statusOf(world, provider)).generation
  const first = await generation()
  while ((await generation()) < first + BigInt(turnovers)) await askOpenai(router.baseUrl)
}

/** Refresh tokens that the authorization server was shown, in order. */
function spent(): readonly string[] {
  return world.lab.journal
    .entries()
    .filter(entry => entry.vendor === 'oauth2.token')
    .map(entry => new URLSearchParams(Buffer.from(entry.body ?? []).toString()))
    .flatMap(form => form.get('refresh_token') ?? [])
}

test('a rotating refresh token serves through three turnovers and is never spent twice', async () => {
  const provider = oauthProvider(world.lab, 'rotating', { method: 'post', refreshes: true })
  await add(provider)
  await serve(world, 'rotating', 'gpt-5.5')
  await askThrough('rotating', 2)
  // A gateway that stops and starts goes on with the newest of the family.
  await world.restart()
  await router[Symbol.asyncDispose]()
  router = await startServingRouter(world)
  await askThrough('rotating', 1)
  const tokens = spent()
  assert.ok(tokens.length >= 4, `${tokens.length} refreshes`)
  assert.equal(new Set(tokens).size, tokens.length, 'a refresh token was spent twice')
  assert.equal(tokens[0], provider.credentials.OAUTH2_REFRESH_TOKEN)
  const { providers } = await world.store.listProviders('default', { limit: 10, offset: 0 })
  const [stored] = providers
  assert.equal(
    spent().includes(stored?.material.get('OAUTH2_REFRESH_TOKEN')?.reveal() ?? ''),
    false,
  )
  for (const token of [...tokens, ...world.lab.tokens().map(one => one.value.reveal())]) {
    assert.ok(!world.lines.join('\n').includes(token), 'a secret stands in the log')
  }
  await world.call(method.deleteProvider, { name: 'rotating' })
})

test('an edit spends the newest refresh token and keeps what came of it', async () => {
  await add(oauthProvider(world.lab, 'edited', { method: 'post', refreshes: true }))
  const before = spent().length
  const config = { OAUTH2_SCOPES: 'inference' }
  await world.call(method.updateProvider, { provider: { metadata: { name: 'edited' }, config } })
  await serve(world, 'edited', 'gpt-5.5')
  await askThrough('edited', 1)
  const tokens = spent().slice(before)
  assert.equal(new Set(tokens).size, tokens.length)
  await world.call(method.deleteProvider, { name: 'edited' })
})

test('a connection that drops after the rotation costs one second try, then a person is asked', async () => {
  await add(oauthProvider(world.lab, 'dropped', { method: 'post', refreshes: true }))
  world.lab.faults.set('oauth2.token reset=before')
  await until(async () => (await statusOf(world, 'dropped')).state === 'failed', 'giving up')
  const status = await statusOf(world, 'dropped')
  assert.equal(status.failureClass, 'P')
  assert.match(status.advice, /Sign in again/)
  // The one that added the provider; the dropped one, which the server rotated; its one repetition.
  const counts = Object.values(Object.groupBy(spent().slice(-2), token => token))
  assert.deepEqual(
    counts.map(group => group?.length),
    [2],
  )
  world.lab.faults.clear()
  await world.call(method.deleteProvider, { name: 'dropped' })
})

test('within a server’s grace the second try succeeds, and the new family goes on', async () => {
  await add(
    oauthProvider(world.lab, 'graceful', { method: 'post', graceMs: 10_000, refreshes: true }),
  )
  world.lab.faults.set('oauth2.token reset=before count=1')
  const { generation } = await statusOf(world, 'graceful')
  const hasTurned = async () => (await statusOf(world, 'graceful')).generation > generation
  await until(hasTurned, 'a turnover')
  assert.equal((await statusOf(world, 'graceful')).consecutiveFailures, 0)
  await world.call(method.deleteProvider, { name: 'graceful' })
})

test('an endpoint that is unreachable, or says so, never spends the refresh token', async () => {
  await add(oauthProvider(world.lab, 'patient', { method: 'post', refreshes: true }))
  await serve(world, 'patient', 'gpt-5.5')
  world.lab.faults.set('oauth2.token status=503')
  await until(async () => (await statusOf(world, 'patient')).consecutiveFailures >= 1, 'a failure')
  assert.equal((await statusOf(world, 'patient')).failureClass, 'T')
  world.lab.faults.clear()
  await until(async () => (await statusOf(world, 'patient')).state === 'valid', 'recovery')
  await askOpenai(router.baseUrl)
  await world.call(method.deleteProvider, { name: 'patient' })
})
