import assert from 'node:assert/strict'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate as turn } from 'node:timers/promises'
import type { Credential } from '../../src/core/credential.ts'
import type { JournalEntry } from '../../src/lab/journal.ts'
import { forward } from '../../src/router/forward.ts'
import { createGatewayClock } from '../../src/router/gateway-clock.ts'
import { DEFAULT_LIMITS } from '../../src/router/limits.ts'
import { RefusedBetas } from '../../src/router/refused-betas.ts'
import { createRouteTable, type RouteTable } from '../../src/router/route-table.ts'
import { startBundleClient } from '../../src/sandbox/bundle-client.ts'
import { grpcGatewayLink } from '../../src/sandbox/grpc-gateway-link.ts'
import { WriteRoom } from '../../src/sandbox/http1/write-room.ts'
import { createUpstream } from '../../src/sandbox/upstream.ts'
import type { Log } from '../../src/system/log.ts'
import { atTurnEnd, createLog, realRandom } from '../../src/system/real.ts'
import { Inference } from '../../src/wire/gen/openshell/inference/v1/inference_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { present } from '../store/records.ts'
import { openAgentPort } from '../support/agent-port.ts'
import { FakeClock } from '../support/fake-clock.ts'
import {
  startTestGateway,
  type TestGateway,
  type TestGatewaySetup,
  until,
  vertexProvider,
} from '../support/gateway.ts'

export const MINUTE_MS = 60_000
export const HOUR_MS = 60 * MINUTE_MS
const TURNS_MAX = 100_000
/** A request that waits for a clock that nobody moves must end the test, not hang it. */
const ANSWER_MS_MAX = 20_000

/** A router whose clock is the test's; its sockets are real. */
interface ClockedRouter {
  readonly baseUrl: string
  readonly table: RouteTable
  /** From now on it hears nothing of its gateway. */
  cutOff(): Promise<void>
}

/** How an agent's request ended. */
export interface Told {
  readonly status: number
  /** The router's own error code; '' when the answer is the vendor's. */
  readonly code: string
  readonly retryAfterSeconds: number
  readonly text: string
}

/** Gateway, routers and vendors on one clock that only the test moves, with real sockets between. */
export interface ComplaintWorld extends AsyncDisposable {
  readonly gateway: TestGateway
  readonly lab: TestGateway['lab']
  readonly clock: FakeClock
  /** What the routers logged, one JSON text a line. */
  readonly routerLines: readonly string[]
  /** Adds a Vertex provider of this account and makes it the workspace's route. */
  serveVertex(workspace: string, options?: { name?: string; email?: string }): Promise<void>
  /** Makes a provider the workspace's route. */
  route(workspace: string, providerName: string, modelId: string): Promise<void>
  /** Starts a router of the workspace that has its first bundle. */
  router(workspace: string): Promise<ClockedRouter>
  /** The provider's one credential, as it is stored. */
  credentialOf(workspace: string, name: string): Promise<Credential>
  /** Moves the clock to the credential's due time and waits for its next generation. */
  turnOver(workspace: string, name: string): Promise<Credential>
  /** Calls to this vendor of the lab so far. */
  calls(vendor: string): readonly JournalEntry[]
  /** Sets a fault that keeps calls waiting; the clock waits for this workspace's refreshes no more. */
  hold(workspace: string, fault: string): void
}

