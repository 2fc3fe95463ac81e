import { randomBytes } from 'node:crypto'
import type {
  DescMessage,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf'
import { Secret } from '../../src/core/secret.ts'
import { createAudit } from '../../src/gateway/audit.ts'
import { createDatabaseClock } from '../../src/gateway/database-clock.ts'
import { type Gateway, startGateway } from '../../src/gateway/gateway.ts'
import { startLab } from '../../src/lab/lab.ts'
import type { Lab } from '../../src/lab/running-lab.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import type { Clock } from '../../src/system/clock.ts'
import { silentLog } from '../../src/system/log.ts'
import {
  createLog,
  realClock,
  realExecute,
  realFetch,
  realFiles,
  realRandom,
  watchVitals,
} from '../../src/system/real.ts'
import { callUnary, type GatewayChannel, openChannel } from '../../src/wire/client.ts'
import { Delivery } from '../../src/wire/gen/openshell/delivery/v1/delivery_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { type CuttingProxy, openCuttingProxy } from './cutting-proxy.ts'
import { type Life, mortalLife } from './mortal.ts'
import { rulesOf } from './outside.ts'

/** One gateway of several on one database, with a wire to it of its own. */
export interface Replica {
  readonly gateway: Gateway
  readonly store: Store
  readonly wire: CuttingProxy
  /** Everything that it logged, one JSON text a line. */
  readonly lines: readonly string[]
  /** Calls as the administrator. */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>>
  channel(token: Secret | null): GatewayChannel
  /** From now on it writes nothing, sends nothing and hears nothing. */
  kill(): void
}

/** Several gateways over one PostgreSQL, in one process, and the vendor that they share. */
export interface Replicas extends AsyncDisposable {
  readonly lab: Lab
  readonly all: readonly [Replica, Replica, Replica]
  /** A store of the test's own, on a wire that nobody cuts. */
  readonly store: Store
  /** Creates a sandbox at a gateway; its token is good at all of them. */
  sandbox(at: Replica, name: string): Promise<Secret>
}

/** How far the wall clocks of the three machines are off. */
type Skews = readonly [number, number, number]

/** Starts three gateways at once on an empty database. */
export async function startReplicas(
  location: string,
  options: { readonly tokenLifetimeMs?: number; readonly skewsMs?: Skews } = {},
): Promise<Replicas> {
  const { tokenLifetimeMs = 3_600_000, skewsMs = [0, 0, 0] } = options
  const lab = await startLab(
    { clock: realClock, random: realRandom, log: silentLog },
    { listen: { host: '127.0.0.1', port: 0 }, tokenLifetimeMs },
  )
  const shared = {
    ...{ location, lab, masterKey: randomBytes(32) },
    adminToken: new Secret(randomBytes(32).toString('base64url')),
  }
  const [one, two, three] = await Promise.all(
    ([0, 1, 2] as const).map(at => startReplica(shared, { at, skewMs: skewsMs[at] })),
  )
  if (one === undefined || two === undefined || three === undefined) throw new Error('Three')
  const store = await openStore(
    { clock: realClock, random: realRandom, masterKey: shared.masterKey },
    location,
  )
  const all = [one, two, three] as const
  return {
    ...{ lab, all, store },
    async sandbox(at, name) {
      await at.call(OpenShell.method.createSandbox, { name })
      const request = { sandboxName: name, workspace: '' }
      const { token } = await at.call(Delivery.method.createSandboxToken, request)
      return new Secret(token)
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(all.map(one => one.stop()))
      await store.close()
      await lab.close()
    },
  }
}

interface Shared {
  readonly location: string
  readonly lab: Lab
  readonly masterKey: Uint8Array
  readonly adminToken: Secret
}

/** A machine whose wall clock is off. */
function offClock(offMs: number): Clock {
  return { ...realClock, nowMs: () => realClock.nowMs() + offMs }
}

async function startReplica(
  { location, lab, masterKey, adminToken }: Shared,
  { at, skewMs }: { readonly at: number; readonly skewMs: number },
): Promise<Replica & { stop(): Promise<void> }> {
  const wire = await openCuttingProxy(Number(new URL(location).port))
  const life: Life = mortalLife(null)
  const lines: string[] = []
  const log = createLog({ format: 'json', level: 'debug', write: line => void lines.push(line) })
  const clock = createDatabaseClock(offClock(skewMs), () => store.readClock())
  const outside = {
    ...{ clock, random: realRandom, files: realFiles, execute: realExecute, log },
    ...{ fetch: life.fetch(realFetch), audit: createAudit(log), tracer: null },
    vitals: watchVitals(),
  }
  const store: Store = await openStore({ ...outside, masterKey }, wire.through(location))
  await clock.sample()
  const leaving = new AbortController()
  const timekeeping = clock.run(log, leaving.signal)
  const gateway = await startGateway(
    { ...outside, store: life.store(store) },
    {
      listen: { host: '127.0.0.1', port: 0 },
      adminToken,
      isAuthRequired: true,
      rules: { ...rulesOf([new URL(lab.origin).host]), subjectTokenDirs: [], mayExecute: false },
      gatewayId: `replica-${at}`,
      sweepMs: 600_000,
      version: '1.2.3',
    },
  )
  const channels: GatewayChannel[] = []
  const channel = (token: Secret | null): GatewayChannel => {
    const opened = openChannel(new URL(gateway.origin), {
      ...{ token: () => token, nowMs: Date.now, caPem: null },
    })
    channels.push(opened)
    return opened
  }
  const admin = channel(adminToken)
  return {
    ...{ gateway, store, wire, lines, channel },
    call: (method, request) => callUnary(admin, method, request, { timeoutMs: 20_000 }),
    kill: () => life.kill(),
    async stop() {
      leaving.abort()
      for (const one of channels) one.close()
      const closed = gateway.close()
      // One that was killed never finishes what it was at.
      if (!life.isDead) await closed
      await timekeeping
      await store.close()
      await wire[Symbol.asyncDispose]()
    },
  }
}
