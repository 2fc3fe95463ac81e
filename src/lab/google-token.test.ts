// Goal: the token endpoint takes exactly what Google takes. Method: ask it like a stranger.
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { after, before, test } from 'node:test'
import {
  type AssertionChanges,
  askToken,
  mintToken,
  type Sent,
  send,
  signAssertion,
  startTestLab,
  type TestLab,
  tokenForm,
} from '../../test/support/lab.ts'

let testLab: TestLab
before(async () => {
  testLab = await startTestLab()
})
after(() => testLab.lab.close())

const nowSeconds = () => Math.floor(testLab.clock.nowMs() / 1_000)

test('a good assertion gets a token', async () => {
  const { status, headers, text } = await askToken(testLab)
  assert.equal(status, 200)
  assert.match(headers['content-type'] ?? '', /^application\/json/)
  const { access_token, ...rest } = JSON.parse(text)
  assert.match(access_token, /^ya29\.c\.[\w-]{1000,}$/)
  assert.deepEqual(rest, { expires_in: 3_600, token_type: 'Bearer' })
  const issued = testLab.lab.tokens().at(-1)
  assert.equal(issued?.value.reveal(), access_token)
  assert.equal(issued?.expiresAtMs, testLab.clock.nowMs() + 3_600_000)
})

test('the content type may name a charset', async () => {
  const form = tokenForm(signAssertion(testLab.lab.serviceAccountKey(), testLab.clock.nowMs()))
  const headers: Sent['headers'] = [
    ['content-type', 'application/x-www-form-urlencoded;charset=UTF-8'],
  ]
  assert.equal((await send(`${testLab.lab.origin}/token`, { ...form, headers })).status, 200)
})

const TIME = /^Invalid JWT: Token must be a short-lived token \(60 minutes\)/

const ASSERTIONS: readonly (readonly [string, () => AssertionChanges, string, RegExp])[] = [
  ['alg HS256', () => ({ header: { alg: 'HS256' } }), 'invalid_grant', /alg RS256/],
  ['no typ', () => ({ header: { typ: undefined } }), 'invalid_grant', /typ JWT/],
  ['a foreign kid', () => ({ header: { kid: 'x' } }), 'invalid_grant', /^Invalid JWT Signature\.$/],
  ['no kid', () => ({ header: { kid: undefined } }), 'invalid_grant', /^Invalid JWT Signature\.$/],
  ['a foreign key', foreignKey, 'invalid_grant', /^Invalid JWT Signature\.$/],
  ['a foreign iss', () => ({ claims: { iss: 'a@b.c' } }), 'invalid_grant', /account not found/],
  ['no iss', () => ({ claims: { iss: undefined } }), 'invalid_grant', /account not found/],
  [
    'a foreign aud',
    () => ({ claims: { aud: 'https://oauth2.googleapis.com/token' } }),
    'invalid_grant',
    /^Invalid JWT: Failed audience check\.$/,
  ],
  [
    'aud as list',
    () => ({ claims: { aud: [`${testLab.lab.origin}/token`] } }),
    'invalid_grant',
    /audience/,
  ],
  ['iat 61 s ahead', () => ({ claims: { iat: nowSeconds() + 61 } }), 'invalid_grant', TIME],
  [
    'exp reached',
    () => ({ claims: { iat: nowSeconds() - 10, exp: nowSeconds() } }),
    'invalid_grant',
    TIME,
  ],
  ['a life of 3601 s', () => ({ claims: { exp: nowSeconds() + 3_601 } }), 'invalid_grant', TIME],
  ['exp as text', () => ({ claims: { exp: String(nowSeconds() + 60) } }), 'invalid_grant', TIME],
  ['a fraction in iat', () => ({ claims: { iat: nowSeconds() - 0.5 } }), 'invalid_grant', TIME],
  ['no iat', () => ({ claims: { iat: undefined } }), 'invalid_grant', TIME],
  ['no scope', () => ({ claims: { scope: undefined } }), 'invalid_scope', /^Invalid OAuth scope/],
  [
    'another scope',
    () => ({ claims: { scope: 'openid email' } }),
    'invalid_scope',
    /^Invalid OAuth scope/,
  ],
  ['an unknown claim', () => ({ claims: { nonce: 1 } }), 'invalid_grant', /Unknown claim nonce/],
]

