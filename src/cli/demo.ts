import path from 'node:path'
import type { Command } from 'commander'
import type { Secret } from '../core/secret.ts'
import { type Context, define, flag } from './command.ts'
import { readStartOptions, START_DEFAULTS } from './gateway.ts'
import type { Gateway } from './gateway-call.ts'
import { AGENT_ROUTE, findRoute } from './inference.ts'
import { listProviders } from './provider.ts'
import { type Running, startProgram } from './running.ts'
import { adminTokenFile, type GatewaySettings, secretFile } from './settings.ts'
import { printLine, type Terminal } from './terminal.ts'
import { formatListen, UsageCheck } from './usage.ts'

const LAB_LISTEN_DEFAULT = '127.0.0.1:17680'
const ROUTER_LISTEN_DEFAULT = '127.0.0.1:17690'
const TOKEN_LIFETIME_MS = 60_000
const POLL_INTERVAL_MS = 30_000
const MINT_TIMEOUT_MS = 60_000
const DEMO_PROVIDER = 'demo'
const DEMO_MODEL = 'claude-3-7-sonnet'
const WORKSPACE = 'default'

/** `openshell demo`, which `npm start` runs. It is hidden: each of its parts has a command. */
export function declareDemo(command: Command, context: Context): void {
  define(command, {
    sentence: 'Run a gateway and a router; without a provider of your own, also the lab.',
    example: 'openshell demo',
    flags: [
      flag('--listen <address>', 'where the gateway listens').default(START_DEFAULTS.listen),
      flag('--lab-listen <address>', 'where the lab listens').default(LAB_LISTEN_DEFAULT),
      flag('--router-listen <address>', 'where the router listens').default(ROUTER_LISTEN_DEFAULT),
    ],
    run: async () => {
      const options = command.opts<DemoAddresses>()
      const check = new UsageCheck()
      const addresses = {
        listen: formatListen(check.listenAddress('--listen', options.listen)),
        labListen: formatListen(check.listenAddress('--lab-listen', options.labListen)),
        routerListen: formatListen(check.listenAddress('--router-listen', options.routerListen)),
      }
      check.finish()
      await runDemo(context, addresses)
    },
  })
}

interface DemoAddresses {
  readonly listen: string
  readonly labListen: string
  readonly routerListen: string
}

/** Everything is stopped in the reverse order of its start, whatever ends the demo. */
async function runDemo(context: Context, addresses: DemoAddresses): Promise<void> {
  const { terminal } = context
  const stop = terminal.stopSignal()
  await using gatewayProgram = await startGateway(context, addresses)
  const gateway = await connect(terminal, gatewayProgram.ready)
  await using closing = new AsyncDisposableStack()
  closing.defer(() => gateway.close())
  // One may stand there from a demo that was killed.
  const isOwn = (await withoutDemoProvider(gateway)) > 0
  const programs: Running<unknown>[] = [gatewayProgram]
  if (!isOwn) {
    const lab = closing.use(await startLab(addresses))
    programs.push(lab)
    await addDemoProvider(gateway, lab.ready)
  }
  const router = closing.use(await startRouter(terminal, gateway, addresses))
  programs.push(router)
  printWelcome(terminal, {
    gatewayUrl: gatewayProgram.ready,
    routerUrl: router.ready,
    modelId: (await findRoute(gateway, AGENT_ROUTE))?.modelId ?? null,
    isOwn,
  })
  await Promise.race([aborted(stop), ...programs.map(program => program.ended)])
  if (!isOwn && stop.aborted) await withoutDemoProvider(gateway)
}

async function startGateway(
  context: Context,
  { listen, labListen }: DemoAddresses,
): Promise<Running<string>> {
  const { terminal, version } = context
  const options = readStartOptions(
    { ...START_DEFAULTS, listen, logLevel: 'error', allowEndpoint: [labListen] },
    terminal,
  )
  const { runGateway } = await import('../gateway/main.ts')
  // Audit lines are written whatever the level of the log, and would stand between the demo's words.
  const auditLog = path.join(options.stateDir, 'audit.log')
  return startProgram((stop, onReady) =>
    runGateway({ ...options, auditLog, version, onReady }, stop),
  )
}

/** As the administrator of this very gateway, whatever the environment says of another one. */
async function connect(terminal: Terminal, origin: string): Promise<Gateway> {
  const tokenPlace = adminTokenFile(readStartOptions(START_DEFAULTS, terminal).stateDir)
  const { connectGateway } = await import('./connection.ts')
  const endpoint = new URL(origin)
  const settings: GatewaySettings = {
    endpoint,
    endpoints: [endpoint],
    token: secretFile(tokenPlace, 'the admin token'),
    tokenPlace,
    workspace: WORKSPACE,
    isVerbose: false,
  }
  return connectGateway(settings, terminal)
}

async function startLab({ labListen }: DemoAddresses) {
  const { runLab } = await import('../lab/main.ts')
  const options = {
    listen: labListen,
    tokenLifetimeMs: TOKEN_LIFETIME_MS,
    faults: [],
    output: 'json',
  } as const
  return startProgram<{ readonly baseUrl: string; readonly serviceAccountKey: Secret }>(
    (stop, onReady) => runLab({ ...options, onReady }, stop),
  )
}

