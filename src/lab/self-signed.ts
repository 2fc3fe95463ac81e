import { type KeyObject, sign } from 'node:crypto'
import * as der from '../pki/der.ts'

const COMMON_NAME = '2.5.4.3'
const SHA256_WITH_RSA = '1.2.840.113549.1.1.11'

/** What a certificate says. */
export interface SelfSigned {
  readonly commonName: string
  readonly serial: Uint8Array
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

/** A certificate over an RSA key, signed by that key (RFC 5280 §4.1), as PEM. */
export function selfSignedCertificate(
  key: { readonly privateKey: KeyObject; readonly publicKey: KeyObject },
  { commonName, serial, notBeforeMs, notAfterMs }: SelfSigned,
): string {
  const attribute = der.sequence(der.objectIdentifier(COMMON_NAME), der.utf8String(commonName))
  const name = der.sequence(der.setOfOne(attribute))
  // RSA algorithms carry parameters, which are NULL.
  const algorithm = der.sequence(der.objectIdentifier(SHA256_WITH_RSA), Buffer.of(5, 0))
  const body = der.sequence(
    der.integer(serial),
    algorithm,
    name,
    der.sequence(der.time(notBeforeMs), der.time(notAfterMs)),
    name,
    key.publicKey.export({ type: 'spki', format: 'der' }),
  )
  const signature = der.bitString(sign('sha256', body, key.privateKey))
  const base64 = der.sequence(body, algorithm, signature).toString('base64')
  const lines = base64.replace(/.{64}(?=.)/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`
}
