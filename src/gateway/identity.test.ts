// Goal: a token is taken from this gateway only, and as what it was issued for.
import assert from 'node:assert/strict'
import { createHmac, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { FakeClock } from '../../test/support/fake-clock.ts'
import { refusal, startTestGateway, type TestGateway } from '../../test/support/gateway.ts'
import { bareSandbox } from '../core/sandbox.ts'
import { Secret } from '../core/secret.ts'
import { openStore } from '../store/open.ts'
import type { Store } from '../store/store.ts'
import { realRandom } from '../system/real.ts'
import { callUnary } from '../wire/client.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import { openIdentity } from './identity.ts'

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

test('a token that the gateway’s own key signed is held to what it says, too', async t => {
  const { token } = await world.sandbox('signed')
  const [header = '', payload = ''] = token.reveal().split('.')
  const pem = await world.store.getGatewaySecret('sandbox-token-key')
  const signed = (head: object, claims: object): Secret => {
    const text = `${encode({ ...decode(header), ...head })}.${encode({ ...decode(payload), ...claims })}`
    const signature = sign(null, Buffer.from(text), pem?.reveal() ?? '').toString('base64url')
    return new Secret(`${text}.${signature}`)
  }
  await fetchBundle(signed({}, {}))
  const nowSeconds = Math.floor(Date.now() / 1_000)
  await fetchBundle(signed({}, { exp: nowSeconds - 30 }))
  const rows: readonly [string, Secret][] = [
    ['another kind of token', signed({ typ: 'ext+jwt' }, {})],
    ['another key’s name', signed({ kid: '0123456789abcdef' }, {})],
    ['another audience', signed({}, { aud: 'openshell-gateway:other' })],
    ['another issuer', signed({}, { iss: 'openshell-gateway:other' })],
    ['another subject than sandbox', signed({}, { sandbox_id: 'other' })],
    ['no sandbox', signed({}, { sandbox_id: undefined })],
    ['over for longer than a minute', signed({}, { exp: nowSeconds - 90 })],
  ]
  for (const [label, forged] of rows)
    await t.test(label, () => assert.rejects(fetchBundle(forged), refusal('unauthenticated')))
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

test('a sandbox is remembered for ten seconds, and not a moment longer than it is there', async t => {
  const folder = mkdtempSync(path.join(tmpdir(), 'identity-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const clock = new FakeClock()
  const outside = { clock, random: realRandom, masterKey: realRandom.bytes(32) }
  const store = await openStore(outside, `sqlite:${folder}/gateway.db`)
  t.after(() => store.close())
  let afterReading = async (): Promise<void> => {}
  const slowStore: Store = {
    ...store,
    async getSandboxById(id) {
      const found = await store.getSandboxById(id)
      await afterReading()
      return found
    },
  }
  const adminToken = new Secret('admin')
  const deps = { store: slowStore, clock, adminToken, isAuthRequired: true }
  const identity = await openIdentity(deps)
  const newCaller = async (name: string) => {
    const sandbox = { id: `id-${name}`, workspace: 'default', name, createdAtMs: 0 }
    await store.createSandbox(bareSandbox(sandbox))
    const token = await identity.issueSandboxToken(sandbox, null)
    const call = () => identity.authenticate(`Bearer ${token.reveal()}`)
    return { call, sandbox, remove: () => store.deleteSandbox('default', name) }
  }
  const isRefused = refusal('not_found', /deleted/)

  const elsewhere = await newCaller('deleted-elsewhere')
  assert.deepEqual(await elsewhere.call(), { kind: 'sandbox', sandbox: elsewhere.sandbox })
  await elsewhere.remove()
  await clock.advance(9_999)
  await elsewhere.call()
  await clock.advance(1)
  await assert.rejects(elsewhere.call(), isRefused)

  const here = await newCaller('deleted-here')
  await here.call()
  await here.remove()
  identity.forget(here.sandbox.id)
  await assert.rejects(here.call(), isRefused)

  const meanwhile = await newCaller('deleted-during-a-call')
  afterReading = async () => {
    await meanwhile.remove()
    identity.forget(meanwhile.sandbox.id)
  }
  await meanwhile.call()
  await assert.rejects(meanwhile.call(), isRefused)
})
