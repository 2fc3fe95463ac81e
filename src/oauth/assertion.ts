import { createPrivateKey } from 'node:crypto'
import { SignJWT } from 'jose'
import { Secret } from '../core/secret.ts'
import type { Random } from '../system/random.ts'
import type { Assertion } from './token-request.ts'

/** Signs an assertion as a compact JWT (RFC 7515 §3.1, RFC 7523 §3). */
export async function signAssertion(assertion: Assertion, random: Random): Promise<Secret> {
  const key = createPrivateKey(assertion.privateKey.reveal())
  const jti = Buffer.from(random.bytes(16)).toString('hex')
  const jwt = await new SignJWT(
    assertion.hasJti ? { ...assertion.claims, jti } : { ...assertion.claims },
  )
    .setProtectedHeader({ alg: assertion.algorithm, typ: 'JWT', ...assertion.header })
    .sign(key)
  return new Secret(jwt)
}
