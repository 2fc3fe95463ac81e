import type { GrantStrategy } from '../core/configured-grant.ts'
import type { EndpointAllowList } from '../core/endpoint.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { RouteShape } from '../core/route.ts'
import type { Grant } from '../oauth/token-request.ts'

/** A key of credential material that a provider type takes. */
interface CredentialKey {
  /** Also the environment variable that commonly holds it. */
  readonly name: string
  readonly aliases: readonly string[]
  readonly description: string
}

/** A configuration key that a provider type takes. */
interface ConfigKey {
  readonly name: string
  readonly description: string
  readonly isRequired: boolean
}

/** What the operator allows; handed to the pure functions of a provider type. */
export interface ProviderRules {
  readonly allowList: EndpointAllowList
  /** Folders below which token files may lie. */
  readonly subjectTokenDirs: readonly string[]
  /** Whether a configuration may name a program to run. */
  readonly mayExecute: boolean
}

/**
 * Which credential a route sends: the provider's minted token, or one key of its material. Only a
 * type whose material is itself what the vendor wants in a header may say `material`.
 */
type CredentialChoice =
  | { readonly kind: 'token' }
  | { readonly kind: 'material'; readonly key: string }

/**
 * What one of the vendor's refusals of a probe means. The first rule that matches decides; a rule
 * that says less than the general words of its status is not needed.
 */
export interface ProbeRule {
  /** The answer's status; 0 matches all. */
  readonly status: number
  /** Matched against the body; null matches always. */
  readonly pattern: RegExp | null
  /** Stable code shown to people and machines. */
  readonly code: string
  /** One sentence: what a person can do. */
  readonly advice: string
}

/** The grants that OpenShell's status has names for; '' for every other. */
export type RefreshStrategy = GrantStrategy | ''

/** A route and the credential that goes with it. */
export interface ProviderRoute {
  readonly shape: RouteShape
  readonly credential: CredentialChoice
}

/**
 * Everything known about one provider type: data, and a few pure functions. Consumers are
 * handed the entry; nothing outside `src/providers` names a vendor.
 */
export interface ProviderType {
  /** The canonical name, stored and shown. */
  readonly type: string
  readonly aliases: readonly string[]
  readonly displayName: string
  readonly description: string
  readonly credentialKeys: readonly CredentialKey[]
  readonly configKeys: readonly ConfigKey[]
  /** A command that can be pasted, with placeholders in capitals. */
  readonly example: string
  /** How the minted token is called in status and on the wire; '' for a type that mints none. */
  readonly tokenKey: string
  /**
   * What the provider's grant is called in OpenShell's status. Never throws, for a status is told
   * of what cannot work, too.
   */
  readonly strategyOf: (provider: ProviderRecord) => RefreshStrategy
  /**
   * The grant for this provider at `nowMs`, or null when the provider, as configured, has a
   * static key. Throws `AppError` when material or configuration cannot work, so that calling it is
   * also the check at configuration.
   */
  readonly grant: (provider: ProviderRecord, nowMs: number, rules: ProviderRules) => Grant | null
  /**
   * How the vendor serves a model. Throws `AppError` when the configuration or the model id cannot
   * work.
   */
  readonly route: (provider: ProviderRecord, modelId: string, rules: ProviderRules) => ProviderRoute
  /**
   * Variables, none of them secret, in which agents with a client of their own look for the provider's
   * place; absent when there are none. Throws `AppError` when the configuration cannot work.
   */
  readonly agentConfig?: (
    provider: ProviderRecord,
    rules: ProviderRules,
  ) => ReadonlyMap<string, string>
  /**
   * Whether a provider can serve a route at all; where not, `route` throws, and its credentials are for
   * sandboxes alone. Absent where every provider of the type can.
   */
  readonly servesRoute?: (provider: ProviderRecord) => boolean
  /**
   * Keys under which a provider's token may stand besides `tokenKey`, the first first: a person may
   * configure its refresh under any of them.
   */
  readonly tokenAliases?: readonly string[]
  /** What the API's refusals mean, beyond what their status says; absent when that is all. */
  readonly probeRules?: readonly ProbeRule[]
}
