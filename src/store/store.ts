import type { Credential } from '../core/credential.ts'
import type { InferenceRoute, ProviderRecord, RouteName, SandboxRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'

/** A page of a list, in name order. */
export interface Page {
  readonly limit: number
  readonly offset: number
}

/** What a caller says of a new or changed provider; the store counts versions and times. */
export interface ProviderContent {
  readonly material: ReadonlyMap<string, Secret>
  readonly config: ReadonlyMap<string, string>
}

/** What a refresh changes. Written whole; `version` in it is the one that was read. */
export interface CredentialWrite {
  readonly credential: Credential
  /** Material that the vendor rotated; stored in the same transaction as the token. */
  readonly rotatedMaterial: ReadonlyMap<string, Secret>
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
  /** Creates a provider with its credential rows (version 1) in one transaction. */
  createProvider(provider: ProviderRecord, credentials: readonly Credential[]): Promise<void>
  getProvider(workspace: string, name: string): Promise<ProviderRecord | null>
  getProviderById(id: string): Promise<ProviderRecord | null>
  /** `workspace` null lists all workspaces. */
  listProviders(workspace: string | null, page: Page): Promise<readonly ProviderRecord[]>
  /**
   * Replaces a provider's content if its version is still `provider.version`; answers the new
   * record. `credentials` replace the provider's credential rows in the same transaction, so that
   * a mint in flight loses its race; null leaves them alone.
   */
  updateProvider(
    provider: ProviderRecord,
    content: ProviderContent,
    credentials: readonly Credential[] | null,
  ): Promise<ProviderRecord | null>
  /** Deletes a provider with its credentials and secrets; false when there was none. */
  deleteProvider(workspace: string, name: string): Promise<boolean>

  listCredentials(providerId: string): Promise<readonly Credential[]>
  /**
   * Claims credentials that are due (`dueAtMs <= nowMs`) and not claimed by a living gateway, the
   * earliest first. A claim raises the version: whoever was minting with an older one loses.
   */
  claimDue(claim: Claim, limit: number): Promise<readonly Credential[]>
  /** Claims one credential whether it is due or not; null when it is claimed, gone or changed. */
  claimCredential(claim: Claim, credential: Credential): Promise<Credential | null>
  /** Writes a credential if its version is still the one that was read; answers it as stored. */
  saveCredential(write: CredentialWrite): Promise<Credential | null>
  /**
   * When the earliest credential is due, or its claim runs out if that is later; null when none is.
   */
  earliestDueAtMs(): Promise<number | null>

  getRoute(workspace: string, name: RouteName): Promise<InferenceRoute | null>
  listRoutes(workspace: string): Promise<readonly InferenceRoute[]>
  /** Workspaces that have at least one route. */
  listRouteWorkspaces(): Promise<readonly string[]>
  /** Creates (`route.version` 0) or replaces a route if the version is still the one read. */
  saveRoute(route: InferenceRoute): Promise<InferenceRoute | null>
  deleteRoute(workspace: string, name: RouteName): Promise<boolean>

  createSandbox(sandbox: SandboxRecord): Promise<void>
  getSandbox(workspace: string, name: string): Promise<SandboxRecord | null>
  getSandboxById(id: string): Promise<SandboxRecord | null>
  listSandboxes(workspace: string | null, page: Page): Promise<readonly SandboxRecord[]>
  deleteSandbox(workspace: string, name: string): Promise<boolean>

  /** A secret of the gateway's own, for example the key that signs sandbox tokens. */
  getGatewaySecret(name: string): Promise<Secret | null>
  /** Stores one if none has that name yet; answers the one that stands. */
  putGatewaySecret(name: string, value: Secret): Promise<Secret>

  /** Throws `store_unavailable` when the database does not answer a trivial question. */
  ping(): Promise<void>
  close(): Promise<void>
}

/** Who claims, at what instant, and until when the claim holds. */
export interface Claim {
  readonly owner: string
  readonly nowMs: number
  readonly untilMs: number
}
