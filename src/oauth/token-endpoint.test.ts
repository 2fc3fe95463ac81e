// Goal: one request, well formed, over within its deadline whatever the peer does, and no secret in
// what is said about it. Method: a scripted peer on a fake clock; the slow body comes over loopback.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { jwtVerify } from 'jose'
import { FakeClock } from '../../test/support/fake-clock.ts'
import {
  aborted,
  formOf,
  responseOf,
  type Script,
  scriptedFetch,
} from '../../test/support/scripted-fetch.ts'
import { seededRandom } from '../../test/support/seeded-random.ts'
import { Secret } from '../core/secret.ts'
import type { Fetch } from '../system/fetch.ts'
import { realFetch } from '../system/real.ts'
import { TOKEN_REQUEST_DEFAULTS } from './mint.ts'
import { sendTokenRequest } from './token-endpoint.ts'
import type { InputIo, RequestValue, TokenRequest } from './token-request.ts'

const BODY_BYTES_MAX = 1_048_576
const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
const privateKeyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

function requestOf(
  fields: readonly (readonly [string, RequestValue])[],
  url = 'https://idp.example/token',
): TokenRequest {
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    url: new URL(url),
    body: { kind: 'form', fields: new Map(fields) },
    judge: () => {
      throw new Error('sending judges nothing')
    },
    leadMs: () => 300_000,
  }
}

/** The outside world of a request without inputs. */
function ioOf(fetch: Fetch, clock: FakeClock): InputIo {
  const unused = () => Promise.reject(new Error('not asked for'))
  const random = seededRandom(1)
  return { fetch, clock, random, execute: unused, vendorNowMs: 0, readFile: unused, mint: unused }
}

const clientSecret = new Secret('p+s/w=d & more é')
const plain = requestOf([
  ['grant_type', 'client_credentials'],
  ['client_secret', clientSecret],
])

/** Sends against a peer, on a clock of its own. */
function exchange(fetch: Fetch, request: TokenRequest = plain) {
  const clock = new FakeClock()
  const stop = new AbortController()
  const done = sendTokenRequest(ioOf(fetch, clock), request, stop.signal)
  return { clock, stop, done }
}

async function failureOf(script: Script) {
  const { done, clock } = exchange(scriptedFetch(() => script).fetch)
  const result = await done
  assert.equal(clock.sleepers, 0, 'the deadline’s timer is stopped')
  if (result.kind !== 'failed') throw new Error('expected a failure')
  return result.failure
}

test('one POST goes out, url-encoded, asking for JSON', async () => {
  const peer = scriptedFetch(() => ({ body: 'the body', headers: { date: 'today' }, status: 418 }))
  const { done, clock } = exchange(peer.fetch)
  const answer = await done
  const [request] = peer.requests
  assert.equal(peer.requests.length, 1)
  assert.equal(request?.method, 'POST')
  assert.equal(request?.url, 'https://idp.example/token')
  assert.deepEqual(Object.fromEntries(request?.headers ?? []), {
    'content-type': 'application/x-www-form-urlencoded',
    accept: 'application/json',
  })
  assert.deepEqual(
    [...formOf(request)],
    [
      ['grant_type', 'client_credentials'],
      ['client_secret', clientSecret.reveal()],
    ],
  )
  if (answer.kind !== 'answer') throw new Error('expected an answer')
  assert.equal(answer.status, 418)
  assert.equal(answer.headers.get('date'), 'today')
  assert.equal(Buffer.from(answer.body ?? []).toString(), 'the body')
  assert.deepEqual(
    answer.sent.map(one => one.reveal()),
    [clientSecret.reveal()],
  )
  assert.equal(clock.sleepers, 0)
})

test('an assertion is signed anew for each request, with the claims and header it was given', async () => {
  const peer = scriptedFetch(() => ({ body: {} }))
  const request = requestOf([
    [
      'assertion',
      {
        kind: 'assertion',
        algorithm: 'RS256',
        privateKey: new Secret(privateKeyPem),
        header: { kid: 'key-1' },
        claims: { iss: 'robot', aud: 'https://idp.example/token', iat: 100, exp: 3_700 },
        hasJti: false,
      },
    ],
  ])
  const answer = await exchange(peer.fetch, request).done
  const assertion = formOf(peer.requests[0]).get('assertion') ?? ''
  const { payload, protectedHeader } = await jwtVerify(assertion, publicKey, {
    currentDate: new Date(200_000),
  })
  assert.deepEqual(protectedHeader, { alg: 'RS256', typ: 'JWT', kid: 'key-1' })
  assert.deepEqual(payload, {
    iss: 'robot',
    aud: 'https://idp.example/token',
    iat: 100,
    exp: 3_700,
  })
  assert.equal(answer.kind === 'answer' && answer.sent[0]?.reveal(), assertion)
})

test('the deadline of 10 s covers the time before the headers', async () => {
  const { done, clock } = exchange(scriptedFetch(() => 'silence').fetch)
  await clock.advance(9_999)
  assert.equal(clock.sleepers, 1)
  await clock.advance(1)
  const result = await done
  assert.equal(result.kind === 'failed' && result.failure.class, 'T')
  assert.match(
    result.kind === 'failed' ? result.failure.message : '',
    /no complete answer within 10 s/,
  )
})

