import { constants, type KeyObject, verify } from 'node:crypto'
import { type JsonObject, parseObject } from './json.ts'

/** A compact JWS told apart; nothing of it is believed yet. */
export interface Jwt {
  readonly header: JsonObject
  readonly claims: JsonObject
  readonly signed: string
  readonly signature: Uint8Array
}

/** Reads a compact JWS, or null when the text is none. */
export function readJwt(text: string): Jwt | null {
  const parts = text.split('.')
  const [head = '', payload = '', signature = ''] = parts
  if (parts.length !== 3 || !parts.every(part => /^[\w-]+$/.test(part))) return null
  const header = parseObject(Buffer.from(head, 'base64url'))
  const claims = parseObject(Buffer.from(payload, 'base64url'))
  if (header === null || claims === null) return null
  return {
    header,
    claims,
    signed: `${head}.${payload}`,
    signature: Buffer.from(signature, 'base64url'),
  }
}

/**
 * Whether the key made the signature by the algorithm that the header names, exactly as RFC 7518
 * has it: PS256 with a salt of 32 bytes, ES256 as 64 bytes and no DER.
 */
export function isSignedBy(
  jwt: Jwt,
  key: KeyObject,
  algorithm: 'RS256' | 'PS256' | 'ES256',
): boolean {
  if (jwt.header.alg !== algorithm) return false
  const options = {
    RS256: { key },
    PS256: { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 },
    ES256: { key, dsaEncoding: 'ieee-p1363' },
  } as const
  return verify('sha256', Buffer.from(jwt.signed), options[algorithm], jwt.signature)
}
