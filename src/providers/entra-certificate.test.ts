import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { certificatePem, rsaKeyPem, rsaPair } from '../../test/support/azure.ts'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { parseClientCertificate } from './entra-certificate.ts'

const NOW_MS = Date.UTC(2026, 10, 25)

function parse(pem: string) {
  return parseClientCertificate(new Secret(pem), NOW_MS)
}

test('the certificate that belongs to the key is found, in any order and whatever a shell did', () => {
  const other = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const leaf = certificatePem()
  const chain = certificatePem({ pair: other })
  const expected = new X509Certificate(leaf).fingerprint256.replaceAll(':', '').toLowerCase()
  const whole = `${rsaKeyPem}${leaf}${chain}`
  const texts = [
    whole,
    `${leaf}${chain}${rsaKeyPem}`,
    `${chain}${leaf}${rsaKeyPem}`,
    whole.replaceAll('\n', '\r\n'),
    whole.replaceAll('\n', '\\n'),
    `\uFEFFBag Attributes\n  friendlyName: x\n${whole}`,
  ]
  for (const text of texts) {
    const { privateKey, thumbprint } = parse(text)
    assert.equal(Buffer.from(thumbprint, 'base64url').toString('hex'), expected)
    assert.ok(createPublicKey(privateKey.reveal()).equals(rsaPair.publicKey))
  }
})

test('what Entra ID could never accept is refused, in words that hold nothing of the key', () => {
  const other = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 })
  const weakKey = weak.privateKey.export({ type: 'pkcs8', format: 'pem' })
  const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
  const cases: readonly (readonly [text: string, words: RegExp])[] = [
    ['', /not a readable PEM/],
    [certificatePem(), /not a readable PEM/],
    [rsaKeyPem, /holds no certificate beside/],
    [`${rsaKeyPem}${certificatePem({ pair: other })}`, /that belongs to its key/],
    [`${rsaKeyPem}${broken}`, /cannot be read/],
    [`${weakKey}${certificatePem({ pair: weak })}`, /1024 bits/],
    [`${rsaKeyPem}${certificatePem({ notAfterMs: NOW_MS })}`, /expired on 2026-11-25/],
  ]
  for (const [text, words] of cases) {
    assert.throws(
      () => parse(text),
      (error: unknown) => {
        assert.ok(error instanceof AppError, text.slice(0, 40))
        assert.equal(error.code, 'invalid_credential')
        assert.match(error.message, words)
        assert.ok(!`${error.stack}`.includes(rsaKeyPem.slice(28, 60)))
        return true
      },
    )
  }
  parse(`${rsaKeyPem}${certificatePem({ notAfterMs: NOW_MS + 1_000 })}`)
})
