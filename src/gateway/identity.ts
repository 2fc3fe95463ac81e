import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  hash,
  timingSafeEqual,
} from 'node:crypto'
import { errors, jwtVerify, SignJWT } from 'jose'
import { AppError } from '../core/errors.ts'
import type { SandboxRecord } from '../core/provider.ts'
import { Secret } from '../core/secret.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import { rememberSandboxes } from './known-sandboxes.ts'
import { createNewest } from './newest.ts'

/** Tokens and sandboxes remembered, so that a poll costs neither a signature check nor the store. */
const REMEMBERED_MAX = 50_000

/** A token is taken for so much longer than it says, because clocks differ. */
const LEEWAY_SECONDS = 60

const SUBJECT_PREFIX = 'spiffe://openshell/sandbox/'

/** Who calls. `open` is a caller without a credential. */
export type Principal =
  | { readonly kind: 'open' }
  | {
      readonly kind: 'admin'
      /** Brought no token, to a gateway that asks for none. */
      readonly isLocalDev: boolean
    }
  | { readonly kind: 'sandbox'; readonly sandbox: SandboxRecord }

/** Issues and reads the gateway's own credentials. */
export interface Identity {
  /**
   * A sandbox's token: a JWT signed with Ed25519, good until the instant, and in any case no longer
   * than the sandbox is there.
   */
  issueSandboxToken(sandbox: SandboxRecord, expiresAtMs: number | null): Promise<Secret>
  /**
   * Reads an `authorization` header.
   *
   * @throws AppError `unauthenticated` for a token that this gateway did not issue, `not_found` for
   * one whose sandbox was deleted.
   */
  authenticate(authorization: string | null): Promise<Principal>
  /** A sandbox was deleted, null for any: the store is asked again before a token of it is taken. */
  forget(sandboxId: string | null): void
}

/** A token whose signature was checked. */
interface Verified {
  readonly sandboxId: string
  readonly expiresAtMs: number
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
  // By the token's digest, so that a dump of the memory holds no token.
  const verified = createNewest<Verified>(REMEMBERED_MAX)
  const sandboxes = rememberSandboxes(deps, REMEMBERED_MAX)

  const sandboxIdOf = async (token: string, tokenDigest: Buffer): Promise<string> => {
    const place = tokenDigest.toString('base64')
    const nowMs = deps.clock.nowMs()
    const known = verified.get(place)
    if (known !== undefined && nowMs < known.expiresAtMs) return known.sandboxId
    const { payload, protectedHeader } = await jwtVerify(token, publicKey, {
      algorithms: ['EdDSA'],
      typ: 'JWT',
      clockTolerance: LEEWAY_SECONDS,
      issuer: gateway,
      audience: gateway,
      currentDate: new Date(nowMs),
    }).catch((cause: unknown) => {
      if (!(cause instanceof errors.JOSEError)) throw cause
      throw new AppError('unauthenticated', 'The token is not one of this gateway', { cause })
    })
    const sandboxId = String(payload.sandbox_id)
    if (protectedHeader.kid !== keyId || payload.sub !== `${SUBJECT_PREFIX}${sandboxId}`) {
      throw new AppError('unauthenticated', 'The token is not one of this gateway')
    }
    const expiresAtMs = ((payload.exp ?? Infinity) + LEEWAY_SECONDS) * 1_000
    verified.set(place, { sandboxId, expiresAtMs })
    return sandboxId
  }

  return {
    async issueSandboxToken(sandbox, expiresAtMs) {
      const jwt = new SignJWT({ sandbox_id: sandbox.id })
        .setProtectedHeader({ alg: 'EdDSA', typ: 'JWT', kid: keyId })
        .setSubject(`${SUBJECT_PREFIX}${sandbox.id}`)
        .setIssuer(gateway)
        .setAudience(gateway)
        .setIssuedAt(Math.floor(deps.clock.nowMs() / 1_000))
      if (expiresAtMs !== null) jwt.setExpirationTime(Math.floor(expiresAtMs / 1_000))
      return new Secret(await jwt.sign(privateKey))
    },
    async authenticate(authorization) {
      if (authorization === null) {
        return deps.isAuthRequired ? { kind: 'open' } : { kind: 'admin', isLocalDev: true }
      }
      const token = /^Bearer (\S+)$/i.exec(authorization)?.[1]
      if (token === undefined) throw new AppError('unauthenticated', 'Expected "Bearer TOKEN"')
      const tokenDigest = digest(token)
      if (timingSafeEqual(tokenDigest, adminDigest)) return { kind: 'admin', isLocalDev: false }
      const sandbox = await sandboxes.find(await sandboxIdOf(token, tokenDigest))
      if (sandbox !== null) return { kind: 'sandbox', sandbox }
      throw new AppError('not_found', 'The sandbox of this token was deleted')
    },
    forget: sandboxes.forget,
  }
}

function digest(content: string | Uint8Array): Buffer {
  return hash('sha256', content, 'buffer')
}
