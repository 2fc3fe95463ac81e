import type { RequestListener } from 'node:http'
import type { SandboxRecord } from '../core/provider.ts'
import { configuredSource } from '../providers/configured-grant.ts'
import type { ProviderRules } from '../providers/provider-type.ts'
import {
  type ClockOffsets,
  type CredentialRefresher,
  createRefresher,
  type RefresherDeps,
} from '../providers/refresher.ts'
import { findProviderType } from '../providers/registry.ts'
import type { AttemptDeps } from '../refresh/attempt.ts'
import { createRefreshTask } from '../refresh/task.ts'
import type { DeletedProvider, Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Execute } from '../system/execute.ts'
import type { Fetch } from '../system/fetch.ts'
import type { Files } from '../system/files.ts'
import type { Log } from '../system/log.ts'
import type { Random } from '../system/random.ts'
import type { Tracer } from '../system/trace.ts'
import type { Vitals } from '../system/vitals.ts'
import type { Audit } from './audit.ts'
import { buildBundle } from './bundle-builder.ts'
import { configRpcs } from './config-service.ts'
import { createDelivery } from './delivery.ts'
import { deliveryRpcs } from './delivery-service.ts'
import { doctorRpcs } from './doctor-service.ts'
import { createHealth, healthRpcs } from './health.ts'
import { createHttp } from './http.ts'
import type { Identity } from './identity.ts'
import { inferenceRpcs } from './inference-service.ts'
import { createMetrics } from './metrics.ts'
import { workBesideOthers } from './other-gateways.ts'
import { profileRpcs } from './profile-service.ts'
import { createProviderDesk } from './provider-desk.ts'
import { providerRpcs } from './provider-service.ts'
import { refreshRpcs } from './refresh-service.ts'
import { traceRefreshes } from './refresh-traces.ts'
import { createReporting } from './reporting.ts'
import { routersElsewhere } from './router-counts.ts'
import type { Rpc } from './rpc.ts'
import { sandboxProviderRpcs } from './sandbox-provider-service.ts'
import { sandboxRpcs } from './sandbox-service.ts'
import { watchStore } from './store-watch.ts'
import { supervisorRpcs } from './supervisor-service.ts'
import { supervisorStreamRpcs } from './supervisor-streams.ts'
import { workspaceRpcs } from './workspace-service.ts'

/** The outside world of a gateway. */
export interface GatewayDeps {
  readonly store: Store
  readonly clock: Clock
  readonly random: Random
  readonly fetch: Fetch
  readonly files: Files
  readonly execute: Execute
  readonly log: Log
  readonly audit: Audit
  readonly vitals: Vitals
  /** Null records nothing. */
  readonly tracer: Tracer | null
}

/** What a gateway is told, its port and its credentials apart. */
export interface CompositionConfig {
  /** Names this gateway in the store, the same after a restart; no two gateways share one. */
  readonly gatewayId: string
  readonly rules: ProviderRules
  /** The longest sleep of the refresh task. */
  readonly sweepMs: number
  readonly version: string
}

/** All of a gateway but its port. */
export interface Composition {
  /** Every method, ready to be registered. */
  readonly rpcs: readonly Rpc[]
  /** What is answered over HTTP/1.1. */
  readonly http: RequestListener
  /** Refreshes and delivers until the gateway stops; attempts under way then finish. */
  run(): Promise<void>
}

/**
 * Composes a gateway over a store, without a port: whoever has the methods may call them. Nothing
 * runs before `run`; `stopping` ends that and every stream.
 */
