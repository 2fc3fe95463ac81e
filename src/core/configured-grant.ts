import type { Secret } from './secret.ts'

/** The grants that OpenShell has names for; a person configures one of these for a key. */
export type GrantStrategy =
  | 'google_service_account_jwt'
  | 'oauth2_refresh_token'
  | 'oauth2_client_credentials'
  | 'aws_sts_assume_role'

/**
 * A refresh that a person configured for one key. What its profile said at that time is part of it, so
 * that a profile that is changed or deleted later changes nothing here.
 */
export interface ConfiguredGrant {
  /** Changes with the material: whoever worked with older material is told so. */
  readonly epoch: string
  readonly strategy: GrantStrategy
  /** By name, for example `client_id`; all of it is kept sealed, whether it is a secret or not. */
  readonly material: ReadonlyMap<string, Secret>
  /** '' for the strategy's own endpoint. */
  readonly tokenUrl: string
  readonly scopes: readonly string[]
  /** How long before its end a token is renewed; 0 for the usual time. */
  readonly refreshBeforeSeconds: number
  /** A longer life than this is not believed; 0 for none. */
  readonly maxLifetimeSeconds: number
  /** What the token's other parts are called, by output: `secret_access_key`, `session_token`. */
  readonly outputs: ReadonlyMap<string, string>
}
