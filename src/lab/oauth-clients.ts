import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { Secret } from '../core/secret.ts'
import type { Clock } from '../system/clock.ts'

/** How a client of the lab's authorization server must authenticate: by this method and no other. */
export type OauthMethod = 'basic' | 'basic_raw' | 'post' | 'private_key_jwt' | 'none'

/** How a client differs from a usual one. */
export interface OauthClientOptions {
  readonly method?: OauthMethod
  readonly algorithm?: 'ES256' | 'RS256' | 'PS256'
  /** How long a refresh token that was rotated away still works, once; 0 by default. */
  readonly graceMs?: number
  /** Its refresh token stays the same for ever, and no answer carries one. */
  readonly isRotating?: boolean
}

/** What a person gets who registers a client: all that a provider must be told. */
export interface OauthRegistration {
  readonly clientId: string
  readonly clientSecret: Secret
  /** PKCS#8 PEM. */
  readonly privateKey: Secret
  /** The first of its family. */
  readonly refreshToken: Secret
}

/** A registered client. */
export interface OauthClient extends OauthRegistration, Required<OauthClientOptions> {
  readonly publicKey: KeyObject
  readonly isDisabled: boolean
}

/** What became of a refresh token that was shown. */
type Redemption = { readonly refreshToken: Secret | null } | 'unknown' | 'revoked' | 'replayed'

/** The clients and refresh tokens of the lab's authorization server. */
export interface OauthClients {
  register(options?: OauthClientOptions): OauthRegistration
  find(clientId: string): OauthClient | null
  /** From now on the client gets no token; false when there is none. */
  disable(clientId: string): boolean
  /**
   * Takes a refresh token. One that was rotated away is a replay, which revokes its whole family
   * (RFC 9700 §4.14), unless the client has a grace period.
   */
  redeem(client: OauthClient, refreshToken: string): Redemption
}

interface Family {
  readonly clientId: string
  current: string
  previous: string
  rotatedAtMs: number
  isRevoked: boolean
}

/** Starts without any client. */
export function createOauthClients(deps: {
  readonly clock: Clock
  readonly newId: () => string
}): OauthClients {
  const clients = new Map<string, OauthClient>()
  const families = new Map<string, Family>()
  const newToken = () => new Secret(`lab-rt-${deps.newId()}${deps.newId()}`)

  return {
    find: clientId => clients.get(clientId) ?? null,
    register(options = {}) {
      const algorithm = options.algorithm ?? 'ES256'
      const { privateKey, publicKey } =
        algorithm === 'ES256'
          ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
          : generateKeyPairSync('rsa', { modulusLength: 2_048 })
      const client: OauthClient = {
        clientId: `${options.method === 'basic_raw' ? 'lab-client' : 'lab:client'} ${deps.newId()}`,
        // What is not form-encoded before it becomes Basic arrives as another secret.
        clientSecret: new Secret(`ü+%&=:~ ${deps.newId()}`),
        privateKey: new Secret(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()),
        publicKey,
        refreshToken: newToken(),
        method: options.method ?? 'basic',
        algorithm,
        graceMs: options.graceMs ?? 0,
        isRotating: options.isRotating ?? true,
        isDisabled: false,
      }
      const { clientId, clientSecret, refreshToken } = client
      clients.set(clientId, client)
      const first = refreshToken.reveal()
      const family = { clientId, current: first, previous: '', rotatedAtMs: 0, isRevoked: false }
      families.set(first, family)
      return { clientId, clientSecret, privateKey: client.privateKey, refreshToken }
    },
    disable(clientId) {
      const client = clients.get(clientId)
      if (client === undefined) return false
      clients.set(clientId, { ...client, isDisabled: true })
      return true
    },
    redeem(client, refreshToken) {
      const family = families.get(refreshToken)
      if (family === undefined || family.clientId !== client.clientId) return 'unknown'
      if (family.isRevoked) return 'revoked'
      const nowMs = deps.clock.nowMs()
      const isInGrace =
        refreshToken === family.previous && nowMs < family.rotatedAtMs + client.graceMs
      if (refreshToken !== family.current && !isInGrace) {
        family.isRevoked = true
        return 'replayed'
      }
      if (!client.isRotating) return { refreshToken: null }
      const next = newToken()
      families.set(next.reveal(), family)
      family.previous = refreshToken
      family.current = next.reveal()
      family.rotatedAtMs = nowMs
      return { refreshToken: next }
    },
  }
}
