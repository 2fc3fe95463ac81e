import type { Credential } from '../../src/core/credential.ts'
import type { FailureClass } from '../../src/core/failure.ts'
import type { InferenceRoute, ProviderRecord, SandboxRecord } from '../../src/core/provider.ts'
import type { Life } from './machine.ts'
import type { Trace } from './trace.ts'
import type { Account, VendorToken } from './vendor-account.ts'

/** What must hold, whatever happens. The names appear in failures. */
export type Invariant =
  | 'no expired token is used'
  | 'no expired token is in a bundle'
  | 'only a token of the provider is sent to its vendor'
  | 'each mint has a reason'
  | 'one mint at a time'
  | 'one mint for an expiry'
  | 'who lost its claim writes nothing'
  | 'the vendor is left in peace'
  | 'a permanent refusal ends the attempts'
  | 'no refresh token is spent beyond the rule'
  | 'no refresh token is spent without a record'
  | 'a deleted provider never returns'
  | 'the newest generation wins'
  | 'what is acknowledged is served'
  | 'the gateway recovers'
  | 'routers converge'
  | 'what waits is bounded'
  | 'every request is answered'
  | 'a replay brings a newer token'
  | 'nothing spins'
  | 'nothing breaks inside'

/** An invariant that did not hold. */
export interface Violation {
  readonly invariant: Invariant
  readonly what: string
  readonly atMs: number
}

/** A provider as it stands in the store. Instants are true time. */
export interface Standing {
  readonly record: ProviderRecord
  readonly credential: Credential | null
  /** When the credential was last written by anything but a claim. */
  readonly writtenAtMs: number
  /** When its token was stored, or the vendor gave the same once more. */
  readonly mintedAtMs: number
  /** When its material or configuration was last changed. */
  readonly changedAtMs: number
}

/** What a client last heard of a token endpoint about an account. */
export interface Heard {
  readonly means: FailureClass | 'token'
  readonly material: string
  readonly life: Life
  readonly atMs: number
  /** The gateway's wall clock then. */
  readonly wallMs: number
  readonly retryAfterMs: number
  /** The version of the provider when it was asked. */
  readonly version: number
  /** When it was heard, in the order of all that happened with the account. */
  readonly order: number
  /** Whether the gateway has written to this provider since. */
  isCommitted: boolean
}

/** A command that may mint, from its arrival at the gateway to its answer. */
export interface Command {
  readonly kind: 'add' | 'update' | 'rotate'
}

/** The dealings of gateways with one account. */
export interface Dealings {
  readonly account: Account
  readonly underWay: Set<Asking>
  /** Counts what happens with the account. */
  order: number
  /** Commands of people that the gateway is at work on and that may mint. */
  readonly commands: Set<Command>
  heard: Heard | null
  /** The generation that a router has reported as refused; null when none, or when it was acted on. */
  reported: number | null
  /** When a report was the reason of a mint, in true time, and who made it. */
  forcedAtMs: number
  forcedBy: Life | null
  /** Material that the vendor has refused for good, and the gateway has stored that it knows. */
  readonly refused: Set<string>
}

/** A request to a token endpoint. */
export interface Asking {
  readonly dealings: Dealings
  readonly material: string
  readonly life: Life
  readonly atMs: number
  /** When it was sent, in the order of all that happened with the account. */
  readonly order: number
  /** The version of the provider at that time; 0 before it is stored. */
  readonly version: number
}