export async function composeGateway(
  outside: GatewayDeps & { readonly identity: Identity; readonly stopping: AbortSignal },
  config: CompositionConfig,
): Promise<Composition> {
  const store = watchStore(outside.store, {
    onTrouble: () => metrics.storeTrouble(),
    onCredentials: rows => task.seen(rows),
  })
  const deps = { ...outside, store }
  const { clock, log, identity, stopping, rules } = { ...deps, ...config }
  const refresherOf = createRefresherTable({ ...deps, rules })
  const delivery = createDelivery({
    build: place => buildBundle({ store, clock, rules }, place),
    onDelivered: elapsedMs => metrics.bundleDelivered(elapsedMs),
    elsewhere: store.isShared
      ? routersElsewhere({ ...deps, gateway: config.gatewayId })
      : async () => [],
    ...{ clock, log },
  })
  const metrics = createMetrics({
    ...{ ...deps, version: config.version, reaches: delivery.reaches },
    isRefreshing: credential => task.isRefreshing(credential),
    hostsDown: () => task.hostsDown(),
  })
  const reporting = createReporting({ ...deps, metrics: metrics.credentials })
  const traces = traceRefreshes({ ...deps, refresherOf })
  const task = createRefreshTask(
    {
      ...{ ...deps, ...traces, owner: config.gatewayId },
      onOutcome(event) {
        traces.ended(event)
        reporting.attempted(event)
        delivery.refreshed(event.provider)
      },
    },
    { sweepMs: config.sweepMs },
  )
  const onChange = (provider: DeletedProvider): void => {
    task.wake()
    delivery.changed(provider.workspace)
    reporting.changed(provider)
  }
  const health = createHealth({ store, clock, stopping, version: config.version })
  const desk = createProviderDesk({
    ...{ ...deps, owner: config.gatewayId, rules, onChange, refresherOf: traces.refresherOf },
    onMint: reporting.attempted,
  })
  const rpcs = [
    ...healthRpcs(health),
    ...providerRpcs({ ...deps, desk, onDelete: onChange }),
    ...profileRpcs(deps),
    ...refreshRpcs({ ...deps, rules, task, delivery, onChange }),
    ...doctorRpcs({ ...deps, rules }),
    ...inferenceRpcs({ ...deps, rules, delivery, onPoll: metrics.bundleServed }),
    ...sandboxSideRpcs({ ...deps, rules }, sandbox => {
      identity.forget(sandbox.id)
      delivery.dismiss(sandbox)
    }),
    ...deliveryRpcs({
      ...{ store, clock, log, delivery, task, identity, stopping },
      onRejected: metrics.credentials.rejected,
    }),
  ]
  // What others change while this one begins is told when it runs.
  const since = await store.readChanges()
  return {
    rpcs,
    http: createHttp({ health, metrics, log }),
    async run() {
      const others = { ...deps, delivery, task, reporting, gateway: config.gatewayId }
      await Promise.all([
        task.run(stopping),
        delivery.run(stopping),
        reporting.begin(),
        workBesideOthers(others, since, stopping),
      ])
    },
  }
}

/** The methods for sandboxes, for what they belong to, and for their supervisors. */
function sandboxSideRpcs(
  deps: SandboxDeps,
  onDelete: (sandbox: SandboxRecord) => void,
): readonly Rpc[] {
  return [
    ...workspaceRpcs(deps),
    ...configRpcs(deps),
    ...sandboxRpcs({ ...deps, onDelete }),
    ...sandboxProviderRpcs(deps),
    ...supervisorRpcs(deps),
    ...supervisorStreamRpcs(deps),
  ]
}

type SandboxDeps = GatewayDeps & {
  readonly identity: Identity
  readonly stopping: AbortSignal
  readonly rules: ProviderRules
}

/**
 * One refresher a type. What is learnt of the vendors' clocks is kept for all of them, since that of a
 * configured key is made anew each time.
 */
function createRefresherTable(deps: RefresherDeps): AttemptDeps['refresherOf'] {
  const made = new Map<string, CredentialRefresher>()
  const offsets: ClockOffsets = new Map()
  return (provider, grant) => {
    if (grant !== null) {
      return createRefresher(configuredSource(provider.type, grant), deps, offsets)
    }
    const known = made.get(provider.type)
    if (known !== undefined) return known
    const refresher = createRefresher(findProviderType(provider.type), deps, offsets)
    made.set(provider.type, refresher)
    return refresher
  }
}
