import type { Secret } from './secret.ts'

/** What a person may change of a provider. */
export interface ProviderContent {
  /** Long-lived material by credential key, for example `GOOGLE_SERVICE_ACCOUNT_JSON`. */
  readonly material: ReadonlyMap<string, Secret>
  readonly config: ReadonlyMap<string, string>
}

/** A configured provider. Credential material is in it; it never leaves the gateway. */
export interface ProviderRecord extends ProviderContent {
  readonly id: string
  readonly workspace: string
  readonly name: string
  /** The canonical type, never an alias. */
  readonly type: string
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
