import type { Secret } from './secret.ts'

/** What a person may change of a provider. */
export interface ProviderContent {
  /** Long-lived material by credential key, for example `GOOGLE_SERVICE_ACCOUNT_JSON`. */
  readonly material: ReadonlyMap<string, Secret>
  readonly config: ReadonlyMap<string, string>
}

/** What a person notes on a provider. It is kept and told, and nothing follows from it here. */
interface ProviderNotes {
  readonly labels: ReadonlyMap<string, string>
  readonly annotations: ReadonlyMap<string, string>
}

/** A configured provider. Credential material is in it; it never leaves the gateway. */
export interface ProviderRecord extends ProviderContent, ProviderNotes {
  readonly id: string
  readonly workspace: string
  readonly name: string
  /** The canonical type, never an alias. */
  readonly type: string
  /** The workspace whose profile its type is; '' for a type that all workspaces have. */
  readonly profileWorkspace: string
  /** When material ends of which a person said so, by its key. */
  readonly expiries: ReadonlyMap<string, number>
  /**
   * New content that has not brought a token yet. It is tried before the standing one and takes its
   * place at its first success; null when there is none.
   */
  readonly candidate: ProviderContent | null
  /** Counts writes; also the wire's `resource_version`. Starts at 1. */
  readonly version: number
  readonly createdAtMs: number
  readonly updatedAtMs: number
}

/** The user's choice: which provider and model serve `inference.local`. */
export interface InferenceRoute {
  readonly workspace: string
  readonly name: RouteName
  readonly providerName: string
  readonly modelId: string
  /** First-byte limit for a request; 0 means the default of 60 s. */
  readonly timeoutSeconds: number
  /** Starts at 1 and grows by one at each change. */
  readonly version: number
}

/** `inference.local` is the agent's route; `sandbox-system` the supervisor's own. */
export type RouteName = 'inference.local' | 'sandbox-system'

/** A sandbox that may fetch its workspace's bundle. */
export interface SandboxRecord {
  readonly id: string
  readonly workspace: string
  readonly name: string
  readonly createdAtMs: number
}

/** A provider type that a person described, beside those that this program knows. */
export interface ProfileRecord {
  /** Whose it is; '' for all workspaces. */
  readonly workspace: string
  readonly id: string
  /** The profile as JSON, as its service wrote it. */
  readonly document: string
  /** Counts writes; starts at 1. */
  readonly version: number
  readonly createdAtMs: number
  readonly updatedAtMs: number
}
