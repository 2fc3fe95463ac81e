import { constants } from 'node:os'
import { isLoopback } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import { parseListen } from '../core/listen.ts'
import type { Protocol } from '../core/route.ts'
import type { Secret } from '../core/secret.ts'
import { createAuthority } from '../pki/authority.ts'
import { createGatewayClock } from '../router/gateway-clock.ts'
import { DEFAULT_LIMITS } from '../router/limits.ts'
import { RefusedBetas } from '../router/refused-betas.ts'
import { sharedReports } from '../router/renewal.ts'
import { createRouteTable } from '../router/route-table.ts'
import { agentsRoute } from '../router/serving-route.ts'
import type { Log } from '../system/log.ts'
import { type OtlpConfig, startTracing } from '../system/otlp.ts'
import { atTurnEnd, realClock, realFetch, realRandom } from '../system/real.ts'
import { type GatewayChannel, openChannel } from '../wire/client.ts'
import { agentService } from './agent-service.ts'
import { prepareAgent } from './agents.ts'
import { startBundleClient } from './bundle-client.ts'
import { type ChildDeps, runChild } from './child.ts'
import { INFERENCE_HOST, parseTunnelAllowList } from './destination.ts'
import { sandboxEnvironment } from './environment.ts'
import { grpcGatewayLink } from './grpc-gateway-link.ts'
import { WriteRoom } from './http1/write-room.ts'
import { openListener } from './listener.ts'
import { createRouterMetrics } from './metrics.ts'
import { type Registration, registerSandbox } from './registration.ts'
import { type TrustFiles, writeTrustFiles } from './trust-files.ts'
import { createUpstream } from './upstream.ts'

/** How long a start waits for the first bundle before it goes on without. */
const FIRST_BUNDLE_WAIT_MS = 10_000
const REGISTRATION_RETRY_MS = 1_000

/** What both ways to run a router need. */
export interface SandboxOptions {
  /** `http://host:port` or `https://host:port`; several with commas between. */
  readonly gatewayEndpoint: string
  readonly adminToken: () => Secret | null
  readonly workspace: string
  /** null makes a name, and deletes the sandbox at the end. */
  readonly name: string | null
  /** Hosts besides `inference.local` that agents may reach, as `HOST[:PORT]`. */
  readonly allow: readonly string[]
  /** `HOST:PORT`; port 0 takes any free one. */
  readonly listen: string
  readonly pollIntervalMs: number
  /** The environment that a child starts from. */
  readonly environment: NodeJS.ProcessEnv
  readonly log: Log
  readonly tracing: RouterTracing
}

/** How a router's requests are traced. */
interface RouterTracing {
  /** Null records none. */
  readonly collector: OtlpConfig | null
  /** Whether upstreams get a `traceparent`. */
  readonly isPassedUpstream: boolean
}

/** What `sandbox run` needs besides. */
export interface RunOptions extends SandboxOptions {
  readonly command: readonly string[]
}

/** What `sandbox serve` needs besides. */
export interface ServeOptions extends SandboxOptions {
  /** Read again at each call, so that the file may be replaced; null registers as `run` does. */
  readonly sandboxToken: () => Secret | null
  readonly output: 'text' | 'json'
  /** Told the address when it serves, instead of writing to stdout. */
  readonly onReady?: (url: string) => void
  /** Ends the router. */
  readonly stop: AbortSignal
}

/**
 * Runs a command beside its own router and returns its exit code.
 *
 * @throws AppError `gateway_unreachable`, or what the gateway said to the registration.
 */
export async function runSandbox(options: RunOptions): Promise<number> {
  await using cleanup = new AsyncDisposableStack()
  const interruption = hearInterruption()
  cleanup.defer(interruption.unhear)
  try {
    const admin = openGateway(options, options.adminToken)
    cleanup.defer(() => admin.close())
    const { name, isTemporary } = nameOf(options)
    const { log, workspace } = options
    const { signal } = interruption
    // While the gateway answers, the router is made.
    const registering = registerSandbox(admin, {
      ...{ name, workspace, isTemporary, log, signal },
    })
    const removing = registering.then(({ remove }) => remove).catch(() => null)
    cleanup.defer(async () => (await removing)?.())
    const router = await openRouter(options)
    cleanup.defer(router.close)
    const registration = await registering
    const ready = router.connect(() => registration.token)
    if (!(await isInTime(ready, signal))) complain(LATE_BUNDLE)
    if (signal.aborted) return interruption.exitCode()
    interruption.unhear()
    const environment = sandboxEnvironment(options.environment, {
      ...{ sandboxName: name, proxyUrl: router.url, ...router.trust },
      credentialNames: registration.credentialNames,
    })
    const { command } = options
    const agent = prepareAgent({ command, environment }, router.protocols())
    return await runChild(CHILD_DEPS, agent.command, agent.environment)
  } catch (error) {
    if (interruption.signal.aborted) return interruption.exitCode()
    throw reachable(error, options)
  }
}

