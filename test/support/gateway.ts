import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type {
  DescMessage,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf'
import type { Bundle } from '../../src/core/bundle.ts'
import type { ErrorCode } from '../../src/core/errors.ts'
import { AppError } from '../../src/core/errors.ts'
import { Secret } from '../../src/core/secret.ts'
import { createAudit } from '../../src/gateway/audit.ts'
import { type Gateway, startGateway } from '../../src/gateway/gateway.ts'
import { startLab } from '../../src/lab/lab.ts'
import type { Lab } from '../../src/lab/running-lab.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import type { Clock } from '../../src/system/clock.ts'
import type { Files } from '../../src/system/files.ts'
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
import type { Tracer } from '../../src/system/trace.ts'
import { bundleFromWire } from '../../src/wire/bundle.ts'
import { callUnary, type GatewayChannel, openChannel, openStream } from '../../src/wire/client.ts'
import { Delivery } from '../../src/wire/gen/openshell/delivery/v1/delivery_pb.ts'
import { OpenShell } from '../../src/wire/gen/openshell/v1/openshell_pb.ts'
import { rulesOf } from './outside.ts'

/** The canonical name of the only refreshed type. */
export const VERTEX = 'google-vertex-ai'

/** A real gateway over a real store, with a lab as its vendor. */
export interface TestGateway extends AsyncDisposable {
  readonly lab: Lab
  readonly folder: string
  readonly adminToken: Secret
  /** Everything that was logged, one JSON text a line. */
  readonly lines: string[]
  readonly store: Store
  readonly gateway: Gateway
  readonly origin: string
  /** A channel that sends this token; null sends none. */
  channel(token: Secret | null): GatewayChannel
  /** Calls as the administrator, who first makes the workspace that the request names, if need be. */
  call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
  ): Promise<MessageShape<O>>
  /** Creates a sandbox and opens a channel with its token. */
  sandbox(name: string, workspace?: string): Promise<Sandbox>
  /** Stops the gateway and starts another over the same files, to which something may happen meanwhile. */
  restart(meanwhile?: () => void): Promise<void>
}

/** A sandbox's own channel. */
interface Sandbox {
  readonly token: Secret
  readonly channel: GatewayChannel
}

/** How a test's gateway differs from a usual one. */
export interface TestGatewaySetup {
  readonly clock?: Clock
  readonly isAuthRequired?: boolean
  readonly tokenLifetimeMs?: number
  /** Records the refreshes; nothing does by default. */
  readonly tracer?: Tracer
  /** Endpoints that the gateway may reach besides the lab. */
  readonly alsoAllow?: readonly string[]
  /** The gateway's disk; the machine's own by default. */
  readonly files?: Files
  /** Folders below which token files may lie. */
  readonly subjectTokenDirs?: readonly string[]
  /** Whether a configuration may name a program. */
  readonly mayExecute?: boolean
}

/** Starts a lab, a store in a folder of its own, and a gateway that may reach the lab. */
export async function startTestGateway(setup: TestGatewaySetup = {}): Promise<TestGateway> {
  const { clock = realClock, isAuthRequired = true, tokenLifetimeMs = 3_600_000 } = setup
  const lab = await startLab(
    { clock, random: realRandom, log: silentLog },
    { listen: { host: '127.0.0.1', port: 0 }, tokenLifetimeMs },
  )
  const folder = mkdtempSync(path.join(tmpdir(), 'gateway-'))
  const masterKey = randomBytes(32)
  const adminToken = new Secret(randomBytes(32).toString('base64url'))
  const lines: string[] = []
  const log = createLog({ format: 'json', level: 'debug', write: line => lines.push(line) })
  const channels: GatewayChannel[] = []

  const start = async () => {
    const outside = {
      ...{ clock, random: realRandom, fetch: realFetch, log },
      ...{ files: setup.files ?? realFiles, execute: realExecute },
      ...{ audit: createAudit(log), vitals: watchVitals(), tracer: setup.tracer ?? null },
    }
    const store = await openStore({ ...outside, masterKey }, `sqlite:${folder}/gateway.db`)
    const gateway = await startGateway(
      { ...outside, store },
      {
        listen: { host: '127.0.0.1', port: 0 },
        adminToken,
        isAuthRequired,
        rules: {
          ...rulesOf([new URL(lab.origin).host, ...(setup.alsoAllow ?? [])]),
          subjectTokenDirs: setup.subjectTokenDirs ?? [],
          mayExecute: setup.mayExecute ?? false,
        },
        gatewayId: 'gateway-1',
        sweepMs: 600_000,
        version: '1.2.3',
      },
    )
    return { store, gateway, channel: openAt(gateway, adminToken) }
  }
  const openAt = (gateway: Gateway, token: Secret | null): GatewayChannel => {
    const channel = openChannel(new URL(gateway.origin), {
      token: () => token,
      nowMs: () => Date.now(),
      caPem: null,
    })
    channels.push(channel)
    return channel
  }
  let running = await start()
  const stop = async (): Promise<void> => {
    await running.gateway.close()
    for (const channel of channels.splice(0)) channel.close()
    await running.store.close()
  }
  const world: TestGateway = {
    ...{ lab, folder, adminToken, lines },
    get store() {
      return running.store
    },
    get gateway() {
      return running.gateway
    },
    get origin() {
      return running.gateway.origin
    },
    channel: token => openAt(running.gateway, token),
    async call(method, request) {
      await makeWorkspace(running.store, request)
      return callUnary(running.channel, method, request, { timeoutMs: 20_000 })
    },
    async sandbox(name, workspace = '') {
      await world.call(OpenShell.method.createSandbox, { name, workspace })
      const issued = await world.call(Delivery.method.createSandboxToken, {
        sandboxName: name,
        workspace,
      })
      const token = new Secret(issued.token)
      return { token, channel: world.channel(token) }
    },
    async restart(meanwhile = () => undefined) {
      await stop()
      meanwhile()
      running = await start()
    },
    async [Symbol.asyncDispose]() {
      await stop()
      await lab.close()
      rmSync(folder, { recursive: true })
    },
  }
  return world
}

