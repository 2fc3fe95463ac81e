// Goal: the table follows the gateway through push, poll, loss and return. Method: a real gRPC server
// that a test scripts, and the real clock; every wait is for a thing that happens.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { afterEach, test } from 'node:test'
import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js'
import type { Bundle } from '../core/bundle.ts'
import type { ResolvedRoute } from '../core/route.ts'
import { Secret } from '../core/secret.ts'
import { createGatewayClock } from '../router/gateway-clock.ts'
import { createRouteTable, type RouteTable } from '../router/route-table.ts'
import type { Log, LogFields } from '../system/log.ts'
import { bundleToWire } from '../wire/bundle.ts'
import { type GatewayChannel, openChannel } from '../wire/client.ts'
import {
  Delivery,
  type WatchInferenceBundleRequest,
} from '../wire/gen/openshell/delivery/v1/delivery_pb.ts'
import { Inference } from '../wire/gen/openshell/inference/v1/inference_pb.ts'
import { serviceDefinition } from '../wire/grpc.ts'
import { type BundleClient, startBundleClient } from './bundle-client.ts'
import type { DeliveredBundle } from './gateway-link.ts'
import { grpcGatewayLink } from './grpc-gateway-link.ts'

type Watch = ServerDuplexStream<WatchInferenceBundleRequest, object>

const cleanups: (() => Promise<void> | void)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface Gateway {
  readonly port: number
  /** What `GetInferenceBundle` answers; null refuses with `code`. */
  polled: Bundle | null
  polls: number
  /** What becomes of a stream; by default it stays open. */
  onWatch: (watch: Watch) => void
  /** Everything that routers said on their streams. */
  readonly heard: Said
  stop(): void
}

/** A list that can be waited for. */
class Said {
  readonly revisions: string[] = []
  #check: () => void = () => {}

  add(revision: string): void {
    this.revisions.push(revision)
    this.#check()
  }

  async until(count: number): Promise<readonly string[]> {
    while (this.revisions.length < count) {
      await new Promise<void>(resolve => {
        this.#check = resolve
      })
    }
    return this.revisions
  }
}

async function startGateway(port = 0): Promise<Gateway> {
  const server = new Server()
  server.addService(serviceDefinition(Delivery), {
    watchInferenceBundle(watch: Watch) {
      watch.on('error', () => {})
      watch.on('data', ({ revision }) => gateway.heard.add(revision))
      watch.on('end', () => watch.end())
      gateway.onWatch(watch)
    },
    reportRejectedToken(call: ServerUnaryCall<object, object>, answer: sendUnaryData<object>) {
      assert.deepEqual(
        { ...call.request },
        { ...call.request, providerName: 'p', generation: 7n, status: 401, reason: 'it said no' },
      )
      answer(null, { outcome: 'known', message: 'it is out', nextAttemptAtMs: 5n })
    },
  })
  server.addService(serviceDefinition(Inference), {
    getInferenceBundle(_: unknown, answer: sendUnaryData<object>) {
      gateway.polls += 1
      if (gateway.polled === null) answer({ code: status.UNAVAILABLE })
      else answer(null, { ...bundleToWire(gateway.polled), sentAtMs: 9n })
    },
  })
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) =>
    error === null ? resolve(bound) : reject(error),
  )
  const gateway: Gateway = {
    port: await promise,
    polled: null,
    polls: 0,
    onWatch: () => {},
    heard: new Said(),
    stop: () => server.forceShutdown(),
  }
  cleanups.push(gateway.stop)
  return gateway
}

const route: ResolvedRoute = {
  name: 'inference.local',
  providerName: 'p',
  providerId: 'provider-1',
  providerType: 'openai',
  baseUrl: 'https://api.example.com/v1',
  modelId: 'm',
  operations: [],
  auth: { kind: 'header', header: 'authorization', prefix: 'Bearer ' },
  defaultHeaders: new Map(),
  allowHeaders: [],
  betas: null,
  deadToken: [],
  credential: new Secret('t'),
  expiresAtMs: null,
  mandatoryAtMs: null,
  generation: 7,
  timeoutMs: 60_000,
}

