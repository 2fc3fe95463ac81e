// Goal: a token is taken from this gateway only, and as what it was issued for.
import assert from 'node:assert/strict'
import { createHmac, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { after, before, test } from 'node:test'
import { refusal, startTestGateway, type TestGateway } from '../../test/support/gateway.ts'
import { Secret } from '../core/secret.ts'
import { callUnary } from '../wire/client.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'

let world: TestGateway
before(async () => {
  world = await startTestGateway()
})
after(() => world[Symbol.asyncDispose]())

const options = { timeoutMs: 5_000 }
const fetchBundle = (token: Secret | null, at = world) =>
  callUnary(at.channel(token), Inference.method.getInferenceBundle, {}, options)
const listProviders = (token: Secret | null, at = world) =>
  callUnary(at.channel(token), OpenShell.method.listProviders, {}, options)

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
const decode = (part = ''): Record<string, unknown> =>
  JSON.parse(Buffer.from(part, 'base64url').toString())

test('the administrator is who has the token, and nobody else', async () => {
  await listProviders(world.adminToken)
  await assert.rejects(listProviders(null), refusal('unauthenticated', /admin\.token/))
  for (const wrong of ['x', `${world.adminToken.reveal()}x`, world.adminToken.reveal().slice(1)])
    await assert.rejects(listProviders(new Secret(wrong)), refusal('unauthenticated'))
})

test('health is told to anyone, whatever token they bring', async () => {
  for (const token of [null, new Secret('stale'), world.adminToken]) {
    const { status, version } = await callUnary(
      world.channel(token),
      OpenShell.method.health,
      {},
      options,
    )
    assert.deepEqual([status, version], [1, '1.2.3'])
  }
})

test('a sandbox token looks as OpenShell writes it and survives a restart', async () => {
  const { token } = await world.sandbox('lasting')
  const [header, payload] = token.reveal().split('.')
  assert.equal(decode(header).alg, 'EdDSA')
  const claims = decode(payload)
  assert.equal(claims.sub, `spiffe://openshell/sandbox/${claims.sandbox_id}`)
  assert.equal(claims.iss, claims.aud)
  assert.match(String(claims.iss), /^openshell-gateway:/)
  await world.restart()
  await fetchBundle(token)
})

test('forged tokens are refused', async t => {
  const { token } = await world.sandbox('victim')
  const [header = '', payload = '', signature = ''] = token.reveal().split('.')
  const own = generateKeyPairSync('ed25519')
  const publicKey = await world.store.getGatewaySecret('sandbox-token-key')
  const pem = createPublicKey(publicKey?.reveal() ?? '').export({ type: 'spki', format: 'pem' })
  const hmacOf = (head: object) =>
    createHmac('sha256', pem)
      .update(`${encode(head)}.${payload}`)
      .digest('base64url')
  const signedBy = (body: string) =>
    sign(null, Buffer.from(`${header}.${body}`), own.privateKey).toString('base64url')
  const other = encode({ ...decode(payload), sub: 'spiffe://openshell/sandbox/other' })
  const rows: readonly [string, string][] = [
    ['alg none', `${encode({ alg: 'none' })}.${payload}.`],
    ['alg none with the old signature', `${encode({ alg: 'none' })}.${payload}.${signature}`],
    [
      'HS256 with the public key',
      `${encode({ alg: 'HS256' })}.${payload}.${hmacOf({ alg: 'HS256' })}`,
    ],
    ['a changed subject', `${header}.${other}.${signature}`],
    ['another key', `${header}.${payload}.${signedBy(payload)}`],
    [
      'a key in the header',
      `${encode({ alg: 'EdDSA', jwk: own.publicKey.export({ format: 'jwk' }) })}.${payload}.${signature}`,
    ],
    ['no signature', `${header}.${payload}.`],
    ['one part', header],
    ['empty parts', '..'],
  ]
  for (const [label, forged] of rows) {
    await t.test(label, () =>
      assert.rejects(fetchBundle(new Secret(forged)), refusal('unauthenticated')),
    )
  }
  await fetchBundle(token)
})

test('a token of another gateway is refused', async () => {
  await using other = await startTestGateway()
  const { token } = await other.sandbox('s')
  await fetchBundle(token, other)
  await assert.rejects(fetchBundle(token), refusal('unauthenticated', /not one of this gateway/))
})

test('without authentication a caller without a token administers; a wrong token is still wrong', async () => {
  await using open = await startTestGateway({ isAuthRequired: false })
  await listProviders(null, open)
  await assert.rejects(listProviders(new Secret('wrong'), open), refusal('unauthenticated'))
  await assert.rejects(fetchBundle(null, open), refusal('permission_denied'))
  const { token } = await open.sandbox('s')
  await fetchBundle(token, open)
  await assert.rejects(listProviders(token, open), refusal('permission_denied'))
})
