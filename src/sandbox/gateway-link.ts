import type { Bundle } from '../core/bundle.ts'
import type { AppError } from '../core/errors.ts'
import type { ReportRejected } from '../router/renewal.ts'

/** A bundle as it came from the gateway. */
export interface DeliveredBundle {
  readonly bundle: Bundle
  /** The gateway's wall clock when it sent the bundle; 0 from a gateway that does not say. */
  readonly sentAtMs: number
}

/** The router's side of one stream of bundles. */
export interface WatchSession {
  /** What the router serves now; '' before the first bundle. */
  revision(): string
  /** Puts a bundle to use before it returns. */
  onBundle(delivered: DeliveredBundle): void
}

/** All that a router asks of its gateway, whatever lies between them. */
export interface GatewayLink {
  /**
   * Opens a stream of bundles and resolves with why it ended: a gateway never ends one by itself, so
   * an end is always an error. The session's revision goes to the gateway at the start and after each
   * `onBundle`; there it is the acknowledgement that requests are served with it.
   */
  watch(session: WatchSession, signal: AbortSignal): Promise<AppError>
  /** Fetches the bundle once. Rejects with an `AppError`. */
  poll(signal: AbortSignal): Promise<DeliveredBundle>
  /** Reports a refused token. Rejects with an `AppError` when the gateway is away. */
  readonly reportRejected: ReportRejected
}