function foreignKey(): AssertionChanges {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  return { privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
}

for (const [what, changes, error, description] of ASSERTIONS) {
  test(`an assertion with ${what} is refused`, async () => {
    const { status, text } = await askToken(testLab, changes())
    const body = JSON.parse(text)
    assert.deepEqual([status, body.error], [400, error])
    assert.match(body.error_description, description)
  })
}

test('an assertion at the limits is taken', async () => {
  const limits: readonly AssertionChanges[] = [
    { claims: { iat: nowSeconds() + 60, exp: nowSeconds() + 3_660 } },
    { claims: { iat: nowSeconds() - 3_599, exp: nowSeconds() + 1 } },
    { claims: { sub: JSON.parse(testLab.lab.serviceAccountKey()).client_email } },
    { claims: { scope: 'openid https://www.googleapis.com/auth/cloud-platform' } },
  ]
  for (const changes of limits) assert.equal((await askToken(testLab, changes)).status, 200)
})

test('delegation to another user is refused', async () => {
  const { status, text } = await askToken(testLab, { claims: { sub: 'someone@example.com' } })
  assert.deepEqual([status, JSON.parse(text).error], [401, 'unauthorized_client'])
})

const FORM = 'application/x-www-form-urlencoded'
const GRANT = 'grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer'

const REQUESTS: readonly (readonly [
  string,
  Sent & { readonly query?: string },
  number,
  string,
  RegExp,
])[] = [
  ['GET', { method: 'GET' }, 405, 'invalid_request', /POST/],
  ['a query', { query: '?a=1', body: `${GRANT}&assertion=a.b.c` }, 400, 'invalid_request', /query/],
  ['no content type', { headers: [], body: GRANT }, 400, 'invalid_request', /Content-Type/],
  [
    'JSON',
    { headers: [['content-type', 'application/json']], body: {} },
    400,
    'invalid_request',
    /Content-Type/,
  ],
  [
    'an Authorization header',
    {
      headers: [
        ['content-type', FORM],
        ['authorization', 'Bearer x'],
      ],
      body: GRANT,
    },
    400,
    'invalid_request',
    /"authorization" must not reach/,
  ],
  [
    'an x-api-key',
    {
      headers: [
        ['content-type', FORM],
        ['x-api-key', 'x'],
      ],
      body: GRANT,
    },
    400,
    'invalid_request',
    /"x-api-key" must not reach/,
  ],
  [
    'bytes that are no form',
    { body: `${GRANT}&assertion=a b` },
    400,
    'invalid_request',
    /form-encoded/,
  ],
  [
    'no assertion',
    { body: GRANT },
    400,
    'invalid_request',
    /Missing required parameter: assertion/,
  ],
  [
    'an empty assertion',
    { body: `${GRANT}&assertion=` },
    400,
    'invalid_request',
    /Missing required parameter: assertion/,
  ],
  [
    'no grant type',
    { body: 'assertion=a.b.c' },
    400,
    'invalid_request',
    /Missing required parameter: grant_type/,
  ],
  [
    'two grant types',
    { body: `${GRANT}&${GRANT}&assertion=a.b.c` },
    400,
    'invalid_request',
    /Duplicate parameter: grant_type/,
  ],
  [
    'an unknown field',
    { body: `${GRANT}&assertion=a.b.c&scope=x` },
    400,
    'invalid_request',
    /Unknown parameter: scope/,
  ],
  [
    'another grant',
    { body: 'grant_type=client_credentials&assertion=a.b.c' },
    400,
    'unsupported_grant_type',
    /client_credentials/,
  ],
  ['no JWT', { body: `${GRANT}&assertion=abc` }, 400, 'invalid_grant', /Bad JWT format/],
  [
    'a JWT of no JSON',
    { body: `${GRANT}&assertion=YQ.YQ.YQ` },
    400,
    'invalid_grant',
    /Bad JWT format/,
  ],
]

for (const [what, { query = '', ...sent }, status, error, description] of REQUESTS) {
  test(`a request with ${what} is refused`, async () => {
    const headers: Sent['headers'] = [['content-type', FORM]]
    const received = await send(`${testLab.lab.origin}/token${query}`, { headers, ...sent })
    const body = JSON.parse(received.text)
    assert.deepEqual([received.status, body.error], [status, error])
    assert.match(body.error_description, description)
  })
}

test('a body of 64 KiB is read, one byte more is not', async () => {
  const lengths = [65_536, 65_537].map(async length => {
    const body = `${GRANT}&assertion=`.padEnd(length, 'a')
    const headers: Sent['headers'] = [['content-type', FORM]]
    return (await send(`${testLab.lab.origin}/token`, { headers, body })).status
  })
  assert.deepEqual(await Promise.all(lengths), [400, 413])
})

test('a disabled account gets no more tokens, others do', async () => {
  await using other = await startTestLab()
  const email = JSON.parse(other.lab.serviceAccountKey()).client_email
  await mintToken(other)
  assert.equal(other.lab.disableServiceAccount(email), true)
  const { status, text } = await askToken(other)
  assert.deepEqual([status, JSON.parse(text).error], [401, 'disabled_client'])
  const second = other.lab.serviceAccountKey({
    email: 'second@demo-project.iam.gserviceaccount.com',
  })
  const form = tokenForm(signAssertion(second, other.clock.nowMs()))
  assert.equal((await send(`${other.lab.origin}/token`, form)).status, 200)
  assert.equal(other.lab.disableServiceAccount('nobody@example.com'), false)
})

test('faults bend what the answer says of the token', async () => {
  const { lab } = testLab
  const rows: readonly (readonly [string, RegExp])[] = [
    ['expires_in="3599"', /"expires_in":"3599"/],
    ['expires_in=1e309', /"expires_in":1e309,/],
    ['expires_in=null', /"expires_in":null/],
    ['expires_in=missing', /^(?!.*expires_in)/],
    ['token_type="mac"', /"token_type":"mac"/],
    ['access_token=""', /"access_token":""/],
    ['access_token="a\\r\\nX-Evil: 1"', /"access_token":"a\\r\\nX-Evil: 1"/],
    ['access_token=7', /"access_token":7,/],
    ['access_token=missing', /^(?!.*access_token)/],
  ]
  for (const [text, pattern] of rows) {
    lab.faults.set(`google.token ${text} count=1`)
    const received = await askToken(testLab)
    assert.equal(received.status, 200)
    assert.match(received.text, pattern, text)
  }
})

test('same_token gives the same token with less life, until it is dead', async () => {
  await using other = await startTestLab({ tokenLifetimeMs: 60_000 })
  other.lab.faults.set('google.token same_token')
  const first = JSON.parse((await askToken(other)).text)
  await other.clock.advance(20_000)
  const second = JSON.parse((await askToken(other)).text)
  assert.deepEqual(second, { ...first, expires_in: 40 })
  await other.clock.advance(40_000)
  assert.notEqual(await mintToken(other), first.access_token)
  assert.equal(other.lab.counts().mints, 2)
})

test('a vendor whose clock is off judges by it and says so in Date', async () => {
  const { lab, clock } = testLab
  lab.faults.set('google.token clock_offset=-10m count=1')
  const { status, headers, text } = await askToken(testLab)
  assert.equal(status, 400)
  assert.match(JSON.parse(text).error_description, TIME)
  assert.equal(Date.parse(headers.date ?? ''), clock.nowMs() - 600_000)
})
