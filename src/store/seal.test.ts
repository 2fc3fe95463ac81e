import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { Secret } from '../core/secret.ts'
import { realRandom } from '../system/real.ts'
import { openKeyRing } from './key-ring.ts'
import { createSealer } from './seal.ts'

const PLACE = 'provider/p1/API_KEY'
const masterKey = randomBytes(32)
const sealer = await sealerWith(masterKey)

/** The last key seals. */
async function sealerWith(...keys: readonly Uint8Array[]) {
  return createSealer(await openKeyRing(async () => keys), realRandom)
}

test('what was sealed opens for its place', () => {
  const check = (text: string) =>
    assert.equal(sealer.unseal(sealer.seal(new Secret(text), PLACE), PLACE).reveal(), text)
  for (const text of ['', 'a', 'ключ 😀\n\u0000', 'x'.repeat(100_000)]) check(text)
  fc.assert(fc.property(fc.string({ unit: 'grapheme' }), check))
})

test('a sealer made anew from the same master key opens it', async () => {
  const envelope = sealer.seal(new Secret('kept'), PLACE)
  assert.equal((await sealerWith(masterKey)).unseal(envelope, PLACE).reveal(), 'kept')
})

test('the same secret never gives the same envelope', () => {
  const secret = new Secret('again')
  const envelopes = Array.from({ length: 100 }, () => sealer.seal(secret, PLACE))
  assert.equal(new Set(envelopes).size, 100)
})

test('an envelope shows neither the secret nor the master key, nor a hash of it', () => {
  const text = 'a secret with spaces & signs, sixty-four bytes long or even more..'
  const envelope = sealer.seal(new Secret(text), PLACE)
  const bytes = Buffer.from(envelope.split('.')[2] ?? '', 'base64url')
  for (const hidden of [Buffer.from(text).subarray(0, 12), masterKey])
    assert.equal(bytes.indexOf(hidden), -1)
  const keyHash = createHash('sha256').update(masterKey).digest('hex')
  assert.match(envelope, /^v1\.[0-9a-f]{8}\.[A-Za-z0-9_-]+$/)
  assert.notEqual(envelope.split('.')[1], keyHash.slice(0, 8))
})

test('an envelope opens for no other place', () => {
  const envelope = sealer.seal(new Secret('mine'), PLACE)
  for (const place of ['provider/p2/API_KEY', 'token/p1/API_KEY', 'provider/p1/API_KEY ', ''])
    assert.throws(() => sealer.unseal(envelope, place), {
      code: 'store_unavailable',
      message: `Cannot unseal "${place}": it is damaged or was sealed for another place`,
    })
})

test('an envelope with any byte changed does not open', () => {
  const [version, keyId, text = ''] = sealer.seal(new Secret('whole'), PLACE).split('.')
  const bytes = Buffer.from(text, 'base64url')
  for (let index = 0; index < bytes.length; index += 1) {
    const changed = Buffer.from(bytes)
    changed.writeUInt8(changed.readUInt8(index) ^ 1, index)
    const envelope = `${version}.${keyId}.${changed.toString('base64url')}`
    assert.throws(() => sealer.unseal(envelope, PLACE), { code: 'store_unavailable' })
  }
})

test('what is no envelope does not open', () => {
  const envelope = sealer.seal(new Secret('whole'), PLACE)
  const cut = [0, 1, 12, 20, 60, envelope.length - 1].map(length => envelope.slice(0, length))
  for (const text of [
    ...cut,
    `${envelope}A`,
    `${envelope}=`,
    envelope.replace('v1', 'v2'),
    'whole',
  ])
    assert.throws(() => sealer.unseal(text, PLACE), { code: 'store_unavailable' })
})

test('another master key is told apart from damage, and no error shows a secret', async () => {
  const other = await sealerWith(randomBytes(32))
  const envelope = sealer.seal(new Secret('a very secret thing'), PLACE)
  assert.throws(
    () => other.unseal(envelope, PLACE),
    (error: Error) => {
      assert.ok('code' in error && error.code === 'wrong_master_key')
      const shown = inspect(error, { depth: 10, showHidden: true })
      for (const hidden of ['a very secret thing', masterKey.toString('hex'), envelope])
        assert.ok(!shown.includes(hidden))
      return true
    },
  )
})

test('rewrapping changes the key alone: the old one opens nothing, the sealed bytes stay', async () => {
  const fresh = randomBytes(32)
  const both = await sealerWith(masterKey, fresh)
  const envelope = sealer.seal(new Secret('kept'), PLACE)
  const rewrapped = both.rewrap(envelope, PLACE)
  assert.equal((await sealerWith(fresh)).unseal(rewrapped, PLACE).reveal(), 'kept')
  assert.throws(() => sealer.unseal(rewrapped, PLACE), { code: 'wrong_master_key' })
  const sealedBytes = (one: string) =>
    Buffer.from(one.split('.')[2] ?? '', 'base64url').subarray(60)
  assert.deepEqual(sealedBytes(rewrapped), sealedBytes(envelope))
  assert.throws(() => both.rewrap(envelope, 'elsewhere'), { code: 'store_unavailable' })
  const bent = Buffer.from(envelope.split('.')[2] ?? '', 'base64url')
  bent.writeUInt8(bent.readUInt8(bent.length - 1) ^ 1, bent.length - 1)
  const damaged = `v1.${envelope.split('.')[1]}.${bent.toString('base64url')}`
  assert.throws(() => both.rewrap(damaged, PLACE), { code: 'store_unavailable' })
})
