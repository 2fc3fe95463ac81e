import type { Credential, Standing } from '../core/credential.ts'
import type { AppError } from '../core/errors.ts'
import type {
  InferenceRoute,
  ProfileRecord,
  ProviderContent,
  ProviderRecord,
  RouteName,
  SandboxRecord,
} from '../core/provider.ts'
import type { FullSandbox, GatewayConfigRecord } from '../core/sandbox.ts'
import type { Secret } from '../core/secret.ts'
import type { WorkspaceMember, WorkspaceRecord } from '../core/workspace.ts'

/** A page of a list, in name order. */
export interface Page {
  readonly limit: number
  readonly offset: number
}

/** A page of providers. What cannot be read is named, so that it hides no other. */
export interface ProviderPage {
  readonly providers: readonly ProviderRecord[]
  readonly damaged: readonly DamagedProvider[]
}

/** A provider whose row cannot be read. It can still be deleted. */
export interface DamagedProvider {
  readonly id: string
  readonly workspace: string
  readonly name: string
  readonly type: string
  /** Why, in one sentence. */
  readonly message: string
}

/** What a refresh changes of the provider itself, in the same transaction as its credential. */
export interface ContentChange {
  /** The provider's version when the attempt began: what was rotated belongs to that one. */
  readonly providerVersion: number
  /** Material that the vendor rotated. */
  readonly rotatedMaterial: ReadonlyMap<string, Secret>
  /**
   * What becomes of the candidate. A promoted one takes the place of the standing content, and
   * `rotatedMaterial` is written over it.
   */
  readonly candidate: 'kept' | 'promoted' | 'dropped'
}

/** What stands in a workspace and keeps it from being deleted. */
export interface WorkspaceRemains {
  readonly sandboxes: number
  readonly providers: number
  readonly profiles: number
}

/** A credential as it stands, beside its provider. */
export interface ProviderStanding {
  readonly provider: Pick<ProviderRecord, 'id' | 'workspace' | 'name'>
  readonly credential: Standing
}

/** What is known of a provider that is gone. */
export type DeletedProvider = Pick<ProviderRecord, 'id' | 'workspace' | 'name' | 'type' | 'version'>

/** Something was changed, by whichever gateway. */
export interface Change {
  /** `bundle`: what bundles and statuses are made of; `sandboxes`: a sandbox was deleted. */
  readonly kind: 'bundle' | 'sandboxes'
  readonly workspace: string
  /** The provider or sandbox that was changed; null when it was something else, or is not known. */
  readonly id: string | null
  /** Whether this store's own connections made it. */
  readonly isOwn: boolean
}

/** How often each thing was changed. */
export type ChangeCounts = ReadonlyMap<string, number>

/** How many routers serve each revision. */
export type RouterCounts = ReadonlyMap<string, number>

/** Who is told of changes. */
export interface ChangeListener {
  changed(change: Change): void
  /** The database is away: told once, and so is its return. */
  lost(error: AppError): void
  found(): void
}

/**
 * The gateway's memory. Every write that depends on something read carries the version it read; a
 * lost race is the normal outcome `null`, never an exception. Secrets are sealed before they
 * reach the database and unsealed when they leave the store.
 *
 * All methods throw `AppError`: `store_unavailable` when the database cannot be used,
 * `already_exists` where a name is taken.
 */
export interface Store {
  /**
   * Creates a provider with its credential rows (version 1) in one transaction. Throws `not_found`
   * when the workspace does not exist.
   */
  createProvider(provider: ProviderRecord, credentials: readonly Credential[]): Promise<void>
  getProvider(workspace: string, name: string): Promise<ProviderRecord | null>
  getProviderById(id: string): Promise<ProviderRecord | null>
  /** `workspace` null lists all workspaces. */
  listProviders(workspace: string | null, page: Page): Promise<ProviderPage>
  /**
   * Replaces a provider's content, its candidate included, if its version is still
   * `provider.version`; answers the new record. Its labels, annotations and expiries are written as
   * `provider` has them. `credentials` replace the provider's own credential rows in the same
   * transaction, so that a mint in flight loses its race; null leaves them alone, as those that a
   * person configured always are.
   */
  updateProvider(
    provider: ProviderRecord,
    content: ProviderContent,
    credentials: readonly Credential[] | null,
  ): Promise<ProviderRecord | null>
  /**
   * Gives a provider a candidate and writes its credential, in one transaction, if both versions are
   * still those that were read: a mint in flight loses its race.
   */
  stageProvider(
    provider: ProviderRecord,
    candidate: ProviderContent,
    credential: Credential,
  ): Promise<{ readonly provider: ProviderRecord; readonly credential: Credential } | null>
  /**
   * Deletes a provider with its credentials and secrets, readable or not; null when there was none.
   * Throws `failed_precondition` while a sandbox has it attached.
   */
  deleteProvider(workspace: string, name: string): Promise<DeletedProvider | null>

