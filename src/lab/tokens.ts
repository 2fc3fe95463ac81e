import { Secret } from '../core/secret.ts'
import type { Clock } from '../system/clock.ts'
import type { Random } from '../system/random.ts'

const TOKENS_MAX = 10_000

/** Whose APIs take a token: a token endpoint issues for one realm, an API asks for one. */
type Realm =
  | 'google'
  | 'aws'
  | 'oauth2'
  | 'anthropic'
  | 'openai'
  | 'azure.ai'
  | 'azure.cognitiveservices'
  | 'ibm'
  | 'ibm-instance'

/** An access token that the lab issued. */
export interface IssuedToken {
  /** Stands for the token wherever the token itself has no business, for example `token-3`. */
  readonly id: string
  readonly realm: Realm
  /** Who asked for it, for example a service account's address. */
  readonly subject: string
  readonly value: Secret
  readonly issuedAtMs: number
  readonly expiresAtMs: number
  readonly isRevoked: boolean
}

/** What an API thinks of a token that it was shown. */
type TokenVerdict = 'valid' | 'expired' | 'revoked' | 'unknown'

/** Which tokens to revoke; what is left out does not narrow. */
export interface TokenFilter {
  readonly id?: string
  readonly realm?: string
  readonly subject?: string
}

/** What a token endpoint says about the token that it issues. */
export interface Issue {
  readonly realm: Realm
  readonly subject: string
  readonly lifetimeMs: number
  /** What the vendor's tokens begin with. */
  readonly prefix: string
  /** How many random bytes follow the prefix, in base64url. */
  readonly randomBytes: number
}

/** Every token of the lab, oldest first; beyond 10,000 the oldest are forgotten. */
export interface TokenRegister {
  issue(issue: Issue): IssuedToken
  find(value: string): IssuedToken | null
  /** The newest token of a subject, whatever became of it. */
  newest(realm: Realm, subject: string): IssuedToken | null
  judge(value: string, realm: Realm, nowMs: number): TokenVerdict
  /** Returns how many tokens were revoked that were not before. */
  revoke(filter: TokenFilter): number
  list(): readonly IssuedToken[]
  /** How many were ever issued. */
  count(): number
}

/** Makes an empty register. Tokens live by the wall clock that is handed in. */
export function createTokenRegister(deps: {
  readonly clock: Clock
  readonly random: Random
}): TokenRegister {
  const byValue = new Map<string, IssuedToken>()
  let issuedCount = 0

  const find = (value: string): IssuedToken | null => byValue.get(value) ?? null

  return {
    find,
    issue({ realm, subject, lifetimeMs, prefix, randomBytes }) {
      const value = prefix + Buffer.from(deps.random.bytes(randomBytes)).toString('base64url')
      const issuedAtMs = deps.clock.nowMs()
      issuedCount += 1
      const token: IssuedToken = {
        id: `token-${issuedCount}`,
        realm,
        subject,
        value: new Secret(value),
        issuedAtMs,
        expiresAtMs: issuedAtMs + lifetimeMs,
        isRevoked: false,
      }
      byValue.set(value, token)
      const oldest = byValue.keys().next().value
      if (byValue.size > TOKENS_MAX && oldest !== undefined) byValue.delete(oldest)
      return token
    },
    newest: (realm, subject) =>
      [...byValue.values()].findLast(token => token.realm === realm && token.subject === subject) ??
      null,
    judge(value, realm, nowMs) {
      const token = find(value)
      if (token === null || token.realm !== realm) return 'unknown'
      if (token.isRevoked) return 'revoked'
      return token.expiresAtMs <= nowMs ? 'expired' : 'valid'
    },
    revoke(filter) {
      const doomed = [...byValue].filter(([, token]) => !token.isRevoked && isMatch(token, filter))
      for (const [value, token] of doomed) byValue.set(value, { ...token, isRevoked: true })
      return doomed.length
    },
    list: () => [...byValue.values()],
    count: () => issuedCount,
  }
}

function isMatch(token: IssuedToken, { id, realm, subject }: TokenFilter): boolean {
  return (
    (id === undefined || token.id === id) &&
    (realm === undefined || token.realm === realm) &&
    (subject === undefined || token.subject === subject)
  )
}
