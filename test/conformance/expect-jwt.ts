import assert from 'node:assert/strict'
import { constants, type KeyObject, verify } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import type { Expected } from './fixture.ts'

/**
 * A compact JWT, signed with this key exactly as RFC 7518 has it, with this header besides `alg` and
 * `typ`, and these claims besides `iat`, `exp` and `jti`.
 */
export function expectJwt(expected: {
  readonly key: KeyObject
  readonly algorithm: 'RS256' | 'PS256' | 'ES256'
  readonly header: Readonly<Record<string, unknown>>
  readonly claims: Readonly<Record<string, unknown>>
  readonly lifeSeconds: number
  readonly hasJti: boolean
}): Expected {
  return value => {
    const { alg, typ, ...header } = decodeProtectedHeader(value)
    assert.deepEqual([alg, typ], [expected.algorithm, 'JWT'])
    assert.deepEqual(header, expected.header)
    const { iat = 0, exp = 0, jti, nbf, ...claims } = decodeJwt(value)
    assert.deepEqual(claims, expected.claims)
    assert.equal(exp - iat, expected.lifeSeconds)
    assert.equal(jti !== undefined, expected.hasJti)
    assert.ok(nbf === undefined || nbf <= iat)
    const [head, payload, signature = ''] = value.split('.')
    const { key } = expected
    const options = {
      RS256: { key },
      PS256: { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 },
      ES256: { key, dsaEncoding: 'ieee-p1363' },
    } as const
    const signed = Buffer.from(`${head}.${payload}`)
    const bytes = Buffer.from(signature, 'base64url')
    assert.ok(verify('sha256', signed, options[expected.algorithm], bytes), 'wrong signature')
  }
}