  /**
   * A token that cannot be read is as good as none: such a row is made due, so that a new one is
   * minted.
   */
  listCredentials(providerId: string): Promise<readonly Credential[]>
  /**
   * How credentials stand, without opening a token: a page in the order of provider and key, from
   * behind `after` on. `workspace` null lists all workspaces.
   */
  listStandings(
    workspace: string | null,
    page: { readonly after: Pick<Standing, 'providerId' | 'key'> | null; readonly limit: number },
  ): Promise<readonly ProviderStanding[]>
  /**
   * Makes credentials due whose instants were written under a clock that was ahead, except those that
   * are being minted: all of them, or those that claim to come from after `futureMs`. Answers how many.
   */
  renewMisdated(claim: Claim, which: { readonly futureMs: number | null }): Promise<number>
  /**
   * Claims credentials that are due (`dueAtMs <= nowMs`) and not claimed by a living gateway, the
   * earliest first. A claim raises the version: whoever was minting with an older one loses.
   */
  claimDue(claim: Claim, limit: number): Promise<readonly Credential[]>
  /**
   * Ends the claims that bear an owner's name: when it starts, those that it left when it was killed.
   * Answers how many.
   */
  releaseClaims(owner: string): Promise<number>
  /** Claims one credential whether it is due or not; null when it is claimed, gone or changed. */
  claimCredential(claim: Claim, credential: Credential): Promise<Credential | null>
  /**
   * Writes a credential whole if its version is still the one that was read; answers it as stored.
   * Rotated material is not lost with a lost race: as long as the provider is the one that it was
   * rotated for, it is stored, and the credential made due.
   */
  saveCredential(credential: Credential, change: ContentChange | null): Promise<Credential | null>
  /**
   * Gives a key a configured grant. The row of `version` 0 is new, any other takes the place of the one
   * that was read, so that a mint in flight loses its race; null when someone was faster, or the
   * provider is gone.
   */
  configureCredential(credential: Credential): Promise<Credential | null>
  /** Deletes a credential if its version is still the one that was read. */
  removeCredential(credential: Credential): Promise<boolean>
  /**
   * Stores what was rotated of a configured grant, and makes the credential due, whoever has written it
   * meanwhile, as long as its material is still that of `epoch`.
   */
  keepRotated(credential: Credential, epoch: string): Promise<boolean>
  /**
   * When the earliest credential is due, or its claim runs out if that is later; null when none is.
   */
  earliestDueAtMs(): Promise<number | null>

  getProfile(workspace: string, id: string): Promise<ProfileRecord | null>
  /** Those of a workspace and those of all workspaces, in the order of their ids. */
  listProfiles(workspace: string): Promise<readonly ProfileRecord[]>
  /** Creates all of them or none: `already_exists`, `not_found` when the workspace does not exist. */
  createProfiles(profiles: readonly ProfileRecord[]): Promise<void>
  /** Replaces a profile if its version is still the one read. */
  saveProfile(profile: ProfileRecord): Promise<ProfileRecord | null>
  /** Deletes a profile that no provider is of (`failed_precondition`). */
  deleteProfile(workspace: string, id: string): Promise<boolean>

  getRoute(workspace: string, name: RouteName): Promise<InferenceRoute | null>
  listRoutes(workspace: string): Promise<readonly InferenceRoute[]>
  /** Workspaces that have at least one route. */
  listRouteWorkspaces(): Promise<readonly string[]>
  /**
   * Creates (`route.version` 0) or replaces a route if the version is still the one read. Throws
   * `not_found` when the workspace does not exist.
   */
  saveRoute(route: InferenceRoute): Promise<InferenceRoute | null>
  deleteRoute(workspace: string, name: RouteName): Promise<boolean>