async function makeWorkspace(store: Store, request: object): Promise<void> {
  const name = 'workspace' in request ? request.workspace : ''
  if (typeof name !== 'string' || name === '' || (await store.getWorkspace(name)) !== null) return
  const workspace = { id: `id-of-${name}`, name, labels: new Map(), createdAtMs: 0, version: 1 }
  await store.createWorkspace(workspace).catch((error: unknown) => {
    // Two calls at once may want the same one.
    if (!(error instanceof AppError && error.code === 'already_exists')) throw error
  })
}

/** What `CreateProvider` needs for the lab's Vertex; `email` names the pretend account. */
export function vertexProvider(lab: Lab, name: string, email?: string) {
  const key = lab.serviceAccountKey(email === undefined ? {} : { email })
  return {
    metadata: { name },
    type: VERTEX,
    credentials: { GOOGLE_SERVICE_ACCOUNT_JSON: key },
    config: { VERTEX_BASE_URL: `${lab.origin}/v1/projects/demo-project/locations/us-east1` },
  }
}

/** What `CreateProvider` needs for the lab's OpenAI, which takes a static key. */
export function openaiProvider(lab: Lab, name: string) {
  return {
    metadata: { name },
    type: 'openai',
    credentials: { OPENAI_API_KEY: lab.openaiKey().reveal() },
    config: { OPENAI_BASE_URL: `${lab.origin}/openai/v1` },
  }
}

/** A watching router, as simple as can be. */
export interface Watcher {
  /** What was pushed, oldest first. */
  readonly bundles: readonly Bundle[]
  /** The error that ended the stream; null for a clean end. */
  readonly ended: Promise<Error | null>
  /** Says which revision it serves. */
  serve(revision: string): void
  /** Resolves to the nth push, counted from 1. */
  push(count: number): Promise<Bundle>
  cancel(): void
}

/** Opens a stream of bundles; with `acknowledges` it confirms each at once. */
export function watchBundles(
  channel: GatewayChannel,
  options: { readonly acknowledges: boolean },
): Watcher {
  const stream = openStream(channel, Delivery.method.watchInferenceBundle)
  const bundles: Bundle[] = []
  const { promise: ended, resolve } = Promise.withResolvers<Error | null>()
  stream.on('data', ({ bundle }) => {
    if (bundle === undefined) throw new Error('A push without a bundle')
    bundles.push(bundleFromWire(bundle))
    if (options.acknowledges) stream.write({ revision: bundle.revision })
  })
  stream.on('error', resolve)
  stream.on('end', () => {
    stream.end()
    resolve(null)
  })
  stream.write({ revision: '' })
  return {
    bundles,
    ended,
    serve: revision => stream.write({ revision }),
    async push(count) {
      while (bundles.length < count) await once(stream, 'data')
      const bundle = bundles[count - 1]
      if (bundle === undefined) throw new RangeError(`No push ${count}`)
      return bundle
    },
    cancel: () => stream.cancel(),
  }
}

/** Waits until something holds; fails after ten seconds of the machine's own time. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadlineMs = Date.now() + 10_000
  while (!(await holds())) {
    if (Date.now() > deadlineMs) throw new Error(`In vain: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 2))
  }
}

/** For `assert.rejects`: an `AppError` with this code whose message and hint match. */
export function refusal(code: ErrorCode, words: RegExp = /./) {
  return (error: unknown): boolean => {
    if (!(error instanceof AppError)) throw error
    const text = `${error.message} ${error.hint}`
    if (error.code === code && words.test(text)) return true
    throw new Error(`Expected ${code} ${words}, got ${error.code}: ${text}`)
  }
}
