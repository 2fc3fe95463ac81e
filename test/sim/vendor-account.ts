/** How an account gets its tokens. */
export type AccountKind =
  /** Client credentials; each call brings a new token. */
  | 'client'
  /** Client credentials; the server hands out the token it has until the end is near. */
  | 'cached'
  /** Refresh tokens that rotate; a spent one that comes again revokes the whole family. */
  | 'family'
  /** IBM's form, with an API key. */
  | 'key'

/** An access token as the vendor knows it. Instants are true time. */
export interface VendorToken {
  readonly value: string
  readonly account: Account
  readonly issuedAtMs: number
  /** When its answer said that it ends. */
  readonly statedEndMs: number
  /** When the API stops taking it; a liar's ends before what it stated. */
  readonly endMs: number
  /** When the vendor advised to refresh it, from its issue; null when it did not. */
  readonly hintMs: number | null
  isRevoked: boolean
}

interface RefreshToken {
  readonly family: number
  /** What it was rotated to, '' while it was not. */
  successor: string
  spentAtMs: number
  /** How often it came after it had been spent. */
  replays: number
}

const TOKENS_KEPT = 8

/** How near its end a cached token is when the server begins to make a new one. */
const CACHED_MS = 240_000

/** A customer's account at a pretend vendor. */
export class Account {
  readonly id: number
  readonly kind: AccountKind
  /** Host of its token endpoint. */
  readonly host: string
  readonly lifeMs: number
  /** A spent refresh token may come again for this long: real servers forgive a lost answer. */
  readonly graceMs: number
  /** Client secrets or API keys that are good. */
  readonly secrets = new Set<string>()
  readonly refreshTokens = new Map<string, RefreshToken>()
  readonly #tokens: VendorToken[] = []
  #families = 0
  #serial = 0
  #liveFamily = 0

  constructor(rest: Pick<Account, 'id' | 'kind' | 'host' | 'lifeMs' | 'graceMs'>) {
    this.id = rest.id
    this.kind = rest.kind
    this.host = rest.host
    this.lifeMs = rest.lifeMs
    this.graceMs = rest.graceMs
    this.addSecret()
    if (this.kind === 'family') this.signIn()
  }

  get clientId(): string {
    return `client-${this.id}`
  }

  /** Where its tokens are taken. */
  get apiHost(): string {
    return `api${this.id}.sim`
  }

  /** The newest tokens, oldest first. */
  get tokens(): readonly VendorToken[] {
    return this.#tokens
  }

  /** A further good secret. */
  addSecret(): string {
    this.#serial += 1
    const secret = `secret-${this.id}-${this.#serial}`
    this.secrets.add(secret)
    return secret
  }

  /** The newest good secret, or one that never was good. */
  get secret(): string {
    return [...this.secrets].at(-1) ?? `secret-${this.id}-none`
  }

  /** Somebody signs in: the first refresh token of a new family. The old family ends. */
  signIn(): string {
    this.#families += 1
    this.#liveFamily = this.#families
    return this.#addRefreshToken(this.#families)
  }

  /** The newest refresh token. */
  get refreshToken(): string {
    return [...this.refreshTokens.keys()].at(-1) ?? ''
  }

  /** Whether it would give a token for this material. */
  takes(material: string): boolean {
    if (this.kind !== 'family') return this.secrets.has(material)
    return this.refreshTokens.get(material)?.family === this.#liveFamily
  }

  /** What was sent too often until now counts no more. */
  forgiveReplays(): void {
    for (const token of this.refreshTokens.values()) token.replays = 0
  }

  revokeFamily(): void {
    this.#liveFamily = 0
    this.revokeTokens()
  }

  /** Access tokens die before their time. */
  revokeTokens(): void {
    for (const token of this.#tokens) token.isRevoked = true
  }

  /**
   * Spends a refresh token. Answers the one to use from now on, or null when it is refused: unknown,
   * of a family that is revoked, or replayed, which revokes the family (RFC 9700 §4.14).
   */
  spend(value: string, nowMs: number): string | null {
    const token = this.refreshTokens.get(value)
    if (token === undefined) return null
    if (token.successor !== '') {
      token.replays += 1
      if (token.family !== this.#liveFamily) return null
      if (nowMs - token.spentAtMs <= this.graceMs) return token.successor
      this.revokeFamily()
      return null
    }
    if (token.family !== this.#liveFamily) return null
    token.spentAtMs = nowMs
    token.successor = this.#addRefreshToken(token.family)
    return token.successor
  }

  /** Hands out a token that is good for `lifeMs` and is said to be good for `statedMs`. */
  mint(
    nowMs: number,
    life: { readonly statedMs: number; readonly lifeMs: number; readonly hintMs: number | null },
  ): VendorToken {
    const standing = this.#tokens.at(-1)
    const isCached = this.kind === 'cached' && standing !== undefined && !standing.isRevoked
    const cachedMs = Math.min(CACHED_MS, this.lifeMs / 8)
    if (isCached && standing.endMs - nowMs > cachedMs) return standing
    this.#serial += 1
    const token: VendorToken = {
      value: `token-${this.id}-${this.#serial}`,
      account: this,
      issuedAtMs: nowMs,
      statedEndMs: nowMs + life.statedMs,
      endMs: nowMs + life.lifeMs,
      hintMs: life.hintMs,
      isRevoked: false,
    }
    this.#tokens.push(token)
    if (this.#tokens.length > TOKENS_KEPT) this.#tokens.shift()
    return token
  }

  #addRefreshToken(family: number): string {
    this.#serial += 1
    const value = `refresh-${this.id}-${this.#serial}`
    this.refreshTokens.set(value, { family, successor: '', spentAtMs: 0, replays: 0 })
    return value
  }
}
