import { createPrivateKey } from 'node:crypto'
import { SignJWT } from 'jose'
import { Secret } from '../core/secret.ts'
import type { Assertion } from './token-request.ts'

/** Signs an assertion as a compact JWT (RFC 7515 §3.1, RFC 7523 §3). */
export async function signAssertion(assertion: Assertion): Promise<Secret> {
  const key = createPrivateKey(assertion.privateKey.reveal())
  const jwt = await new SignJWT({ ...assertion.claims })
    .setProtectedHeader({ alg: assertion.algorithm, typ: 'JWT', ...assertion.header })
    .sign(key)
  return new Secret(jwt)
}
