import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { isIP } from 'node:net'
import type { Clock } from '../system/clock.ts'
import type { Random } from '../system/random.ts'
import * as der from './der.ts'

/** Clocks of agent and router may differ by this much; certificates begin that much earlier. */
const BACKDATE_MS = 3_600_000
const LIFE_MS = 7 * 86_400_000
const SERIAL_BYTES = 16

/** The certificate authority's name, as OpenShell's sandbox has it. */
const AUTHORITY_NAME = 'OpenShell Sandbox CA'

const OID = {
  commonName: '2.5.4.3',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
} as const

/** A server's certificate and its private key (PKCS #8), both PEM. */
export interface ServerCertificate {
  readonly certPem: string
  readonly keyPem: string
}

/** A certificate authority of one run; its private key never leaves the process. */
export interface CertificateAuthority {
  readonly certPem: string
  /** A certificate for one DNS name or one IP address, as long-lived as the authority. */
  issueLeaf(hostname: string): ServerCertificate
}

/**
 * Makes an authority on P-256, valid for seven days from one hour ago, that may sign server
 * certificates and nothing below them (RFC 5280 §4.2.1.9, path length 0).
 */
export function createAuthority(deps: {
  readonly clock: Clock
  readonly random: Random
}): CertificateAuthority {
  const authorityKey = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const authorityKeyId = keyIdentifier(authorityKey.publicKey)
  const notBeforeMs = deps.clock.nowMs() - BACKDATE_MS
  const certificate = (subject: Buffer, publicKey: KeyObject, extensions: readonly Buffer[]) =>
    signedPem(
      {
        serial: deps.random.bytes(SERIAL_BYTES),
        subject,
        notBeforeMs,
        publicKey,
        extensions,
      },
      authorityKey.privateKey,
    )

  return {
    certPem: certificate(name(AUTHORITY_NAME), authorityKey.publicKey, [
      extension(
        OID.basicConstraints,
        der.sequence(der.TRUE, der.integer(Buffer.of(0))),
        'critical',
      ),
      // keyCertSign (bit 5) and cRLSign (bit 6).
      extension(OID.keyUsage, der.bitString(Buffer.of(0b0000_0110), 1), 'critical'),
      extension(OID.subjectKeyIdentifier, der.octetString(authorityKeyId)),
    ]),
    issueLeaf(hostname) {
      const leafKey = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const certPem = certificate(name(hostname), leafKey.publicKey, [
        extension(OID.basicConstraints, der.sequence(), 'critical'),
        // digitalSignature (bit 0).
        extension(OID.keyUsage, der.bitString(Buffer.of(0b1000_0000), 7), 'critical'),
        extension(OID.extendedKeyUsage, der.sequence(der.objectIdentifier(OID.serverAuth))),
        extension(OID.subjectAltName, der.sequence(generalName(hostname))),
        extension(OID.subjectKeyIdentifier, der.octetString(keyIdentifier(leafKey.publicKey))),
        extension(
          OID.authorityKeyIdentifier,
          der.sequence(der.tagged(0, 'primitive', authorityKeyId)),
        ),
      ])
      const keyPem = leafKey.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
      return { certPem, keyPem }
    },
  }
}

interface Unsigned {
  readonly serial: Uint8Array
  readonly subject: Buffer
  readonly notBeforeMs: number
  readonly publicKey: KeyObject
  readonly extensions: readonly Buffer[]
}

/** RFC 5280 §4.1: the certificate to be signed, its algorithm, its signature. */
function signedPem(certificate: Unsigned, issuerKey: KeyObject): string {
  const algorithm = der.sequence(der.objectIdentifier(OID.ecdsaWithSha256))
  const body = der.sequence(
    der.tagged(0, 'constructed', der.integer(Buffer.of(2))),
    der.integer(positive(certificate.serial)),
    algorithm,
    name(AUTHORITY_NAME),
    der.sequence(
      der.time(certificate.notBeforeMs),
      der.time(certificate.notBeforeMs + BACKDATE_MS + LIFE_MS),
    ),
    certificate.subject,
    subjectPublicKeyInfo(certificate.publicKey),
    der.tagged(3, 'constructed', der.sequence(...certificate.extensions)),
  )
  const signature = sign('sha256', body, issuerKey)
  return pem(der.sequence(body, algorithm, der.bitString(signature)))
}

/** Serial numbers are positive and at most 20 bytes (RFC 5280 §4.1.2.2); never zero here. */
function positive(serial: Uint8Array): Uint8Array {
  const bytes = Uint8Array.from(serial)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40
  return bytes
}

function extension(oid: string, value: Buffer, critical?: 'critical'): Buffer {
  const identifier = der.objectIdentifier(oid)
  const wrapped = der.octetString(value)
  return critical === undefined
    ? der.sequence(identifier, wrapped)
    : der.sequence(identifier, der.TRUE, wrapped)
}

/** A common name holds at most 64 characters (RFC 5280 §A.1); the full name is in the SAN. */
function name(commonName: string): Buffer {
  const attribute = der.sequence(
    der.objectIdentifier(OID.commonName),
    der.utf8String(commonName.slice(0, 64)),
  )
  return der.sequence(der.setOfOne(attribute))
}

function generalName(hostname: string): Buffer {
  const address = hostname.replace(/^\[|\]$/g, '')
  return isIP(address) === 0
    ? der.tagged(2, 'primitive', Buffer.from(hostname, 'latin1'))
    : der.tagged(7, 'primitive', addressBytes(address))
}

function addressBytes(address: string): Buffer {
  if (isIP(address) === 4) return Buffer.from(address.split('.').map(Number))
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1)
  const [head = '', tail] = canonical.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0')
  const groups = [...left, ...zeros, ...right].map(group => Number.parseInt(group, 16))
  return Buffer.from(groups.flatMap(group => [group >> 8, group & 0xff]))
}

function subjectPublicKeyInfo(publicKey: KeyObject): Buffer {
  return publicKey.export({ type: 'spki', format: 'der' })
}

/** RFC 7093 §2 method 1: the leftmost 160 bits of SHA-256 over the public key's bits. */
function keyIdentifier(publicKey: KeyObject): Buffer {
  const UNCOMPRESSED_POINT_BYTES = 65
  const point = subjectPublicKeyInfo(publicKey).subarray(-UNCOMPRESSED_POINT_BYTES)
  return createHash('sha256').update(point).digest().subarray(0, 20)
}

function pem(certificate: Buffer): string {
  const lines = certificate.toString('base64').replace(/.{64}(?=.)/g, '$&\n')
  return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`
}
