import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  timingSafeEqual,
} from 'node:crypto'
import { errors, jwtVerify, SignJWT } from 'jose'
import { AppError } from '../core/errors.ts'
import type { SandboxRecord } from '../core/provider.ts'
import { Secret } from '../core/secret.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'

/** Verified tokens remembered, so that a polling router costs no signature check. */
const VERIFIED_MAX = 50_000

const SUBJECT_PREFIX = 'spiffe://openshell/sandbox/'

/** Who calls. `open` is a caller without a credential. */
export type Principal =
  | { readonly kind: 'open' }
  | { readonly kind: 'admin' }
  | { readonly kind: 'sandbox'; readonly sandbox: SandboxRecord }

/** Issues and reads the gateway's own credentials. */
export interface Identity {
  /** A sandbox's token: a JWT signed with Ed25519. It holds until the sandbox is deleted. */
  issueSandboxToken(sandbox: SandboxRecord): Promise<Secret>
  /**
   * Reads an `authorization` header.
   *
   * @throws AppError `unauthenticated` for a token that this gateway did not issue, `not_found` for
   * one whose sandbox was deleted.
   */
  authenticate(authorization: string | null): Promise<Principal>
}

/** Opens the gateway's identity; its signing key is made once and sealed in the store. */
export async function openIdentity(deps: {
  readonly store: Store
  readonly clock: Clock
  readonly adminToken: Secret
  /** Off: whoever sends no token is an administrator. */
  readonly isAuthRequired: boolean
}): Promise<Identity> {
  const made = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })
  const pem = await deps.store.putGatewaySecret('sandbox-token-key', new Secret(made.toString()))
  const privateKey = createPrivateKey(pem.reveal())
  const publicKey = createPublicKey(privateKey)
  const keyId = digest(publicKey.export({ type: 'spki', format: 'der' }))
    .toString('hex')
    .slice(0, 16)
  const gateway = `openshell-gateway:${keyId}`
  const adminDigest = digest(deps.adminToken.reveal())
  const verified = new Map<string, string>()

  const sandboxIdOf = async (token: string): Promise<string> => {
    const place = digest(token).toString('base64')
    const known = verified.get(place)
    if (known !== undefined) return known
    const { payload } = await jwtVerify(token, publicKey, {
      algorithms: ['EdDSA'],
      issuer: gateway,
      audience: gateway,
      currentDate: new Date(deps.clock.nowMs()),
    }).catch((cause: unknown) => {
      if (!(cause instanceof errors.JOSEError)) throw cause
      throw new AppError('unauthenticated', 'The token is not one of this gateway', { cause })
    })
    const id = payload.sub?.startsWith(SUBJECT_PREFIX)
      ? payload.sub.slice(SUBJECT_PREFIX.length)
      : ''
    if (verified.size >= VERIFIED_MAX) verified.clear()
    verified.set(place, id)
    return id
  }

  return {
    async issueSandboxToken(sandbox) {
      const token = await new SignJWT({ sandbox_id: sandbox.id })
        .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT', kid: keyId })
        .setSubject(`${SUBJECT_PREFIX}${sandbox.id}`)
        .setIssuer(gateway)
        .setAudience(gateway)
        .setIssuedAt(Math.floor(deps.clock.nowMs() / 1_000))
        .sign(privateKey)
      return new Secret(token)
    },
    async authenticate(authorization) {
      if (authorization === null) return { kind: deps.isAuthRequired ? 'open' : 'admin' }
      const token = /^Bearer (\S+)$/i.exec(authorization)?.[1]
      if (token === undefined) throw new AppError('unauthenticated', 'Expected "Bearer TOKEN"')
      if (timingSafeEqual(digest(token), adminDigest)) return { kind: 'admin' }
      const id = await sandboxIdOf(token)
      const sandbox = await deps.store.getSandboxById(id)
      if (sandbox !== null) return { kind: 'sandbox', sandbox }
      throw new AppError('not_found', 'The sandbox of this token was deleted')
    },
  }
}

function digest(content: string | Uint8Array): Buffer {
  return createHash('sha256').update(content).digest()
}
