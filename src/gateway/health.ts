import { AppError } from '../core/errors.ts'
import type { Store } from '../store/store.ts'
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

/** What health tells. */
export interface Health {
  readonly version: string
  /** Whether the store answers; what is wrong with it, when it does not. */
  ready(): Promise<{ readonly isReady: boolean; readonly reason: string }>
}

/** Health over the store. */
export function createHealth(deps: { readonly store: Store; readonly version: string }): Health {
  return {
    version: deps.version,
    async ready() {
      try {
        await deps.store.ping()
        return { isReady: true, reason: '' }
      } catch (error) {
        if (!(error instanceof AppError)) throw error
        return { isReady: false, reason: error.message }
      }
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
