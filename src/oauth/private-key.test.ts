// Goal: a key that can never sign for the vendor is refused when it is configured, not at 3 a.m.
import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { test } from 'node:test'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { normalizeRsaKey, normalizeSigningKey } from './private-key.ts'

const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey
const other = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey
const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 }).privateKey
const pss = generateKeyPairSync('rsa-pss', { modulusLength: 2_048 }).privateKey
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey

const pkcs8 = pem(rsa, 'pkcs8')
const pkcs1 = pem(rsa, 'pkcs1')
const publicPem = createPublicKey(rsa).export({ type: 'spki', format: 'pem' }).toString()
const encrypted = rsa
  .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'open' })
  .toString()

function pem(key: KeyObject, type: 'pkcs8' | 'pkcs1'): string {
  return key.export({ type, format: 'pem' }).toString()
}

test('a usable RSA key is accepted, whatever its way here did to it', () => {
  const cases: Readonly<Record<string, string>> = {
    'PKCS#8': pkcs8,
    'PKCS#1': pkcs1,
    CRLF: pkcs8.replaceAll('\n', '\r\n'),
    'CR alone': pkcs8.replaceAll('\n', '\r'),
    'literal \\n': pkcs8.replaceAll('\n', '\\n'),
    'literal \\r\\n': pkcs8.replaceAll('\n', '\\r\\n'),
    'literal \\n and one real line end': `${pkcs8.trim().replaceAll('\n', '\\n')}\n`,
    'literal \\n between real line ends': pkcs8.replaceAll('\n', '\\n\n'),
    'double quotes': `"${pkcs8}"`,
    'single quotes and literal \\n': `'${pkcs8.replaceAll('\n', '\\n')}'`,
    'byte order mark': `\uFEFF${pkcs8}`,
    'line ends turned to spaces': pkcs8.replaceAll('\n', ' '),
    'indented lines': pkcs8.replaceAll('\n', '\n    '),
    'body on one line': pkcs8.replaceAll(/(?<=[^-])\n(?=[^-])/g, ''),
    'no final newline': pkcs8.trim(),
    'text before': `Bag Attributes\n  friendlyName: robot\n${pkcs8}`,
    'two keys, the first is used': `${pkcs8}${pem(other, 'pkcs8')}`,
    'its public key before it': `${publicPem}${pkcs8}`,
    'PKCS#8 under the label of PKCS#1': pkcs8.replaceAll('PRIVATE KEY', 'RSA PRIVATE KEY'),
  }
  for (const [name, text] of Object.entries(cases)) {
    assert.equal(normalizeRsaKey(new Secret(text), 'The key').reveal(), pkcs8, name)
  }
})

test('any other key is refused in words that hold no byte of it', () => {
  const cases: readonly (readonly [text: string, message: RegExp])[] = [
    [pem(ec, 'pkcs8'), /^The key is a key of type "ec", an RSA key is needed$/],
    [pem(pss, 'pkcs8'), /of type "rsa-pss", an RSA key is needed$/],
    [pem(weak, 'pkcs8'), /RSA key of 1024 bits, at least 2048 are needed$/],
    [publicPem, /is a public key/],
    [publicPem.replaceAll('\n', '\\n'), /is a public key/],
    [encrypted, /is encrypted/],
    [`${pkcs1.slice(0, 32)}Proc-Type: 4,ENCRYPTED\n\n${pkcs1.slice(32)}`, /is encrypted/],
    ['', /not a readable PEM private key$/],
    [' \n ', /not a readable/],
    ['not-a-pem', /not a readable/],
    [pkcs8.slice(0, 400), /not a readable/],
    [pkcs8.replace('-----END', '-----FIN'), /not a readable/],
    [pkcs8.replace(/[A-Za-z0-9]{20}\n/, '\n'), /not a readable/],
    [pkcs1.replaceAll('RSA PRIVATE KEY', 'PRIVATE KEY'), /not a readable/],
    [`${pkcs8}${'\n'.repeat(65_536)}`, /too long/],
    ['"'.repeat(1_048_576), /too long/],
    ['-----BEGIN PRIVATE KEY-----'.repeat(2_000), /not a readable/],
  ]
  for (const [text, message] of cases) {
    assert.throws(
      () => normalizeRsaKey(new Secret(text), 'The key'),
      (error: unknown) => {
        assert.ok(error instanceof AppError)
        assert.equal(error.code, 'invalid_credential')
        assert.match(error.message, message)
        assert.equal(error.cause, undefined)
        const words = `${error.message} ${error.hint} ${error.stack}`
        for (const line of text.split('\n').filter(one => /^[A-Za-z0-9+/=]{16,}$/.test(one))) {
          assert.ok(!words.includes(line.slice(0, 16)))
        }
        return true
      },
    )
  }
})

test('the limit of length is 64 KiB, on both sides', () => {
  const padded = (length: number) => new Secret(pkcs8.padEnd(length, '\n'))
  assert.ok(createPrivateKey(normalizeRsaKey(padded(65_536), 'The key').reveal()))
  assert.throws(() => normalizeRsaKey(padded(65_537), 'The key'), /too long/)
})

test('a signing key may also be an EC key on P-256, and on no other curve', () => {
  const read = (text: string) => normalizeSigningKey(new Secret(text), 'The key')
  const sec1 = ec.export({ type: 'sec1', format: 'pem' }).toString()
  for (const text of [pem(ec, 'pkcs8'), sec1, sec1.replaceAll('\n', '\\n')]) {
    assert.equal(read(text).type, 'ec')
    assert.equal(read(text).privateKey.reveal(), pem(ec, 'pkcs8'))
  }
  assert.equal(read(pem(rsa, 'pkcs1')).type, 'rsa')
  assert.equal(read(pem(rsa, 'pkcs1')).privateKey.reveal(), pkcs8)
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey
  const ed25519 = generateKeyPairSync('ed25519').privateKey
  const cases: readonly (readonly [text: string, message: RegExp])[] = [
    [pem(p384, 'pkcs8'), /of type "ec, secp384r1", an RSA key or an EC key on the curve P-256/],
    [pem(ed25519, 'pkcs8'), /of type "ed25519"/],
    [pem(pss, 'pkcs8'), /of type "rsa-pss"/],
    [pem(weak, 'pkcs8'), /of 1024 bits/],
    [publicPem, /is a public key/],
  ]
  for (const [text, message] of cases) {
    assert.throws(() => read(text), { code: 'invalid_credential', message })
  }
})