function bundle(revision: string, routes: readonly ResolvedRoute[] = [route]): Bundle {
  return { revision, generatedAtMs: 1, changes: 0, routes, failures: [] }
}

interface Started {
  readonly table: RouteTable
  readonly client: BundleClient
  /** Resolves with the fields of the next such event, or of one that was logged already. */
  logged(event: string): Promise<LogFields>
  /** Resolves when the table serves that revision. */
  serves(revision: string): Promise<void>
  events(event: string): number
}

function start(port: number, options: { readonly pollIntervalMs?: number } = {}): Started {
  const seen: { event: string; fields: LogFields }[] = []
  let notify: () => void = () => {}
  const note = (event: string, fields: LogFields = {}) => {
    seen.push({ event, fields })
    notify()
  }
  const log: Log = { debug: note, info: note, warn: note, error: note }
  const until = async <T>(find: () => T | undefined): Promise<T> => {
    for (;;) {
      const found = find()
      if (found !== undefined) return found
      await new Promise<void>(resolve => {
        notify = resolve
      })
    }
  }
  const stop = new AbortController()
  const channel = open(port)
  const table = createRouteTable()
  const { pollIntervalMs = 60_000 } = options
  const random = { fraction: () => 0, bytes: () => new Uint8Array() }
  const deps = {
    link: grpcGatewayLink(channel),
    table,
    clock: createGatewayClock(realClock),
    random,
    log,
    pollIntervalMs,
  }
  const client = startBundleClient(deps, stop.signal)
  cleanups.push(async () => {
    stop.abort()
    await client.done
  })
  return {
    table,
    client,
    logged: event => until(() => seen.find(one => one.event === event)?.fields),
    serves: async revision => {
      await until(() => (table.current()?.revision === revision ? true : undefined))
    },
    events: event => seen.filter(one => one.event === event).length,
  }
}

function open(port: number): GatewayChannel {
  const token = () => new Secret('sandbox')
  const address = new URL(`http://127.0.0.1:${port}`)
  const channel = openChannel(address, { token, nowMs: Date.now, caPem: null })
  cleanups.push(() => channel.close())
  return channel
}

/** The machine's clock, with spans shortened so that no test waits for long. */
const realClock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms: number, signal: AbortSignal) =>
    new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms >= 30_000 ? 2 ** 30 : ms / 10)
      const leave = () => {
        clearTimeout(timer)
        resolve()
      }
      signal.addEventListener('abort', leave, { once: true })
      if (signal.aborted) leave()
    }),
}

test('each pushed bundle is served and then acknowledged', async () => {
  const gateway = await startGateway()
  let watch: Watch | null = null
  gateway.onWatch = opened => {
    watch = opened
    opened.write({ bundle: bundleToWire(bundle('r1')) })
  }
  const { table, client } = start(gateway.port)
  await client.ready
  assert.equal(table.current()?.revision, 'r1')
  assert.equal(table.current()?.routes[0]?.credential.reveal(), 't')
  assert.deepEqual(await gateway.heard.until(2), ['', 'r1'])
  const opened: Watch | null = watch
  assert.ok(opened !== null)
  ;(opened as Watch).write({ bundle: bundleToWire(bundle('r2')) })
  assert.deepEqual(await gateway.heard.until(3), ['', 'r1', 'r2'])
  assert.equal(table.current()?.revision, 'r2')
})

test('the gateway says its time with each push and each answer to a poll', async () => {
  const gateway = await startGateway()
  gateway.polled = bundle('p1')
  gateway.onWatch = watch => watch.write({ bundle: bundleToWire(bundle('r1')), sentAtMs: 8n })
  const link = grpcGatewayLink(open(gateway.port))
  const end = new AbortController()
  cleanups.push(() => end.abort())
  const pushed = Promise.withResolvers<number>()
  const onBundle = ({ sentAtMs }: DeliveredBundle) => pushed.resolve(sentAtMs)
  const ended = link.watch({ revision: () => '', onBundle }, end.signal)
  assert.equal(await pushed.promise, 8)
  assert.equal((await link.poll(end.signal)).sentAtMs, 9)
  end.abort()
  assert.equal((await ended).code, 'gateway_unreachable')
})

