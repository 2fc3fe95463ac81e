import type { RouteName } from './provider.ts'
import type { ResolvedRoute } from './route.ts'

/** A route that cannot serve now, in words; it never takes the other routes down with it. */
export interface RouteFailure {
  readonly name: RouteName
  readonly providerName: string
  /** Stable code, for example `credential_expired` or `provider_not_found`. */
  readonly code: string
  readonly message: string
  /** 0 when not known. */
  readonly sinceMs: number
  /** When the next attempt is due; 0 when a person is needed. */
  readonly nextAttemptAtMs: number
}

/** What a router needs, complete. `revision` is a hash of the content and of nothing else. */
export interface Bundle {
  readonly revision: string
  /** Before anything of it was read. */
  readonly generatedAtMs: number
  /** How many changes of the workspace were counted before anything of it was read; 0 when not known. */
  readonly changes: number
  readonly routes: readonly ResolvedRoute[]
  readonly failures: readonly RouteFailure[]
}