/**
 * Serves a router without a child until `stop`. It waits for its gateway, however long that takes,
 * and says its addresses on stdout as soon as it serves, or after ten seconds.
 *
 * @throws AppError what the gateway said to the registration, other than nothing.
 */
export async function serveSandbox(options: ServeOptions): Promise<number> {
  await using cleanup = new AsyncDisposableStack()
  const router = await openRouter(options)
  cleanup.defer(router.close)
  const { name, isTemporary } = nameOf(options)
  const connect = async (): Promise<void> => {
    if (options.sandboxToken() !== null) return router.connect(options.sandboxToken)
    const admin = openGateway(options, options.adminToken)
    cleanup.defer(() => admin.close())
    const registration = await registerPatiently(admin, { ...options, name, isTemporary })
    if (registration === null) return
    cleanup.defer(registration.remove)
    return router.connect(() => registration.token)
  }
  const connected = connect()
  if (!(await isInTime(connected, options.stop))) complain(LATE_BUNDLE)
  if (!options.stop.aborted) {
    if (options.onReady !== undefined) options.onReady(router.url)
    else process.stdout.write(addressLines(options.output, name, router))
  }
  // A registration that is refused late still ends the program.
  await Promise.race([aborted(options.stop), connected.then(() => aborted(options.stop))])
  return 0
}

const LATE_BUNDLE =
  'openshell: the gateway has sent no routes yet; requests are answered with 503 until it does'

/** A router with its port open. */
interface Router {
  readonly url: string
  readonly trust: TrustFiles
  /** What the agents' route serves now; nothing before the first bundle. */
  protocols(): ReadonlySet<Protocol>
  /** Starts to keep its routes current; resolves with the first bundle. */
  connect(token: () => Secret | null): Promise<void>
  close(): Promise<void>
}

async function openRouter(options: SandboxOptions): Promise<Router> {
  const { log, pollIntervalMs } = options
  const address = parseListen(options.listen)
  if (!isLoopback(urlHost(address.host))) {
    log.warn('listener.exposed', {
      ...address,
      advice: 'Whoever reaches this port uses its models',
    })
  }
  const deps = { clock: realClock, random: realRandom, log }
  const stop = new AbortController()
  const clock = createGatewayClock(realClock)
  const table = createRouteTable()
  const { collector, isPassedUpstream } = options.tracing
  const tracing = startTracing({ ...deps, fetch: realFetch }, collector)
  const { tracer } = tracing
  const metrics = createRouterMetrics({ table, clock: realClock, gatewayClock: clock, tracer })
  const authority = createAuthority(deps)
  // One for both sides, so that all that goes out in a turn goes out together.
  const writeRoom = new WriteRoom(atTurnEnd)
  const upstream = createUpstream({ caPem: null, writeRoom })
  const gateway = openGateway(options, () => token())
  const link = grpcGatewayLink(gateway)
  let token: () => Secret | null = () => null
  let running: Promise<void> = Promise.resolve()
  const forwardDeps = {
    refusedBetas: new RefusedBetas(realClock),
    ...{ ...deps, clock, table, limits: DEFAULT_LIMITS, upstream: upstream.send },
    reportRejected: sharedReports(link.reportRejected),
  }
  const listener = await openListener({
    ...address,
    allowList: parseTunnelAllowList(options.allow),
    certificate: authority.issueLeaf(INFERENCE_HOST),
    serve: agentService({
      ...{ forwardDeps, metrics },
      tracing: tracer === null ? null : { tracer, isPassedUpstream },
    }),
    writeRoom,
    clock: realClock,
    log,
  })
  const trust = writeTrustFiles(authority.certPem, {
    bundleFile: options.environment.SSL_CERT_FILE ?? '',
  })
  return {
    url: `http://${reachableHost(listener.host)}:${listener.port}`,
    trust,
    protocols() {
      const operations = agentsRoute(table.current())?.operations ?? []
      return new Set(operations.map(operation => operation.protocol))
    },
    connect(given) {
      token = given
      const client = startBundleClient({ ...deps, clock, link, table, pollIntervalMs }, stop.signal)
      running = client.done
      return client.ready
    },
    async close() {
      stop.abort()
      await Promise.all([listener.close(), upstream.close(), running])
      await tracing.stop()
      gateway.close()
      trust.remove()
    },
  }
}