/** The truth of a simulation: what the vendors, the store and the people did, and what was broken. */
export class Ledger {
  readonly trace: Trace
  /** The sandboxes in the store, by id. */
  readonly sandboxes = new Map<string, SandboxRecord>()
  /** By how much the clocks by which gateways judge have been apart without a fault of theirs. */
  disagreementMs = 0
  /** When a gateway that shares its database last made all credentials due, in true time. */
  renewedAtMs = Number.NEGATIVE_INFINITY
  readonly #nowMs: () => number
  readonly #dealings = new Map<Account, Dealings>()
  readonly #tokens = new Map<string, VendorToken>()
  readonly #givenTwice = new Set<string>()
  readonly #standing = new Map<string, Standing>()
  /** By the id of the provider. */
  readonly #accounts = new Map<string, Account>()
  readonly #opened = new Map<number, Account>()
  readonly #deleted = new Map<Account, number>()
  readonly #commits = new Map<string, number>()
  /** The newest version of each provider's credential that anyone has claimed or written. */
  readonly #versions = new Map<string, number>()
  /** Who has claimed it, until that one has written its outcome. */
  readonly #holders = new Map<string, string>()
  readonly #routes = new Map<string, readonly InferenceRoute[]>()
  readonly #routesAtMs = new Map<string, number>()
  #lastDeletionMs = 0
  #violation: Violation | null = null

  constructor(trace: Trace, nowMs: () => number) {
    this.trace = trace
    this.#nowMs = nowMs
  }

  /** The first invariant that did not hold; null as long as all do. */
  get violation(): Violation | null {
    return this.#violation
  }

  /** Notes that an invariant does not hold. The first one counts. */
  violate(invariant: Invariant, what: string): void {
    this.trace.note(`VIOLATION ${invariant}: ${what}`)
    this.#violation ??= { invariant, what, atMs: this.#nowMs() }
  }

  /** The providers as the store has them, by id. */
  get standing(): ReadonlyMap<string, Standing> {
    return this.#standing
  }

  /** When the last provider that used the account was deleted, in true time. */
  deletedAtMs(account: Account): number | undefined {
    return this.#deleted.get(account)
  }

  /** When any provider was deleted last. */
  get lastDeletionMs(): number {
    return this.#lastDeletionMs
  }

  dealingsWith(account: Account): Dealings {
    const known = this.#dealings.get(account)
    if (known !== undefined) return known
    const dealings: Dealings = {
      account,
      underWay: new Set(),
      order: 0,
      commands: new Set(),
      heard: null,
      reported: null,
      forcedAtMs: Number.NEGATIVE_INFINITY,
      forcedBy: null,
      refused: new Set(),
    }
    this.#dealings.set(account, dealings)
    return dealings
  }

  get allDealings(): Iterable<Dealings> {
    return this.#dealings.values()
  }

  /** How many tokens were minted. */
  get mints(): number {
    return this.#tokens.size
  }

