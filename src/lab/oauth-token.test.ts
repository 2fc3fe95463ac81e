// Goal: the authorization server takes exactly what the RFCs say, each client by its own method, each
// assertion and refresh token once; so do the vendors' endpoints for workload identities.
import assert from 'node:assert/strict'
import { createPrivateKey, randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { SignJWT } from 'jose'
import { type Received, send, startTestLab, type TestLab } from '../../test/support/lab.ts'
import type { OauthMethod, OauthRegistration } from './oauth-clients.ts'
import { FEDERATION } from './workload-identity.ts'

type Fields = Readonly<Record<string, string>>

const FORM: readonly [string, string] = ['content-type', 'application/x-www-form-urlencoded']
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const CREDENTIALS: Fields = { grant_type: 'client_credentials' }

async function ask(
  { lab }: TestLab,
  fields: Fields | string,
  headers: readonly (readonly [string, string])[] = [],
): Promise<Received> {
  const body = new URLSearchParams(fields).toString()
  return send(`${lab.origin}/oauth2/token`, { headers: [FORM, ...headers], body })
}

function said({ status, text }: Received): string {
  const { error, access_token: token } = JSON.parse(text)
  return `${status} ${error ?? (typeof token === 'string' ? 'token' : 'nothing')}`
}

function basicOf({ clientId, clientSecret }: OauthRegistration, isRaw = false) {
  const encode = (text: string) =>
    isRaw ? text : new URLSearchParams([['', text]]).toString().slice(1)
  const pair = `${encode(clientId)}:${encode(clientSecret.reveal())}`
  return ['authorization', `Basic ${Buffer.from(pair).toString('base64')}`] as const
}

const postOf = ({ clientId, clientSecret }: OauthRegistration): Fields => ({
  client_id: clientId,
  client_secret: clientSecret.reveal(),
})

async function assertionOf(
  testLab: TestLab,
  client: OauthRegistration,
  changes: { readonly claims?: object; readonly algorithm?: string } = {},
): Promise<Fields> {
  const iat = Math.floor(testLab.clock.nowMs() / 1_000)
  const claims = {
    ...{ iss: client.clientId, sub: client.clientId, aud: `${testLab.lab.origin}/oauth2/token` },
    ...{ iat, exp: iat + 300, jti: randomUUID() },
    ...changes.claims,
  }
  const jwt = await new SignJWT(claims)
    .setProtectedHeader({ alg: changes.algorithm ?? 'ES256' })
    .sign(createPrivateKey(client.privateKey.reveal()))
  return {
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: jwt,
  }
}

test('a client is known by its own method and by no other, nor by two at once', async () => {
  await using testLab = await startTestLab()
  const register = (method: OauthMethod) => testLab.lab.registerOauthClient({ method })
  const [basic, raw, post] = [register('basic'), register('basic_raw'), register('post')]
  assert.equal(said(await ask(testLab, CREDENTIALS, [basicOf(basic)])), '200 token')
  assert.equal(said(await ask(testLab, CREDENTIALS, [basicOf(raw, true)])), '200 token')
  assert.equal(said(await ask(testLab, { ...CREDENTIALS, ...postOf(post) })), '200 token')
  const wrong = [
    ask(testLab, CREDENTIALS, [basicOf(basic, true)]),
    ask(testLab, CREDENTIALS, [basicOf(raw)]),
    ask(testLab, CREDENTIALS, [basicOf(post)]),
    ask(testLab, { ...CREDENTIALS, ...postOf(basic) }),
    ask(testLab, { ...CREDENTIALS, ...postOf(post), client_secret: 'guess' }),
    ask(testLab, { ...CREDENTIALS, client_id: post.clientId }),
    ask(testLab, CREDENTIALS),
  ]
  for (const answer of await Promise.all(wrong)) {
    assert.equal(said(answer), '401 invalid_client')
    assert.match(answer.headers['www-authenticate'] ?? '', /^Basic/)
  }
  const both = await ask(testLab, { ...CREDENTIALS, ...postOf(post) }, [basicOf(basic)])
  assert.equal(said(both), '400 invalid_request')
  assert.equal(testLab.lab.disableOauthClient(post.clientId), true)
  assert.equal(testLab.lab.disableOauthClient('nobody'), false)
  assert.equal(said(await ask(testLab, { ...CREDENTIALS, ...postOf(post) })), '401 invalid_client')
})

test('a client assertion is checked in every part, and taken once', async () => {
  await using testLab = await startTestLab()
  for (const algorithm of ['ES256', 'RS256', 'PS256'] as const) {
    const client = testLab.lab.registerOauthClient({ method: 'private_key_jwt', algorithm })
    const proof = await assertionOf(testLab, client, { algorithm })
    assert.equal(said(await ask(testLab, { ...CREDENTIALS, ...proof })), '200 token')
    assert.match((await ask(testLab, { ...CREDENTIALS, ...proof })).text, /jti was already used/)
  }
  const client = testLab.lab.registerOauthClient({ method: 'private_key_jwt' })
  const nowSeconds = Math.floor(testLab.clock.nowMs() / 1_000)
  const rows: readonly (readonly [claims: object, words: RegExp])[] = [
    [{ iss: 'other' }, /iss and sub/],
    [{ aud: 'https://other.example' }, /aud names another/],
    [{ exp: nowSeconds + 301 }, /timeframe/],
    [{ iat: nowSeconds - 400, exp: nowSeconds - 100 }, /timeframe/],
    [{ iat: nowSeconds + 120, exp: nowSeconds + 300 }, /timeframe/],
    [{ jti: undefined }, /jti is missing/],
  ]
  for (const [claims, words] of rows) {
    const proof = await assertionOf(testLab, client, { claims })
    const answer = await ask(testLab, { ...CREDENTIALS, ...proof })
    assert.equal(answer.status, 401)
    assert.match(answer.text, words)
  }
  const other = testLab.lab.registerOauthClient({ method: 'private_key_jwt' })
  const stolen = { ...client, privateKey: other.privateKey }
  const forged = await ask(testLab, { ...CREDENTIALS, ...(await assertionOf(testLab, stolen)) })
  assert.match(forged.text, /Wrong signature/)
})

test('a form is taken only with exactly its own fields', async () => {
  await using testLab = await startTestLab()
  const post = testLab.lab.registerOauthClient({ method: 'post' })
  const good = { ...CREDENTIALS, ...postOf(post) }
  const rows: readonly (readonly [Fields | string, string])[] = [
    [{ ...good, scope: 'inference' }, '200 token'],
    [{ ...good, scope: 'everything' }, '400 invalid_scope'],
    [{ ...good, scope: '' }, '400 invalid_request'],
    [{ ...good, extra: '1' }, '400 invalid_request'],
    [{ ...good, refresh_token: 'x' }, '400 invalid_request'],
    [{ ...good, grant_type: 'password' }, '400 unsupported_grant_type'],
    [{ ...good, grant_type: 'refresh_token' }, '400 invalid_request'],
    [`${new URLSearchParams(good)}&client_id=x`, '400 invalid_request'],
  ]
  for (const [fields, expected] of rows) assert.equal(said(await ask(testLab, fields)), expected)
  const url = `${testLab.lab.origin}/oauth2/token`
  assert.equal(said(await send(url)), '405 invalid_request')
  const json = await send(url, { headers: [['content-type', 'application/json']], body: good })
  assert.equal(said(json), '400 invalid_request')
  const publicClient = testLab.lab.registerOauthClient({ method: 'none' })
  const bare = { ...CREDENTIALS, client_id: publicClient.clientId }
  assert.equal(said(await ask(testLab, bare)), '400 unauthorized_client')
})

test('a refresh token rotates, and seen again it revokes its family and what came of it', async () => {
  await using testLab = await startTestLab()
  const { lab, clock } = testLab
  const redeem = async (client: OauthRegistration, token: string) => {
    const answer = await ask(testLab, {
      ...{ grant_type: 'refresh_token', refresh_token: token },
      ...postOf(client),
    })
    return { said: said(answer), next: String(JSON.parse(answer.text).refresh_token) }
  }
  const strict = lab.registerOauthClient({ method: 'post' })
  const first = strict.refreshToken.reveal()
  const second = await redeem(strict, first)
  assert.equal(second.said, '200 token')
  assert.notEqual(second.next, first)
  assert.equal((await redeem(strict, first)).said, '400 invalid_grant')
  assert.equal((await redeem(strict, second.next)).said, '400 invalid_grant')
  assert.ok(lab.tokens().every(token => token.isRevoked))

  const graceful = lab.registerOauthClient({ method: 'post', graceMs: 30_000 })
  const before = graceful.refreshToken.reveal()
  await redeem(graceful, before)
  assert.equal((await redeem(graceful, before)).said, '200 token')
  clock.stepWall(30_000)
  assert.equal((await redeem(graceful, before)).said, '400 invalid_grant')

  const lasting = lab.registerOauthClient({ method: 'post', isRotating: false })
  for (let round = 0; round < 2; round += 1) {
    const again = await redeem(lasting, lasting.refreshToken.reveal())
    assert.deepEqual(again, { said: '200 token', next: 'undefined' })
  }
  assert.equal((await redeem(lasting, before)).said, '400 invalid_grant')
})

test('an exchange takes an identity of the lab’s own issuer, for this server, while it lives', async () => {
  await using testLab = await startTestLab()
  const { lab, clock } = testLab
  const { clientId } = lab.registerOauthClient({ method: 'none' })
  const audience = `${lab.origin}/oauth2`
  const exchange = (token: string, more: Fields = {}) =>
    ask(testLab, {
      ...{ grant_type: EXCHANGE, client_id: clientId, subject_token: token },
      ...{ subject_token_type: 'urn:ietf:params:oauth:token-type:jwt', ...more },
    })
  const good = lab.identityToken({ audience }).reveal()
  const answer = await exchange(good)
  assert.equal(said(answer), '200 token')
  assert.match(answer.text, /"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"/)
  assert.equal(said(await exchange(good)), '200 token')
  assert.equal(said(await exchange(good, { subject_token_type: 'x' })), '400 invalid_request')
  for (const bad of [
    'nonsense',
    `${good.slice(0, -4)}AAAA`,
    lab.identityToken({ audience: 'https://other.example' }).reveal(),
    lab.identityToken({ audience, lifetimeMs: -1_000 }).reveal(),
  ]) {
    assert.equal(said(await exchange(bad)), '400 invalid_grant')
  }
  clock.stepWall(3_600_000)
  assert.match((await exchange(good)).text, /expired/)
})

test('Anthropic takes a workload’s identity once, with both betas, and its API wants the beta', async () => {
  await using testLab = await startTestLab()
  const { lab } = testLab
  const url = `${lab.origin}/anthropic/v1/oauth/token`
  const betas: readonly [string, string] = [
    'anthropic-beta',
    'oauth-2025-04-20,oidc-federation-2026-04-01',
  ]
  const headers = [['content-type', 'application/json'], betas] as const
  const identity = () => lab.identityToken({ audience: url }).reveal()
  const body = (changes: object = {}) => ({
    ...{ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion: identity() },
    ...{ ...FEDERATION.anthropic, workspace_id: undefined, ...changes },
  })
  const once = body()
  const minted = await send(url, { headers, body: once })
  assert.equal(said(minted), '200 token')
  assert.match((await send(url, { headers, body: once })).text, /already used/)
  assert.equal(
    said(await send(url, { headers: [headers[0]], body: body() })),
    '400 invalid_request',
  )
  for (const [changes, expected] of [
    [{ federation_rule_id: 'other' }, '401 invalid_grant'],
    [{ assertion: 'x'.repeat(16_385) }, '400 invalid_request'],
    [{ extra: 1 }, '400 invalid_request'],
    [{ workspace_id: FEDERATION.anthropic.workspace_id }, '200 token'],
  ] as const) {
    assert.equal(said(await send(url, { headers, body: body(changes) })), expected)
  }
  const token = JSON.parse(minted.text).access_token
  const call = (more: readonly (readonly [string, string])[]) =>
    send(`${lab.origin}/anthropic/v1/models`, {
      headers: [['authorization', `Bearer ${token}`], ['anthropic-version', '2023-06-01'], ...more],
    })
  assert.equal((await call([['anthropic-beta', 'a,oauth-2025-04-20']])).status, 200)
  assert.equal((await call([])).status, 401)
})

test('clients and identities are handed out over HTTP', async () => {
  await using testLab = await startTestLab()
  const control = (path: string, method = 'POST') =>
    send(`${testLab.lab.origin}/lab/${path}`, { method })
  const client = JSON.parse((await control('oauth-client?method=post')).text)
  const form = {
    client_id: client.OAUTH2_CLIENT_ID,
    client_secret: client.OAUTH2_CLIENT_SECRET,
  }
  assert.equal(said(await ask(testLab, { ...CREDENTIALS, ...form })), '200 token')
  for (const query of ['method=guess', 'algorithm=none', 'grace=soon']) {
    assert.equal((await control(`oauth-client?${query}`)).status, 400, query)
  }
  const id = encodeURIComponent(client.OAUTH2_CLIENT_ID)
  assert.equal((await control(`oauth-client/disable?id=${id}`)).status, 200)
  assert.equal((await control('oauth-client/disable?id=nobody')).status, 404)
  assert.match((await control('identity-token', 'GET')).text, /^[\w-]+\.[\w-]+\.[\w-]+$/)
  assert.equal((await control('identity-token?lifetime=long', 'GET')).status, 400)
  const { federation } = JSON.parse((await control('keys', 'GET')).text)
  assert.equal(federation.ANTHROPIC_FEDERATION_RULE_ID, 'fdrl_lab')
})
