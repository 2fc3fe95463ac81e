import type { GeneratedAlways } from 'kysely'

/** One row a provider. */
export interface ProvidersTable {
  readonly id: string
  readonly workspace: string
  readonly name: string
  readonly type: string
  readonly profile_workspace: string
  /** JSON object of strings. */
  readonly config: string
  /** JSON object of instants, by credential key. */
  readonly expiries: string
  /** JSON objects of strings. */
  readonly labels: string
  readonly annotations: string
  readonly version: number
  /** No credential row that was ever removed from this provider had a higher version. */
  readonly credentials_version: number
  /** Sealed JSON of a `ProviderContent`; null without a candidate. */
  readonly candidate_envelope: string | null
  readonly created_at_ms: number
  readonly updated_at_ms: number
}

/** Credential material, one row a key. */
interface ProviderSecretsTable {
  readonly provider_id: string
  readonly key: string
  readonly envelope: string
}

/** The rows that the refresh task works on. */
export interface CredentialsTable {
  readonly provider_id: string
  readonly key: string
  readonly version: number
  readonly generation: number
  /** Sealed JSON of a `ConfiguredGrant`; null without one. */
  readonly grant_envelope: string | null
  /** The grant's `epoch`; '' without one. */
  readonly grant_epoch: string
  /** The three parts of the token are null together. */
  readonly token_envelope: string | null
  readonly token_issued_at_ms: number | null
  readonly token_expires_at_ms: number | null
  readonly due_at_ms: number | null
  readonly mandatory_at_ms: number
  readonly last_refresh_at_ms: number
  readonly last_attempt_at_ms: number
  readonly last_forced_at_ms: number
  readonly consecutive_failures: number
  /** JSON of a `Failure`. */
  readonly failure: string | null
  readonly failing_since_ms: number
  readonly is_disabled: number
  readonly spends: number
  readonly candidate_spends: number
  readonly candidate_due_at_ms: number
  /** JSON of a `Failure`. */
  readonly candidate_failure: string | null
  /** JSON of the last `Transition`s. */
  readonly history: string
  readonly claimed_by: string
  readonly claimed_until_ms: number
  /** Who held the claim that ran out before this one; '' when none did. */
  readonly claimed_from: string
  /** The later of due time and end of the claim; null when nothing is due. Indexed. */
  readonly claimable_at_ms: GeneratedAlways<number | null>
}

/** One row an inference route. */
export interface RoutesTable {
  readonly workspace: string
  readonly name: string
  readonly provider_name: string
  readonly model_id: string
  readonly timeout_seconds: number
  readonly version: number
}

/** One row a sandbox. */
export interface SandboxesTable {
  readonly id: string
  readonly workspace: string
  readonly name: string
  readonly created_at_ms: number
  readonly version: number
  /** JSON objects of strings, `settings` also of booleans. */
  readonly labels: string
  readonly annotations: string
  readonly settings: string
  /** Sealed base64, because an agent's environment may hold secrets; null for an empty spec. */
  readonly spec_envelope: string | null
  /** Base64; null, 0 and '' together. */
  readonly policy: string | null
  readonly policy_version: number
  readonly policy_hash: string
  readonly loaded_policy_version: number
  readonly main_process_id: string
  readonly exit_code: number | null
}

/** Which providers are attached to a sandbox. A provider that is cannot be deleted. */
interface SandboxProvidersTable {
  readonly sandbox_id: string
  readonly provider_id: string
  readonly position: number
}

/** One row a workspace. */
export interface WorkspacesTable {
  readonly name: string
  readonly id: string
  readonly labels: string
  readonly version: number
  readonly created_at_ms: number
}

/** One row a member. */
export interface WorkspaceMembersTable {
  readonly workspace: string
  readonly subject: string
  readonly id: string
  readonly role: string
  readonly created_at_ms: number
}

/** What holds for all sandboxes: one row, or none before the first change. */
interface GatewayConfigTable {
  readonly name: string
  readonly settings: string
  readonly policy: string | null
  readonly policy_version: number
  readonly policy_hash: string
  readonly revision: number
}

/** One row a provider type that a person described. */
export interface ProfilesTable {
  /** '' for one that all workspaces have. */
  readonly workspace: string
  readonly id: string
  /** JSON, as the gateway's service wrote it. */
  readonly document: string
  readonly version: number
  readonly created_at_ms: number
  readonly updated_at_ms: number
}

/** The gateway's own secrets. */
interface GatewaySecretsTable {
  readonly name: string
  readonly envelope: string
}

/** Master keys that sealed before. */
interface RetiredMasterKeysTable {
  readonly id: string
  readonly retired_at_ms: number
  /** Null as long as envelopes under it may be left. */
  readonly emptied_at_ms: number | null
}

/** One row a gateway at work. */
interface GatewaysTable {
  readonly id: string
  /** The ids of the master keys that it holds, separated by blanks. */
  readonly master_key_ids: string
  readonly seen_at_ms: number
}

/** What was done with the store as a whole: `moved` away. */
interface StoreMarksTable {
  readonly name: string
  readonly at_ms: number
}

/** Who may work beside each step of the schema: see `BESIDE` in migrations.ts. */
interface SchemaStepsTable {
  readonly name: string
  readonly oldest_beside: string
}

/** How often each kind of thing was changed in a workspace; triggers raise it. */
interface ChangesTable {
  readonly workspace: string
  readonly kind: string
  readonly counter: number
}

/** The routers that are connected to a gateway, one row a workspace. */
interface GatewayRoutersTable {
  readonly gateway_id: string
  readonly workspace: string
  /** JSON object: how many routers serve each revision. */
  readonly counts: string
  readonly seen_at_ms: number
}

/** Which migrations ran; Kysely's `Migrator` writes it. */
interface MigrationsTable {
  readonly name: string
}

/** All tables, the same on both databases. Instants are whole milliseconds since the epoch. */
export interface Schema {
  readonly providers: ProvidersTable
  readonly provider_secrets: ProviderSecretsTable
  readonly credentials: CredentialsTable
  readonly profiles: ProfilesTable
  readonly routes: RoutesTable
  readonly sandboxes: SandboxesTable
  readonly sandbox_providers: SandboxProvidersTable
  readonly workspaces: WorkspacesTable
  readonly workspace_members: WorkspaceMembersTable
  readonly gateway_config: GatewayConfigTable
  readonly gateway_secrets: GatewaySecretsTable
  readonly retired_master_keys: RetiredMasterKeysTable
  readonly gateways: GatewaysTable
  readonly store_marks: StoreMarksTable
  readonly schema_steps: SchemaStepsTable
  readonly changes: ChangesTable
  readonly gateway_routers: GatewayRoutersTable
  readonly openshell_migrations: MigrationsTable
}