/** Starts one. */
export async function startComplaintWorld(
  setup: Omit<TestGatewaySetup, 'clock'> = {},
): Promise<ComplaintWorld> {
  // No refresh is under way when the clock moves on, so that time never overtakes one, save those that
  // a fault keeps waiting.
  let settle = (): Promise<void> => turn()
  const clock = new FakeClock(Date.UTC(2026, 10, 25, 12), () => settle())
  const gateway = await startTestGateway({ ...setup, clock })
  const { lab } = gateway
  const closing = new AsyncDisposableStack()
  const routerLines: string[] = []
  const log = createLog({ format: 'json', level: 'debug', write: line => routerLines.push(line) })
  const held = new Set<string>()
  const database = new DatabaseSync(path.join(gateway.folder, 'gateway.db'), { readOnly: true })
  closing.defer(() => database.close())
  const claims = database.prepare(
    "select workspace from credentials join providers on id = provider_id where claimed_by <> ''",
  )
  settle = async () => {
    for (let turns = 0; turns < TURNS_MAX; turns += 1) {
      await turn()
      if (claims.all().every(row => held.has(String(row.workspace)))) return
    }
    throw new Error('The refreshes never came to rest')
  }
  const world: ComplaintWorld = {
    ...{ gateway, lab, clock, routerLines },
    async serveVertex(workspace, { name = 'vx', email = `${name}-${workspace}@demo` } = {}) {
      const provider = vertexProvider(lab, name, email)
      await gateway.call(OpenShell.method.createProvider, { provider, workspace })
      await world.route(workspace, name, 'claude-3-7-sonnet')
    },
    async route(workspace, providerName, modelId) {
      const route = { providerName, modelId, workspace, noVerify: true }
      await gateway.call(Inference.method.setInferenceRoute, route)
    },
    router: workspace => openRouter(gateway, { workspace, clock, log, closing }),
    async credentialOf(workspace, name) {
      const provider = present(await gateway.store.getProvider(workspace, name))
      return present((await gateway.store.listCredentials(provider.id))[0])
    },
    async turnOver(workspace, name) {
      const { dueAtMs, generation } = await world.credentialOf(workspace, name)
      await clock.advance(Math.max(0, present(dueAtMs) - clock.nowMs()))
      const next = () => world.credentialOf(workspace, name)
      await until(async () => (await next()).generation > generation, `a new token of ${name}`)
      return next()
    },
    calls: vendor => lab.journal.entries().filter(entry => entry.vendor === vendor),
    hold(workspace, fault) {
      held.add(workspace)
      lab.faults.set(fault)
    },
    async [Symbol.asyncDispose]() {
      lab.faults.clear()
      await closing.disposeAsync()
      settle = () => turn()
      let isClosed = false
      const closed = Promise.resolve(gateway[Symbol.asyncDispose]()).finally(() => {
        isClosed = true
      })
      // A gateway finishes what it has begun; what hangs ends with the time.
      await until(async () => {
        await clock.advance(1_000)
        return isClosed
      }, 'the gateway to close')
      await closed
    },
  }
  return world
}

/** Sends one request for a short answer of Claude, as an agent with a placeholder key does. */
export async function ask(router: ClockedRouter, prompt = 'hi'): Promise<Told> {
  const response = await fetch(`${router.baseUrl}/v1/messages`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-api-key': 'placeholder' },
    signal: AbortSignal.timeout(ANSWER_MS_MAX),
    body: JSON.stringify({
      model: 'any',
      max_tokens: 16,
      messages: [{ role: 'user', content: prompt }],
    }),
  })
  return {
    status: response.status,
    code: response.headers.get('x-openshell-error') ?? '',
    retryAfterSeconds: Number(response.headers.get('retry-after') ?? 0),
    text: await response.text(),
  }
}

/** Asks each router, and moves the clock by `waitMs` once every request waits for it or is answered. */
export async function askAcross(
  { clock }: ComplaintWorld,
  routers: readonly ClockedRouter[],
  waitMs: number,
): Promise<readonly Told[]> {
  const sleepers = clock.sleepers
  let answered = 0
  const asked = routers.map(router =>
    ask(router).finally(() => {
      answered += 1
    }),
  )
  await until(() => clock.sleepers - sleepers + answered >= routers.length, 'the requests to wait')
  await clock.advance(waitMs)
  return Promise.all(asked)
}

/** Fails unless every request was answered by the vendor. */
export async function allServed(requests: readonly Promise<Told>[]): Promise<void> {
  const refused = (await Promise.all(requests)).filter(told => told.status !== 200)
  assert.deepEqual(refused, [])
}

/** Vertex was shown no token that was dead, unknown or another vendor's. */
export function assertNoTokenRefused(world: ComplaintWorld): void {
  const refused = world.calls('vertex').filter(call => call.status === 401)
  assert.deepEqual(refused, [], 'the API refused a token')
}

async function openRouter(
  gateway: TestGateway,
  parts: {
    readonly workspace: string
    readonly clock: FakeClock
    readonly log: Log
    readonly closing: AsyncDisposableStack
  },
): Promise<ClockedRouter> {
  const { workspace, log, closing } = parts
  const clock = createGatewayClock(parts.clock)
  const name = `s-${Buffer.from(realRandom.bytes(4)).toString('hex')}`
  const { channel } = await gateway.sandbox(name, workspace)
  const link = grpcGatewayLink(channel)
  const table = createRouteTable()
  const upstream = createUpstream({ caPem: null, writeRoom: new WriteRoom(atTurnEnd) })
  const agents = await openAgentPort()
  const stop = new AbortController()
  const client = startBundleClient(
    { link, table, clock, random: realRandom, log, pollIntervalMs: 30_000 },
    stop.signal,
  )
  const refusedBetas = new RefusedBetas(clock)
  const deps = { clock, log, limits: DEFAULT_LIMITS, table, upstream: upstream.send, refusedBetas }
  agents.serve = async (request, response) => {
    await forward({ ...deps, reportRejected: link.reportRejected }, request, response)
  }
  const cutOff = async (): Promise<void> => {
    stop.abort()
    await client.done
  }
  closing.defer(async () => {
    await Promise.all([agents[Symbol.asyncDispose](), cutOff()])
    await upstream.close()
  })
  await client.ready
  return { baseUrl: `http://127.0.0.1:${agents.port}`, table, cutOff }
}
