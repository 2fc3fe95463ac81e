import type { Server } from '@grpc/grpc-js'
import type { ProviderRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'
import type { ProviderRules } from '../providers/provider-type.ts'
import { type CredentialRefresher, createRefresher } from '../providers/refresher.ts'
import { findProviderType } from '../providers/registry.ts'
import { createRefreshTask, type RefreshEvent } from '../refresh/task.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Fetch } from '../system/fetch.ts'
import type { Log } from '../system/log.ts'
import type { Random } from '../system/random.ts'
import { buildBundle } from './bundle-builder.ts'
import { createDelivery } from './delivery.ts'
import { deliveryRpcs } from './delivery-service.ts'
import { createHealth, healthRpcs } from './health.ts'
import { createHttp } from './http.ts'
import { openIdentity } from './identity.ts'
import { inferenceRpcs } from './inference-service.ts'
import { createMetrics } from './metrics.ts'
import { openPort } from './port.ts'
import { createProviderDesk } from './provider-desk.ts'
import { providerRpcs } from './provider-service.ts'
import { refreshRpcs } from './refresh-service.ts'
import { sandboxRpcs } from './sandbox-service.ts'
import { uuid } from './uuid.ts'

/** The outside world of a gateway. */
export interface GatewayDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly fetch: Fetch
  readonly log: Log
}

/** What a gateway is told. */
export interface GatewayConfig {
  readonly listen: { readonly host: string; readonly port: number }
  readonly adminToken: Secret
  readonly isAuthRequired: boolean
  readonly rules: ProviderRules
  /** The longest sleep of the refresh task. */
  readonly sweepMs: number
  readonly version: string
}

/** A gateway at work. */
export interface Gateway {
  readonly origin: string
  /** Finishes what is in flight, then closes the port. The store is the caller's. */
  close(): Promise<void>
}

/** Composes a gateway over a store and starts it. */
export async function startGateway(deps: GatewayDeps, config: GatewayConfig): Promise<Gateway> {
  const { store, clock, log } = deps
  const { rules } = config
  const stopping = new AbortController()
  const refresherOf = createRefresherTable({ ...deps, rules })
  const delivery = createDelivery({
    build: place => buildBundle({ store, clock, rules }, place),
    clock,
    log,
  })
  const metrics = createMetrics({ clock, reaches: delivery.reaches })
  const onOutcome = (event: RefreshEvent): void => {
    logRefresh(log, event, clock.nowMs())
    metrics.refreshed(event)
    delivery.changed(event.provider.workspace)
  }
  const task = createRefreshTask(
    { ...deps, owner: uuid(deps.random), refresherOf, onOutcome },
    { sweepMs: config.sweepMs },
  )
  const onChange = (provider: ProviderRecord): void => {
    task.wake()
    delivery.changed(provider.workspace)
  }
  const onDelete = (provider: ProviderRecord): void => {
    metrics.forgotten(provider.name)
    delivery.changed(provider.workspace)
  }
  const identity = await openIdentity({ ...deps, ...config })
  const health = createHealth({ store, version: config.version })
  const desk = createProviderDesk({ ...deps, rules, refresherOf, onChange })
  const rpcs = [
    ...healthRpcs(health),
    ...providerRpcs({ store, log, desk, onDelete }),
    ...refreshRpcs({ store, clock, task, delivery }),
    ...inferenceRpcs({ store, clock, log, rules, delivery, onPoll: metrics.bundleServed }),
    ...sandboxRpcs(deps),
    ...deliveryRpcs({
      ...{ store, clock, log, delivery, task, identity },
      stopping: stopping.signal,
      onRejected: metrics.tokenRejected,
    }),
  ]
  const register = (server: Server): void => {
    for (const rpc of rpcs) rpc(server, { identity, log })
  }
  const port = await openPort(config.listen, { register, http: createHttp({ health, metrics }) })
  const running = [task.run(stopping.signal), delivery.run(stopping.signal)]
  return {
    origin: port.origin,
    async close() {
      stopping.abort()
      await port.close()
      await Promise.all(running)
    },
  }
}

/** One refresher a type, because a refresher remembers what it learnt of the vendor's clock. */
function createRefresherTable(deps: {
  readonly fetch: Fetch
  readonly clock: Clock
  readonly rules: ProviderRules
}): (provider: ProviderRecord) => CredentialRefresher {
  const made = new Map<string, CredentialRefresher>()
  return provider => {
    const known = made.get(provider.type)
    if (known !== undefined) return known
    const refresher = createRefresher(findProviderType(provider.type), deps)
    made.set(provider.type, refresher)
    return refresher
  }
}

function logRefresh(log: Log, { provider, outcome, elapsedMs }: RefreshEvent, nowMs: number): void {
  const fields = {
    provider: provider.name,
    workspace: provider.workspace,
    elapsedMs: Math.round(elapsedMs),
  }
  if (outcome.kind === 'discarded') {
    log.info('refresh.discarded', fields)
    return
  }
  const { credential } = outcome
  const dueInMs = credential.dueAtMs === null ? null : credential.dueAtMs - nowMs
  if (outcome.kind === 'minted') {
    const expiresInMs = (credential.token?.expiresAtMs ?? nowMs) - nowMs
    log.info('refresh.done', { ...fields, generation: credential.generation, expiresInMs, dueInMs })
    return
  }
  const { failure } = outcome
  log.warn('refresh.failed', {
    ...fields,
    dueInMs,
    class: failure.class,
    code: failure.code,
    message: failure.message,
    consecutiveFailures: credential.consecutiveFailures,
  })
}
