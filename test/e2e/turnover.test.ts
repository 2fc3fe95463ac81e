// Goal: tokens turn over under load, gateways stop and start, and no request notices.
// Method: the released gateway and router against the lab; the lab counts mints, 401s and breaks.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { run } from '../support/programs.ts'
import { type RouterAddresses, type System, startSystem } from '../support/system.ts'

const TOKEN_LIFETIME_MS = 4_000
const LOAD_MS = 14_000
const REQUESTS_PER_SECOND = 20
const LONG_STREAMS = 5

let system: System

before(async () => {
  system = await startSystem({ tokenLifetimeMs: TOKEN_LIFETIME_MS })
  await system.configure()
})
after(() => system.close())

test('under load through several turnovers nothing fails and each expiry costs one mint', async () => {
  const { addresses, program } = await system.startRouter('load')
  const mintsBefore = system.lab.counts().mints
  const startedMs = Date.now()
  const events = Math.round(LOAD_MS / 100)
  const streams = Array.from({ length: LONG_STREAMS }, () =>
    stream(addresses, `lab:events=${events},interval=100ms`),
  )
  const requests: Promise<number>[] = []
  while (Date.now() - startedMs < LOAD_MS) {
    requests.push(ask(addresses))
    await new Promise(resolve => setTimeout(resolve, 1_000 / REQUESTS_PER_SECOND))
  }
  const statuses = await Promise.all(requests)
  assert.deepEqual(
    statuses.filter(status => status !== 200),
    [],
  )
  for (const text of await Promise.all(streams)) {
    assert.ok(text.includes('event: message_stop'), 'a stream did not reach its end')
  }
  const elapsedMs = Date.now() - startedMs
  const { mints, unauthorized, broken, abandoned } = system.lab.counts()
  assert.deepEqual(
    { unauthorized, broken, abandoned },
    { unauthorized: 0, broken: 0, abandoned: 0 },
  )
  // A token is renewed after half its life less the jitter, which is at most a tenth of it.
  const turnovers = mints - mintsBefore
  assert.ok(
    turnovers >= Math.floor(elapsedMs / (TOKEN_LIFETIME_MS * 0.5)) - 1,
    `${turnovers} mints`,
  )
  assert.ok(turnovers <= Math.ceil(elapsedMs / (TOKEN_LIFETIME_MS * 0.4)) + 1, `${turnovers} mints`)
  await program.stop()
})

test('a revoked token costs one forced refresh and one replay', async () => {
  const { addresses, program } = await system.startRouter('revoked')
  assert.equal(await ask(addresses), 200)
  const { mints } = system.lab.counts()
  system.lab.revokeTokens()
  const statuses = await Promise.all(Array.from({ length: 20 }, () => ask(addresses)))
  assert.deepEqual(new Set(statuses), new Set([200]))
  assert.ok(system.lab.counts().mints - mints <= 2, 'one forced mint, and at most one that was due')
  await program.stop()
})

test('an outage of the gateway is not noticed while the token lives, then it is said in words', async () => {
  const { addresses, program } = await system.startRouter('outage')
  await system.gateway().stop()
  assert.equal(await ask(addresses), 200)
  let refused = await post(addresses, 'hi')
  while (refused.status === 200) {
    await refused.text()
    await new Promise(resolve => setTimeout(resolve, 100))
    refused = await post(addresses, 'hi')
  }
  assert.equal(refused.status, 503)
  assert.equal(refused.headers.get('x-openshell-error'), 'credential_expired')
  assert.ok(Number(refused.headers.get('retry-after')) > 0)
  const body: { type?: string; error?: { message?: string } } = JSON.parse(await refused.text())
  assert.equal(body.type, 'error')
  assert.match(body.error?.message ?? '', /my-vertex/)
  await system.startGateway()
  const deadlineMs = Date.now() + 15_000
  while ((await ask(addresses)) !== 200) {
    assert.ok(Date.now() < deadlineMs, 'service did not come back')
  }
  await program.stop()
})

test('a restarted gateway knows its providers, and a router that was started first waits', async () => {
  await system.gateway().stop()
  const waiting = system.startRouter('early')
  await system.startGateway()
  const { addresses, program } = await waiting
  const deadlineMs = Date.now() + 15_000
  while ((await ask(addresses)) !== 200) {
    assert.ok(Date.now() < deadlineMs, 'the router never got its bundle')
  }
  const { stdout } = await run(
    system.place,
    ['provider', 'refresh', 'status', '-o', 'json'],
    system.environment,
  )
  const [status] = JSON.parse(stdout)
  assert.equal(status.provider, 'my-vertex')
  assert.match(status.state, /valid|refreshing/)
  assert.equal(status.routers, 1)
  await program.stop()
})

async function ask(addresses: RouterAddresses): Promise<number> {
  const response = await post(addresses, 'hi')
  await response.text()
  return response.status
}

async function stream(addresses: RouterAddresses, words: string): Promise<string> {
  return (await post(addresses, words, true)).text()
}

function post(addresses: RouterAddresses, words: string, isStream = false): Promise<Response> {
  return fetch(`${addresses.baseUrl}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': 'anything' },
    body: JSON.stringify({
      model: 'any',
      max_tokens: 16,
      stream: isStream,
      messages: [{ role: 'user', content: words }],
    }),
  })
}