function openGateway(options: SandboxOptions, token: () => Secret | null): GatewayChannel {
  const [first = '', ...others] = options.gatewayEndpoint.split(',')
  const endpoints = [parseEndpoint(first), ...others.map(parseEndpoint)] as const
  const begin = Math.floor(realRandom.fraction() * endpoints.length)
  return openChannel(endpoints, { token, nowMs: realClock.nowMs, caPem: null }, begin)
}

function parseEndpoint(text: string): URL {
  const endpoint = URL.parse(text.trim())
  if (endpoint !== null && /^https?:$/.test(endpoint.protocol)) return endpoint
  throw new AppError('invalid_usage', `"${text}" is not the address of a gateway`, {
    hint: 'Use http://HOST:PORT or https://HOST:PORT',
  })
}

function nameOf(options: SandboxOptions): { readonly name: string; readonly isTemporary: boolean } {
  if (options.name !== null) return { name: options.name, isTemporary: false }
  const suffix = Buffer.from(realRandom.bytes(5)).toString('hex')
  return { name: `run-${suffix}`, isTemporary: true }
}

/** Registers as soon as the gateway is there; null when the router is stopped before. */
async function registerPatiently(
  admin: GatewayChannel,
  options: ServeOptions & { readonly name: string; readonly isTemporary: boolean },
): Promise<Registration | null> {
  const { stop, log } = options
  while (!stop.aborted) {
    try {
      return await registerSandbox(admin, { ...options, signal: stop })
    } catch (error) {
      if (!(error instanceof AppError && error.code === 'gateway_unreachable')) throw error
      log.debug('registration.postponed', { message: error.message })
      await realClock.sleep(REGISTRATION_RETRY_MS * (0.5 + realRandom.fraction() / 2), stop)
    }
  }
  return null
}

/** Whether a start came to its end before the wait for it did. */
async function isInTime(ready: Promise<void>, signal: AbortSignal): Promise<boolean> {
  const wait = new AbortController()
  const limit = realClock.sleep(FIRST_BUNDLE_WAIT_MS, AbortSignal.any([signal, wait.signal]))
  const isReady = await Promise.race([ready.then(() => true), limit.then(() => signal.aborted)])
  wait.abort()
  return isReady
}

interface Interruption {
  readonly signal: AbortSignal
  exitCode(): number
  unhear(): void
}

/** Before there is a child to hand them to, the usual signals end the start, with its cleaning up. */
function hearInterruption(): Interruption {
  const controller = new AbortController()
  let exitCode = 0
  const unhear = (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map(name =>
    CHILD_DEPS.onSignal(name, () => {
      exitCode = 128 + constants.signals[name]
      controller.abort()
    }),
  )
  return {
    signal: controller.signal,
    exitCode: () => exitCode,
    unhear: () => {
      for (const stop of unhear) stop()
    },
  }
}

const CHILD_DEPS: ChildDeps = {
  onSignal(name, listener) {
    process.on(name, listener)
    return () => process.off(name, listener)
  },
  isTerminal: process.stdin.isTTY,
  complain,
}

function complain(line: string): void {
  process.stderr.write(`${line}\n`)
}

function reachable(error: unknown, options: SandboxOptions): unknown {
  if (!(error instanceof AppError && error.code === 'gateway_unreachable')) return error
  const message = `Cannot reach the gateway at "${options.gatewayEndpoint}"`
  const hint = 'Start one with "openshell gateway start", or name another with --gateway-endpoint'
  return new AppError('gateway_unreachable', message, { hint, cause: error })
}

/** What a program on this machine connects to: all addresses are reached by the loopback one. */
function reachableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return host === '::' ? '[::1]' : urlHost(host)
}

function urlHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

function addressLines(output: ServeOptions['output'], sandbox: string, router: Router): string {
  const { url, trust } = router
  if (output === 'json') {
    const addresses = { sandbox, proxyUrl: url, baseUrl: url, caFile: trust.caFile }
    return `${JSON.stringify(addresses)}\n`
  }
  return [
    `Router of sandbox "${sandbox}" is ready`,
    `  HTTPS_PROXY=${url}  for https://${INFERENCE_HOST}`,
    `  NODE_EXTRA_CA_CERTS=${trust.caFile}`,
    `  SSL_CERT_FILE=${trust.caBundleFile}`,
    `  ANTHROPIC_BASE_URL=${url}  for tools that know no proxy`,
    '',
  ].join('\n')
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  signal.addEventListener('abort', () => resolve(), { once: true })
  if (signal.aborted) resolve()
  return promise
}