test('the deadline covers a body that drips for ever', async () => {
  // The signal ends the body too, as the contract of `Fetch` says; the next test holds undici to it.
  const drip: Fetch = async ({ signal }) => ({
    status: 200,
    headers: new Map(),
    body: (async function* () {
      for (;;) {
        yield Buffer.from(' ')
        await clockOf.sleep(1_000, signal)
        signal.throwIfAborted()
      }
    })(),
  })
  const { done, clock: clockOf } = exchange(drip)
  await clockOf.advance(9_999)
  assert.ok(clockOf.sleepers > 0)
  await clockOf.advance(1)
  const result = await done
  assert.equal(result.kind === 'failed' && result.failure.class, 'T')
  assert.equal(clockOf.sleepers, 0)
})

test('the deadline ends a real connection whose body never ends', async t => {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.write('{"access_token":"')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.closeAllConnections())
  t.after(() => server.close())
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : 0
  const started = once(server, 'request')
  const { done, clock } = exchange(realFetch, requestOf([], `http://127.0.0.1:${port}/token`))
  const [incoming] = await started
  const closed = new Promise(resolve => incoming.socket.on('error', resolve).on('close', resolve))
  await clock.advance(10_000)
  const result = await done
  assert.equal(result.kind === 'failed' && result.failure.class, 'T')
  await closed
})

test('an abort from outside rejects, before and after the request left', async () => {
  const peer = scriptedFetch(() => 'silence')
  const { done, stop, clock } = exchange(peer.fetch)
  await clock.waitForSleepers(1)
  stop.abort()
  await assert.rejects(done, { name: 'AbortError' })
  assert.equal(clock.sleepers, 0)

  const early = scriptedFetch(() => ({}))
  const deps = { fetch: early.fetch, clock: new FakeClock() }
  await assert.rejects(sendTokenRequest(ioOf(deps.fetch, deps.clock), plain, AbortSignal.abort()), {
    name: 'AbortError',
  })
  assert.equal(early.requests.length, 0)
})

test('network trouble is transient and told by its code, without a secret', async () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:9'), {
    code: 'ECONNREFUSED',
  })
  const wrapped = new TypeError('fetch failed', { cause: refused })
  for (const error of [refused, wrapped]) {
    const failure = await failureOf(error)
    assert.equal(failure.class, 'T')
    assert.equal(failure.code, 'oauth_token_endpoint_unavailable')
    assert.equal(failure.message, 'Cannot reach token endpoint "idp.example": ECONNREFUSED')
  }
  const quoting = await failureOf(new Error(`invalid byte in "${clientSecret.reveal()}"\r\nmore`))
  assert.equal(
    quoting.message,
    'Cannot reach token endpoint "idp.example": invalid byte in "[secret]" more',
  )
})

test('a body that breaks off is transient trouble', async () => {
  const broken: Fetch = async () => ({
    status: 200,
    headers: new Map(),
    body: (async function* () {
      yield Buffer.from('{"access_token":')
      throw Object.assign(new Error('terminated'), { code: 'UND_ERR_SOCKET' })
    })(),
  })
  const result = await exchange(broken).done
  assert.equal(result.kind === 'failed' && result.failure.class, 'T')
})

test('a body is read up to 1 MiB, and the rest of a larger one is cancelled', async () => {
  const exact = await exchange(
    scriptedFetch(() => ({ body: Buffer.alloc(BODY_BYTES_MAX, 32) })).fetch,
  ).done
  assert.equal(exact.kind === 'answer' && exact.body?.byteLength, BODY_BYTES_MAX)

  let chunks = 0
  let isCancelled = false
  const endless: Fetch = async () => ({
    ...responseOf({}),
    body: (async function* () {
      try {
        for (;;) {
          chunks += 1
          yield Buffer.alloc(65_536)
        }
      } finally {
        isCancelled = true
      }
    })(),
  })
  const answer = await exchange(endless).done
  assert.equal(answer.kind === 'answer' ? answer.body : undefined, null)
  assert.deepEqual([chunks, isCancelled], [17, true])
})

test('the time it took is told by the monotonic clock', async () => {
  const slow: Fetch = async ({ signal }) => {
    await Promise.race([clockOf.sleep(700, signal), aborted(signal)])
    clockOf.stepWall(-3_600_000)
    return responseOf({})
  }
  const { done, clock: clockOf } = exchange(slow)
  await clockOf.waitForSleepers(2)
  await clockOf.advance(700)
  const answer = await done
  assert.equal(answer.kind === 'answer' && answer.elapsedMs, 700)
})

test('when the outcome of what may be spent once is unknown, that is said; not when it never left', async () => {
  const failing = (code: string) => Object.assign(new Error('network'), { code })
  const cases: readonly (readonly [script: Script, isUnknown: boolean])[] = [
    [failing('ECONNRESET'), true],
    [failing('UND_ERR_SOCKET'), true],
    [new Error('terminated'), true],
    [failing('ECONNREFUSED'), false],
    [failing('ENOTFOUND'), false],
    [failing('UND_ERR_CONNECT_TIMEOUT'), false],
  ]
  for (const [script, isUnknown] of cases) {
    for (const singleUse of ['TOKEN', null]) {
      const { done } = exchange(scriptedFetch(() => script).fetch, { ...plain, singleUse })
      const result = await done
      assert.ok(result.kind === 'failed')
      const isSaid = result.failure.code === 'oauth_outcome_unknown'
      assert.equal(isSaid, isUnknown && singleUse !== null, String(script))
      assert.equal(result.failure.class, 'T')
    }
  }
  const { done, clock } = exchange(scriptedFetch(() => 'silence').fetch, {
    ...plain,
    singleUse: 'TOKEN',
  })
  await clock.waitForSleepers(1)
  await clock.advance(plain.timeoutMs)
  const late = await done
  assert.equal(late.kind === 'failed' && late.failure.code, 'oauth_outcome_unknown')
})