  minted(token: VendorToken): void {
    if (this.#tokens.has(token.value)) this.#givenTwice.add(token.value)
    this.#tokens.set(token.value, token)
  }

  /** Whether the vendor has handed out a token more than once. */
  isGivenTwice(value: string): boolean {
    return this.#givenTwice.has(value)
  }

  tokenOf(value: string): VendorToken | undefined {
    return this.#tokens.get(value)
  }

  /** The order in which tokens were stored; undefined for one that never was. */
  commitOf(token: VendorToken): number | undefined {
    return this.#commits.get(token.value)
  }

  /** The workspace's routes as the store has them. */
  routesOf(workspace: string): readonly InferenceRoute[] {
    return this.#routes.get(workspace) ?? []
  }

  /** When the workspace's routes were last written. */
  routesWrittenAtMs(workspace: string): number {
    return this.#routesAtMs.get(workspace) ?? 0
  }

  /** What the store holds of a route after a write; null when it is gone. */
  routeChanged(
    workspace: string,
    { name, now }: { readonly name: string; readonly now: InferenceRoute | null },
  ): void {
    const others = this.routesOf(workspace).filter(one => one.name !== name)
    this.#routes.set(workspace, now === null ? others : [...others, now])
    this.#routesAtMs.set(workspace, this.#nowMs())
  }

  /** A customer has opened an account at a vendor. */
  opened(account: Account): void {
    this.#opened.set(account.id, account)
  }

  accountOf(providerId: string): Account | undefined {
    return this.#accounts.get(providerId)
  }

  /** The provider that stands and uses the account. */
  providerOf(account: Account): Standing | undefined {
    for (const [id, standing] of this.#standing)
      if (this.#accounts.get(id) === account) return standing
    return undefined
  }

  /** The provider that stands under a name. */
  named(workspace: string, name: string): Standing | undefined {
    for (const standing of this.#standing.values()) {
      const { record } = standing
      if (record.workspace === workspace && record.name === name) return standing
    }
    return undefined
  }

  /** A gateway has claimed a credential, over the version that it had read; null where it read none. */
  claimed(written: Credential, over: number | null): void {
    this.#versioned(written, over)
    this.#holders.set(placeOf(written), written.claimedBy)
  }

  /** A gateway has written a credential, over the version that it had read. */
  written(written: Credential, { over, by }: { readonly over: number; readonly by: string }): void {
    this.#versioned(written, over)
    const place = placeOf(written)
    const holder = this.#holders.get(place) ?? by
    if (holder !== by) {
      const what = `${by} wrote ${place}, which ${holder} has claimed`
      this.violate('who lost its claim writes nothing', what)
    }
    if (written.claimedBy === '') this.#holders.delete(place)
  }

  #versioned(written: Credential, over: number | null): void {
    const place = placeOf(written)
    const newest = this.#versions.get(place) ?? 0
    if (over !== null && over < newest) {
      const what = `version ${over} of ${place} was written over, though ${newest} was there`
      this.violate('who lost its claim writes nothing', what)
    }
    this.#versions.set(place, Math.max(newest, written.version))
  }

  /** What a gateway wanted to write lost its race: a token that it was given is void, and another is due. */
  discarded(providerId: string): void {
    const account = this.#accounts.get(providerId)
    const dealings = account === undefined ? null : this.dealingsWith(account)
    if (dealings?.heard?.means === 'token') dealings.heard = null
  }

  /** What the store holds of a provider after a write; null when it is gone. */
  committed(
    providerId: string,
    now: { readonly record: ProviderRecord; readonly credential: Credential | null } | null,
  ): void {
    if (now === null) {
      const account = this.#accounts.get(providerId)
      const wasThere = this.#standing.delete(providerId)
      this.#lastDeletionMs = this.#nowMs()
      if (wasThere && account !== undefined) this.#deleted.set(account, this.#nowMs())
      return
    }
    const account = this.#accounts.get(providerId) ?? this.#bind(now.record)
    const before = this.#standing.get(providerId)
    const isAttempt = before?.credential?.lastAttemptAtMs !== now.credential?.lastAttemptAtMs
    const isMint = before?.credential?.lastRefreshAtMs !== now.credential?.lastRefreshAtMs
    const writtenAtMs = this.#nowMs()
    const mintedAtMs = isMint ? writtenAtMs : (before?.mintedAtMs ?? writtenAtMs)
    const isChange = before?.record.version !== now.record.version
    const changedAtMs = isChange ? writtenAtMs : (before?.changedAtMs ?? writtenAtMs)
    this.#standing.set(providerId, { ...now, writtenAtMs, mintedAtMs, changedAtMs })
    const value = now.credential?.token?.value.reveal()
    if (value !== undefined && !this.#commits.has(value))
      this.#commits.set(value, this.#commits.size)
    if (account === undefined) return
    const dealings = this.dealingsWith(account)
    // Another configuration makes the same material worth a try.
    if (isChange) dealings.refused.clear()
    if (!isAttempt) return
    const { heard } = dealings
    if (heard === null) return
    heard.isCommitted = true
    // A candidate that was refused says nothing about what stands, be it of the same material.
    const isStanding = now.credential?.failure !== null
    if (heard.means === 'P' && isStanding && !isChange) dealings.refused.add(heard.material)
  }

  /** Whose account a new provider uses is told by its material, in which the account is named. */
  #bind(record: ProviderRecord): Account | undefined {
    for (const secret of record.material.values()) {
      const id = Number(secret.reveal().split('-')[1])
      const account = this.#opened.get(id)
      if (account === undefined) continue
      this.#accounts.set(record.id, account)
      return account
    }
    return undefined
  }
}

function placeOf({ providerId, key }: Credential): string {
  return `${providerId} ${key}`
}