  /**
   * Creates a sandbox (version 1) with its providers attached. Throws `not_found` when the workspace
   * does not exist, `failed_precondition` when one of the providers does not.
   */
  createSandbox(sandbox: FullSandbox): Promise<void>
  getSandbox(workspace: string, name: string): Promise<FullSandbox | null>
  /** Who a sandbox is, and no more: it is asked for at each of its calls. */
  getSandboxById(id: string): Promise<SandboxRecord | null>
  getFullSandbox(id: string): Promise<FullSandbox | null>
  /** `workspace` null lists all workspaces; only those with all the labels. */
  listSandboxes(
    workspace: string | null,
    labels: ReadonlyMap<string, string>,
    page: Page,
  ): Promise<readonly FullSandbox[]>
  /**
   * Replaces a sandbox's content if its version is still the one that was read; answers the new one.
   * Throws `failed_precondition` when one of the providers does not exist.
   */
  updateSandbox(sandbox: FullSandbox): Promise<FullSandbox | null>
  /** Who has a provider attached, in name order. */
  listProviderSandboxes(providerId: string, page: Page): Promise<readonly SandboxRecord[]>
  /** The ids of the other providers that stand beside one in any sandbox. */
  listProvidersBeside(providerId: string): Promise<readonly string[]>
  deleteSandbox(workspace: string, name: string): Promise<boolean>

  createWorkspace(workspace: WorkspaceRecord): Promise<void>
  getWorkspace(name: string): Promise<WorkspaceRecord | null>
  /** In name order; only those with all the labels. */
  listWorkspaces(
    labels: ReadonlyMap<string, string>,
    page: Page,
  ): Promise<readonly WorkspaceRecord[]>
  /**
   * Deletes a workspace with its routes and members if no sandbox, provider or profile is in it; answers
   * what is, or null when there is no such workspace.
   */
  deleteWorkspace(name: string): Promise<WorkspaceRemains | null>
  /** Throws `not_found` when the workspace does not exist, `already_exists` for a member. */
  addWorkspaceMember(member: WorkspaceMember): Promise<void>
  removeWorkspaceMember(workspace: string, subject: string): Promise<boolean>
  /** In the order of their subjects. */
  listWorkspaceMembers(workspace: string, page: Page): Promise<readonly WorkspaceMember[]>

  /** What holds for all sandboxes; revision 0 and nothing in it before the first change. */
  getGatewayConfig(): Promise<GatewayConfigRecord>
  /** Replaces it if its revision is still the one that was read; answers the new one. */
  saveGatewayConfig(config: GatewayConfigRecord): Promise<GatewayConfigRecord | null>

  /** A secret of the gateway's own, for example the key that signs sandbox tokens. */
  getGatewaySecret(name: string): Promise<Secret | null>
  /** Stores one if none has that name yet; answers the one that stands. */
  putGatewaySecret(name: string, value: Secret): Promise<Secret>

  /** Whether gateways on other machines may be at work on the same database. */
  readonly isShared: boolean
  /** Says which routers a gateway has, by workspace; an empty count takes a workspace's away. */
  saveRouterCounts(gateway: string, counts: ReadonlyMap<string, RouterCounts>): Promise<void>
  /**
   * What was said of a gateway's routers still holds; it fades a quarter of a minute after the last word.
   * Answers of how many workspaces that is known: of a gateway that was silent for long it is forgotten.
   */
  confirmRouterCounts(gateway: string): Promise<number>
  /** The routers of a workspace that each of the other gateways has. */
  listRouterCounts(of: {
    readonly workspace: string
    readonly except: string
  }): Promise<readonly RouterCounts[]>
  /** What the database's clock shows; on SQLite, which has none, the machine's. */
  readClock(): Promise<number>
  /** How often what a workspace's bundle is made of was changed until now. */
  countChanges(workspace: string): Promise<number>
  /** How often each thing was changed until now. */
  readChanges(): Promise<ChangeCounts>
  /**
   * Tells of every change that is committed after `since` was read, at least once, until `signal`
   * aborts: on PostgreSQL at once, by whichever gateway, and a second later when a notification was
   * lost; on SQLite within a second, those of other connections alone. Never rejects with an `AppError`.
   */
  followChanges(since: ChangeCounts, listener: ChangeListener, signal: AbortSignal): Promise<void>

  /**
   * Says in the database that a gateway is at work and which master keys it holds; takes up keys that it
   * was given since. Throws what reading them throws, after all of that.
   */
  announce(gateway: string): Promise<void>
  /** Ends what `announce` said. */
  withdraw(gateway: string): Promise<void>

  /**
   * Throws `store_unavailable` when the database does not answer a small question, `wrong_master_key`
   * when it is sealed with a master key that is not held.
   */
  ping(): Promise<void>
  close(): Promise<void>
}

/** Who claims, at what instant, and until when the claim holds. */
export interface Claim {
  readonly owner: string
  readonly nowMs: number
  readonly untilMs: number
}