async function startRouter(
  terminal: Terminal,
  gateway: Gateway,
  { routerListen }: DemoAddresses,
): Promise<Running<string>> {
  const log = await terminal.openLog('error')
  const { serveSandbox } = await import('../sandbox/main.ts')
  const options = {
    gatewayEndpoint: gateway.settings.endpoints.join(','),
    adminToken: gateway.settings.token,
    sandboxToken: () => null,
    workspace: WORKSPACE,
    name: null,
    allow: [],
    listen: routerListen,
    pollIntervalMs: POLL_INTERVAL_MS,
    tracing: { collector: null, isPassedUpstream: false },
    environment: { ...terminal.env },
    output: 'json',
    log,
  } as const
  return startProgram((stop, onReady) => serveSandbox({ ...options, stop, onReady }))
}

/**
 * Takes the demo's provider and route away, because its lab and the key that this lab issued go with
 * the demo. Returns how many other providers there are.
 */
async function withoutDemoProvider(gateway: Gateway): Promise<number> {
  const providers = await listProviders(gateway)
  // Only a lab is reached by plain http, so a provider of that name that is real is never taken.
  const old = providers.find(
    ({ metadata, config }) =>
      metadata?.name === DEMO_PROVIDER && config.VERTEX_BASE_URL?.startsWith('http://') === true,
  )
  if (old === undefined) return providers.length
  const route = await findRoute(gateway, AGENT_ROUTE)
  if (route?.providerName === DEMO_PROVIDER) {
    await gateway.call(gateway.inference.deleteInferenceRoute, {
      routeName: AGENT_ROUTE,
      workspace: WORKSPACE,
    })
  }
  await gateway.call(gateway.openshell.deleteProvider, {
    name: DEMO_PROVIDER,
    workspace: WORKSPACE,
  })
  return providers.length - 1
}

/** The same two calls that a person makes. */
async function addDemoProvider(
  gateway: Gateway,
  lab: { readonly baseUrl: string; readonly serviceAccountKey: Secret },
): Promise<void> {
  await gateway.call(
    gateway.openshell.createProvider,
    {
      provider: {
        metadata: { name: DEMO_PROVIDER, workspace: WORKSPACE },
        type: 'google-vertex-ai',
        credentials: { GOOGLE_SERVICE_ACCOUNT_JSON: lab.serviceAccountKey.reveal() },
        config: { VERTEX_BASE_URL: lab.baseUrl },
      },
      workspace: WORKSPACE,
    },
    { timeoutMs: MINT_TIMEOUT_MS },
  )
  await gateway.call(gateway.inference.setInferenceRoute, {
    providerName: DEMO_PROVIDER,
    modelId: DEMO_MODEL,
    routeName: AGENT_ROUTE,
    workspace: WORKSPACE,
  })
}

function printWelcome(
  terminal: Terminal,
  facts: {
    readonly gatewayUrl: string
    readonly routerUrl: string
    /** null without a route. */
    readonly modelId: string | null
    readonly isOwn: boolean
  },
): void {
  const { gatewayUrl, routerUrl, modelId, isOwn } = facts
  // In a clone there is no `openshell` on the path.
  const isClone = terminal.env.npm_lifecycle_event !== undefined
  const program = isClone ? 'npm run -s openshell --' : 'openshell'
  const isUsual = gatewayUrl === `http://${START_DEFAULTS.listen}`
  const openshell = isUsual ? program : `${program} --gateway-endpoint ${gatewayUrl}`
  const path = modelId?.includes('claude') === true ? '/v1/messages' : '/v1/chat/completions'
  const body = '{"model":"any","max_tokens":64,"messages":[{"role":"user","content":"hi"}]}'
  const request = `curl ${routerUrl}${path} -H 'content-type: application/json' -d '${body}'`
  const lines = [
    `Gateway at ${gatewayUrl}, router at ${routerUrl}`,
    isOwn
      ? 'Your own providers serve; there is nothing for the lab to do'
      : 'No provider of your own yet: "demo" is a pretend Vertex AI with tokens of one minute',
    '',
    modelId === null ? 'There is no route yet; set one as below' : `Send a request:\n  ${request}`,
    `Watch tokens turn over:\n  ${openshell} provider refresh status --watch`,
    'Use your own key:',
    `  ${openshell} provider add --type vertex --name my-vertex --credential-file GOOGLE_SERVICE_ACCOUNT_JSON=sa.json --config VERTEX_BASE_URL=https://us-east1-aiplatform.googleapis.com/v1/projects/P/locations/us-east1`,
    `  ${openshell} inference set --provider my-vertex --model ${DEMO_MODEL}`,
    '',
    'Ctrl-C stops everything',
  ]
  for (const line of lines) printLine(terminal, line)
}

async function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  signal.addEventListener('abort', () => resolve(), { once: true })
  if (signal.aborted) resolve()
  return promise
}
