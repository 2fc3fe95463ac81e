import type { Server } from '@grpc/grpc-js'
import type { Secret } from '../core/secret.ts'
import { type CompositionConfig, composeGateway, type GatewayDeps } from './compose.ts'
import { openIdentity } from './identity.ts'
import { openPort } from './port.ts'

/** What a gateway is told. */
export interface GatewayConfig extends CompositionConfig {
  readonly listen: { readonly host: string; readonly port: number }
  readonly adminToken: Secret
  readonly isAuthRequired: boolean
}

/** A gateway at work. */
export interface Gateway {
  readonly origin: string
  /** Finishes what is in flight, then closes the port. The store is the caller's. */
  close(): Promise<void>
}

/** Composes a gateway over a store and starts it. */
export async function startGateway(deps: GatewayDeps, config: GatewayConfig): Promise<Gateway> {
  const stopping = new AbortController()
  const identity = await openIdentity({ ...deps, ...config })
  const gateway = await composeGateway({ ...deps, identity, stopping: stopping.signal }, config)
  const register = (server: Server): void => {
    for (const rpc of gateway.rpcs) rpc(server, { ...deps, identity })
  }
  const port = await openPort(config.listen, { register, http: gateway.http })
  const running = gateway.run()
  return {
    origin: port.origin,
    async close() {
      stopping.abort()
      await port.close()
      await running
    },
  }
}
