// Goal: the pretend Entra ID takes what Microsoft documents and nothing else.
// Method: requests built by hand, each wrong in one place.
import assert from 'node:assert/strict'
import { constants, createPrivateKey, randomUUID, sign } from 'node:crypto'
import { test } from 'node:test'
import { send, startTestLab, type TestLab } from '../../test/support/lab.ts'

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const FORM = ['content-type', 'application/x-www-form-urlencoded'] as const

type Fields = Readonly<Record<string, string | undefined>>

function tokenUrl({ lab }: TestLab): string {
  return `${lab.origin}/${lab.azure.tenantId}/oauth2/v2.0/token`
}

/** Asks with a client secret, or with what stands in `changes`; `undefined` takes a field away. */
async function ask(testLab: TestLab, changes: Fields = {}, url = tokenUrl(testLab)) {
  const { azure } = testLab.lab
  const fields: Fields = {
    client_id: azure.clientId,
    scope: 'https://ai.azure.com/.default',
    grant_type: 'client_credentials',
    client_secret: azure.clientSecret.reveal(),
    ...changes,
  }
  const form = new URLSearchParams()
  for (const [name, value] of Object.entries(fields))
    if (value !== undefined) form.append(name, value)
  const { status, text } = await send(url, { headers: [FORM], body: form.toString() })
  return { status, body: JSON.parse(text) }
}

function byAssertion(assertion: string): Fields {
  return {
    client_secret: undefined,
    client_assertion_type: ASSERTION_TYPE,
    client_assertion: assertion,
  }
}

interface AssertionChanges {
  readonly header?: object
  readonly claims?: object
  readonly saltLength?: number
}

function signed(testLab: TestLab, changes: AssertionChanges = {}): string {
  const { lab, clock } = testLab
  const { pem, thumbprint } = lab.azure.certificate()
  const now = Math.floor(clock.nowMs() / 1_000)
  const { clientId } = lab.azure
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const head = encode({ alg: 'PS256', typ: 'JWT', 'x5t#S256': thumbprint, ...changes.header })
  const payload = encode({
    ...{ aud: tokenUrl(testLab), iss: clientId, sub: clientId, jti: randomUUID() },
    ...{ nbf: now, iat: now, exp: now + 600, ...changes.claims },
  })
  const key = {
    key: createPrivateKey(pem.reveal()),
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength: changes.saltLength ?? 32,
  }
  const signature = sign('sha256', Buffer.from(`${head}.${payload}`), key)
  return `${head}.${payload}.${signature.toString('base64url')}`
}

test('a secret, a certificate and a federated token each bring a token', async () => {
  await using testLab = await startTestLab({ tokenLifetimeMs: 7_200_000 })
  const { lab } = testLab
  const { audience, subject } = lab.azure.federation
  const federated = lab.identityToken({ audience, subject }).reveal()
  for (const fields of [{}, byAssertion(signed(testLab)), byAssertion(federated)]) {
    const { status, body } = await ask(testLab, fields)
    assert.equal(status, 200, JSON.stringify(body))
    assert.equal(body.token_type, 'Bearer')
    assert.equal(body.expires_in, 7_200)
    assert.equal(body.ext_expires_in, 7_200)
    assert.equal(body.refresh_in, 3_600)
    assert.equal(lab.tokens().at(-1)?.realm, 'azure.ai')
  }
  await ask(testLab, { scope: 'https://cognitiveservices.azure.com/.default' })
  assert.equal(lab.tokens().at(-1)?.realm, 'azure.cognitiveservices')
})

test('a request that is wrong in one place is refused by its number', async () => {
  await using testLab = await startTestLab()
  const { lab, clock } = testLab
  const { audience, subject } = lab.azure.federation
  const now = Math.floor(clock.nowMs() / 1_000)
  const used = signed(testLab)
  assert.equal((await ask(testLab, byAssertion(used))).status, 200)
  const bad = (changes: AssertionChanges) => byAssertion(signed(testLab, changes))
  const identity = (options: object) =>
    byAssertion(lab.identityToken({ audience, subject, ...options }).reveal())
  const cases: readonly (readonly [number: number, Fields])[] = [
    [7000215, { client_secret: 'another' }],
    [7000218, { client_secret: undefined }],
    [700025, { ...byAssertion(signed(testLab)), client_secret: 'x' }],
    [900144, { client_id: undefined }],
    [900144, { scope: '' }],
    [90014, { resource: 'x' }],
    [70003, { grant_type: 'password' }],
    [700016, { client_id: randomUUID() }],
    [1002012, { scope: 'https://ai.azure.com' }],
    [1002012, { scope: 'https://a/.default https://b/.default' }],
    [500011, { scope: 'https://other.example/.default' }],
    [900144, { ...byAssertion(signed(testLab)), client_assertion_type: 'x' }],
    [50027, byAssertion('not a token')],
    [50027, byAssertion(used)],
    [50027, bad({ claims: { jti: undefined } })],
    [50027, bad({ claims: { scope: 'x' } })],
    [700027, bad({ saltLength: 64 })],
    [700027, bad({ header: { alg: 'RS256' } })],
    [700027, bad({ header: { 'x5t#S256': 'another' } })],
    [700027, bad({ header: { typ: undefined } })],
    [700027, bad({ header: { kid: 'x' } })],
    [700021, bad({ claims: { sub: 'x' } })],
    [700023, bad({ claims: { aud: lab.origin } })],
    [700024, bad({ claims: { nbf: now + 301, exp: now + 900 } })],
    [700024, bad({ claims: { nbf: now - 900, exp: now - 301 } })],
    [700024, bad({ claims: { exp: now + 601 } })],
    [700024, identity({ lifetimeMs: -301_000 })],
    [700212, identity({ audience: 'x' })],
    [700213, identity({ subject: 'x' })],
  ]
  for (const [number, fields] of cases) {
    const { status, body } = await ask(testLab, fields)
    assert.deepEqual(
      body.error_codes,
      [number],
      `${JSON.stringify(fields)} ${body.error_description}`,
    )
    assert.ok(status === 400 || status === 401)
    assert.ok(body.error_description.startsWith(`AADSTS${number}: `))
  }
  const skewed = [
    bad({ claims: { nbf: now + 299, exp: now + 899 } }),
    identity({ lifetimeMs: -299_000 }),
  ]
  for (const fields of skewed) assert.equal((await ask(testLab, fields)).status, 200)
})

test('the envelope is held to its form', async () => {
  await using testLab = await startTestLab()
  const url = tokenUrl(testLab)
  const stranger = await ask(testLab, {}, url.replace(testLab.lab.azure.tenantId, 'other'))
  assert.deepEqual(stranger.body.error_codes, [90002])
  const get = JSON.parse((await send(url)).text)
  assert.deepEqual(get.error_codes, [900561])
  const basic = ['authorization', 'Basic eDp5'] as const
  const leaking = JSON.parse((await send(url, { headers: [FORM, basic], body: 'a=b' })).text)
  assert.match(leaking.error_description, /"authorization" must not reach/)
  const json = ['content-type', 'application/json'] as const
  assert.deepEqual(
    JSON.parse((await send(url, { headers: [json], body: '{}' })).text).error_codes,
    [900144],
  )
  const twice = await send(url, { headers: [FORM], body: 'scope=a&scope=b' })
  assert.deepEqual(JSON.parse(twice.text).error_codes, [9002313])
})
