import { AppError } from '../core/errors.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import { ServiceStatus } from '../wire/gen/openshell/v1/health_pb.ts'
import { OpenShell } from '../wire/gen/openshell/v1/openshell_pb.ts'
import { adminRpc, openRpc, type Rpc } from './rpc.ts'

/** Who calls a gateway that asks for no token; the words are OpenShell's. */
const LOCAL_DEV = {
  subject: 'unauthenticated-local-dev',
  displayName: '',
  identityProvider: 'local_dev',
}

const TOKEN_HOLDER = {
  subject: 'admin',
  displayName: 'Administrator',
  identityProvider: 'admin-token',
}

/** Whoever asks whether the gateway is ready wants to know soon. */
const PATIENCE_MS = 2_000

/** What health tells. */
export interface Health {
  readonly version: string
  /** Whether calls are served here: the store answers and nobody stops the gateway; if not, why. */
  ready(): Promise<{ readonly isReady: boolean; readonly reason: string }>
}

/** Health over the store. */
export function createHealth(deps: {
  readonly store: Store
  readonly clock: Clock
  readonly stopping: AbortSignal
  readonly version: string
}): Health {
  const { store, clock, stopping, version } = deps
  return {
    version,
    async ready() {
      if (stopping.aborted) return { isReady: false, reason: 'The gateway is stopping' }
      const over = new AbortController()
      const answer = store.ping().then(
        () => ({ isReady: true, reason: '' }),
        (error: unknown) => {
          if (!(error instanceof AppError)) throw error
          return { isReady: false, reason: error.message }
        },
      )
      const patience = clock.sleep(PATIENCE_MS, over.signal).then(() => ({
        ...{ isReady: false, reason: 'The database does not answer' },
      }))
      return Promise.race([answer, patience]).finally(() => over.abort())
    },
  }
}

/** The health methods of `openshell.v1.OpenShell`. */
export function healthRpcs(health: Health): readonly Rpc[] {
  const { method } = OpenShell
  const status = async () =>
    (await health.ready()).isReady ? ServiceStatus.HEALTHY : ServiceStatus.DEGRADED
  return [
    openRpc(method.health, async () => ({ status: await status(), version: health.version })),
    adminRpc(method.getGatewayInfo, async () => ({
      status: await status(),
      gatewayVersion: health.version,
    })),
    adminRpc(method.getCurrentUser, async (_request, { isLocalDev }) => ({
      ...(isLocalDev ? LOCAL_DEV : TOKEN_HOLDER),
      roles: ['openshell-user', 'openshell-admin'],
      scopes: ['openshell:all'],
    })),
  ]
}
