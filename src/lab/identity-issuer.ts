import { generateKeyPairSync, sign } from 'node:crypto'
import { Secret } from '../core/secret.ts'
import { isSignedBy, readJwt } from './jwt.ts'

const LIFETIME_MS = 3_600_000

/** What an identity token says. */
export interface IdentityOptions {
  /** Whom it is shown to. */
  readonly audience: string
  /** `system:serviceaccount:lab:agent` by default. */
  readonly subject?: string
  /** An hour by default; a negative life is past. */
  readonly lifetimeMs?: number
}

/** Why an identity token is not believed; null when it is. */
type IdentityProblem = 'malformed' | 'signature' | 'audience' | 'expired' | 'used' | null

/** A pretend issuer of workload identities, as a cluster or a cloud runs one. */
export interface IdentityIssuer {
  /** A signed OIDC token (ES256) with a `jti` of its own. */
  issue(options: IdentityOptions): Secret
  judge(
    token: string,
    options: {
      readonly audience: string
      readonly nowMs: number
      /** Whoever takes each token once remembers by this name which were shown. */
      readonly onceBy: string | null
    },
  ): { readonly problem: IdentityProblem; readonly subject: string }
}

/** Makes an issuer with a key of its own. */
export function createIdentityIssuer(deps: {
  readonly issuer: string
  readonly nowMs: () => number
  readonly newId: () => string
}): IdentityIssuer {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const used = new Set<string>()
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

  return {
    issue({ audience, subject = 'system:serviceaccount:lab:agent', lifetimeMs = LIFETIME_MS }) {
      const iat = Math.floor(deps.nowMs() / 1_000)
      const claims = {
        ...{ iss: deps.issuer, sub: subject, aud: audience, jti: deps.newId() },
        ...{ iat, exp: iat + Math.round(lifetimeMs / 1_000) },
      }
      const signed = `${encode({ alg: 'ES256', typ: 'JWT' })}.${encode(claims)}`
      const key = { key: privateKey, dsaEncoding: 'ieee-p1363' } as const
      return new Secret(
        `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`,
      )
    },
    judge(token, { audience, nowMs, onceBy }) {
      const jwt = readJwt(token)
      if (jwt === null) return { problem: 'malformed', subject: '' }
      const { iss, aud, exp, jti, sub } = jwt.claims
      const subject = String(sub)
      const problemOf = (): IdentityProblem => {
        if (!isSignedBy(jwt, publicKey, 'ES256') || iss !== deps.issuer) return 'signature'
        if (aud !== audience) return 'audience'
        if (Number(exp) * 1_000 <= nowMs) return 'expired'
        if (onceBy === null) return null
        const mark = `${onceBy} ${String(jti)}`
        if (used.has(mark)) return 'used'
        used.add(mark)
        return null
      }
      return { problem: problemOf(), subject }
    },
  }
}