test('an empty bundle is an answer', async () => {
  const gateway = await startGateway()
  gateway.onWatch = watch => watch.write({ bundle: bundleToWire(bundle('empty', [])) })
  const { table, client } = start(gateway.port)
  await client.ready
  assert.deepEqual(table.current()?.routes, [])
})

test('a gateway that goes away leaves the table, and finds its router again', async () => {
  const first = await startGateway()
  first.onWatch = watch => watch.write({ bundle: bundleToWire(bundle('r1')) })
  const { table, client, logged, serves, events } = start(first.port)
  await client.ready
  first.stop()
  assert.equal((await logged('gateway.lost')).code, 'gateway_unreachable')
  assert.equal(table.current()?.revision, 'r1')
  const second = await startGateway(first.port)
  second.onWatch = watch => watch.write({ bundle: bundleToWire(bundle('r2')) })
  await serves('r2')
  // It said what it had served in the meantime.
  assert.deepEqual(await second.heard.until(2), ['r1', 'r2'])
  assert.equal(events('gateway.found'), 1)
})

test('a router that was started first waits for its gateway', async () => {
  const port = await freePort()
  const { client, logged, table, events } = start(port)
  await logged('gateway.lost')
  assert.equal(table.current(), null)
  const gateway = await startGateway(port)
  gateway.onWatch = watch => watch.write({ bundle: bundleToWire(bundle('r1')) })
  await client.ready
  assert.equal(table.current()?.revision, 'r1')
  assert.equal(events('gateway.lost'), 1)
})

test('a gateway without push is polled', async () => {
  const gateway = await startGateway()
  gateway.onWatch = watch => watch.emit('error', { code: status.UNIMPLEMENTED, details: 'no' })
  gateway.polled = bundle('p1')
  const { client, serves, logged } = start(gateway.port, { pollIntervalMs: 100 })
  await client.ready
  await logged('push.unsupported')
  gateway.polled = bundle('p2')
  await serves('p2')
  assert.ok(gateway.polls >= 2)
})

test('a poll that fails changes nothing', async () => {
  const gateway = await startGateway()
  gateway.onWatch = watch => watch.write({ bundle: bundleToWire(bundle('r1')) })
  const { client, logged, table } = start(gateway.port, { pollIntervalMs: 100 })
  await client.ready
  await logged('poll.failed')
  assert.equal(table.current()?.revision, 'r1')
})

for (const [name, code] of [
  ['unauthenticated', status.UNAUTHENTICATED],
  ['permission_denied', status.PERMISSION_DENIED],
  ['not_found', status.NOT_FOUND],
] as const) {
  test(`a gateway that refuses with ${name} is told to people and not hammered`, async () => {
    const gateway = await startGateway()
    let watches = 0
    gateway.onWatch = watch => {
      watches += 1
      watch.emit('error', { code, details: 'no' })
    }
    const { logged } = start(gateway.port)
    const fields = await logged('gateway.refused')
    assert.equal(fields.code, name)
    assert.equal(typeof fields.advice, 'string')
    assert.equal(watches, 1)
  })
}

test('a refused token is reported with its generation', async () => {
  const gateway = await startGateway()
  const { reportRejected } = grpcGatewayLink(open(gateway.port))
  assert.deepEqual(await reportRejected(route, { status: 401, reason: 'it said no' }), {
    outcome: 'known',
    message: 'it is out',
    nextAttemptAtMs: 5,
  })
  gateway.stop()
  await assert.rejects(reportRejected(route, { status: 401, reason: '' }), {
    code: 'gateway_unreachable',
  })
})

async function freePort(): Promise<number> {
  const server = net.createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  assert.ok(address !== null && typeof address === 'object')
  server.close()
  await once(server, 'close')
  return address.port
}
