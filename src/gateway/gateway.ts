import type { Server } from '@grpc/grpc-js'
import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'
import type { ProviderRules } from '../providers/provider-type.ts'
import {
  type CredentialRefresher,
  createRefresher,
  type RefresherDeps,
} from '../providers/refresher.ts'
import { findProviderType } from '../providers/registry.ts'
import { createRefreshTask, type RefreshEvent } from '../refresh/task.ts'
import type { Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Execute } from '../system/execute.ts'
import type { Fetch } from '../system/fetch.ts'
import type { Files } from '../system/files.ts'
import type { Log } from '../system/log.ts'
import type { Random } from '../system/random.ts'
import { buildBundle } from './bundle-builder.ts'
import { createDelivery } from './delivery.ts'
import { deliveryRpcs } from './delivery-service.ts'
import { doctorRpcs } from './doctor-service.ts'
import { createHealth, healthRpcs } from './health.ts'
import { createHttp } from './http.ts'
import { openIdentity } from './identity.ts'
import { inferenceRpcs } from './inference-service.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { openPort } from './port.ts'
import { createProviderDesk } from './provider-desk.ts'
import { providerRpcs } from './provider-service.ts'
import { allProviders, refreshRpcs } from './refresh-service.ts'
import { sandboxRpcs } from './sandbox-service.ts'
import { uuid } from './uuid.ts'

/** The outside world of a gateway. */
export interface GatewayDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly fetch: Fetch
  readonly files: Files
  readonly execute: Execute
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
    onDelivered: elapsedMs => metrics.bundleDelivered(elapsedMs),
    clock,
    log,
  })
  const metrics = createMetrics({ clock, reaches: delivery.reaches })
  const onMint = (event: RefreshEvent): void => {
    logRefresh(log, event, clock.nowMs())
    metrics.refreshed(event)
  }
  const onOutcome = (event: RefreshEvent): void => {
    onMint(event)
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
    metrics.forgotten(provider)
    delivery.changed(provider.workspace)
  }
  const identity = await openIdentity({ ...deps, ...config })
  const health = createHealth({ store, version: config.version })
  const desk = createProviderDesk({ ...deps, rules, refresherOf, onMint, onChange })
  const rpcs = [
    ...healthRpcs(health),
    ...providerRpcs({ ...deps, desk, onDelete }),
    ...refreshRpcs({ store, clock, task, delivery, log }),
    ...doctorRpcs({ ...deps, rules }),
    ...inferenceRpcs({ store, clock, log, rules, delivery, onPoll: metrics.bundleServed }),
    ...sandboxRpcs({ ...deps, onDelete: delivery.dismiss }),
    ...deliveryRpcs({
      ...{ store, clock, log, delivery, task, identity },
      stopping: stopping.signal,
      onRejected: metrics.tokenRejected,
    }),
  ]
  await tellStanding(deps, metrics)
  const register = (server: Server): void => {
    for (const rpc of rpcs) rpc(server, { identity, log })
  }
  const port = await openPort(config.listen, {
    register,
    http: createHttp({ health, metrics, log }),
  })
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
function createRefresherTable(
  deps: RefresherDeps,
): (provider: ProviderRecord) => CredentialRefresher {
  const made = new Map<string, CredentialRefresher>()
  return provider => {
    const known = made.get(provider.type)
    if (known !== undefined) return known
    const refresher = createRefresher(findProviderType(provider.type), deps)
    made.set(provider.type, refresher)
    return refresher
  }
}

/** Metrics speak of tokens that were minted before this gateway started. */
async function tellStanding({ store, log }: GatewayDeps, metrics: Metrics): Promise<void> {
  try {
    for (const provider of await allProviders(store, null)) {
      for (const credential of await store.listCredentials(provider.id))
        metrics.known(provider, credential)
    }
  } catch (error) {
    // A row that cannot be read makes metrics incomplete; it must not stop the gateway.
    if (!(error instanceof AppError)) throw error
    log.warn('metrics.incomplete', { error })
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
