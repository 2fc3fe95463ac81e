import type { Command } from 'commander'
import { parseAllowedEndpoint } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { Log } from '../system/log.ts'
import { stopYoungGeneration } from '../system/young-generation.ts'
import { type Context, define, flag, repeatedFlag } from './command.ts'
import { explainRefusal, type GatewaySettings, readSettings, secretFile } from './settings.ts'
import type { Terminal } from './terminal.ts'
import { readTracing } from './tracing.ts'
import { formatListen, UsageCheck } from './usage.ts'

const POLL_SECONDS_DEFAULT = 30
const POLL_SECONDS_MAX = 3_600
const LISTEN_DEFAULT = '127.0.0.1:0'

interface RouterOptions {
  readonly name?: string
  readonly allow?: readonly string[]
  readonly traceUpstream: boolean
}

interface ServeOptions extends RouterOptions {
  readonly listen: string
  readonly sandboxTokenFile?: string
  readonly output: string
}

/** `openshell sandbox run`: the agent beside its router. */
export function declareRun(command: Command, context: Context): void {
  const { terminal } = context
  define(command.passThroughOptions(), {
    sentence: 'Run a command with https://inference.local, and without a credential.',
    example: 'openshell sandbox run -- claude -p "Say hi"',
    flags: routerFlags(),
    run: async () => {
      const settings = readSettings(command, terminal)
      const options = routerOptions(command, { terminal, settings, listen: LISTEN_DEFAULT })
      // The terminal belongs to the command; only what ends its service may write there.
      const log = await terminal.openLog(settings.isVerbose ? 'debug' : 'error')
      stopYoungGeneration()
      const { runSandbox } = await import('../sandbox/main.ts')
      const tracing = routerTracing(command, terminal, log)
      const code = runSandbox({ ...options, log, tracing, command: command.args })
      context.exitWith(await explained(code, settings))
    },
  })
}

/** `openshell sandbox serve`: the router alone, for containers. */
export function declareServe(command: Command, context: Context): void {
  const { terminal } = context
  define(command, {
    sentence: 'Run the router of a sandbox without a command, until it is stopped.',
    example: 'openshell sandbox serve --listen 127.0.0.1:8080 -o json',
    flags: [
      flag('--listen <address>', 'where to listen; port 0 is any free one').default(LISTEN_DEFAULT),
      flag('--sandbox-token-file <file>', 'its token, from "openshell sandbox token"'),
      ...routerFlags(),
      flag('-o, --output <format>', 'text, or json for one line').default('text'),
    ],
    run: async () => {
      const given = command.opts<ServeOptions>()
      const settings = readSettings(command, terminal)
      const check = new UsageCheck()
      const listen = formatListen(check.listenAddress('--listen', given.listen))
      const output = check.oneOf('-o', given.output, ['text', 'json'])
      check.finish()
      const sandboxToken = sandboxTokenSource(given.sandboxTokenFile, terminal)
      const options = routerOptions(command, { terminal, settings, listen })
      const log = await terminal.openLog(settings.isVerbose ? 'debug' : 'info')
      stopYoungGeneration()
      const { serveSandbox } = await import('../sandbox/main.ts')
      const code = serveSandbox({
        ...{ ...options, log, output, sandboxToken },
        tracing: routerTracing(command, terminal, log),
        stop: terminal.stopSignal(),
      })
      context.exitWith(await explained(code, settings))
    },
  })
}

function routerFlags() {
  return [
    flag('--name <name>', 'the sandbox to be (default: one for this run alone)'),
    repeatedFlag('--allow <host[:port]>', 'a host that may be reached besides inference.local'),
    flag('--trace-upstream', 'pass the traceparent of traced requests on to vendors').default(
      false,
    ),
  ]
}

function routerOptions(
  command: Command,
  given: {
    readonly terminal: Terminal
    readonly settings: GatewaySettings
    readonly listen: string
  },
) {
  const { terminal, settings, listen } = given
  const { name, allow = [] } = command.opts<RouterOptions>()
  const check = new UsageCheck()
  for (const entry of allow) check.attempt(() => parseAllowedEndpoint(entry), '')
  check.finish()
  return {
    gatewayEndpoint: settings.endpoints.join(','),
    adminToken: settings.token,
    workspace: settings.workspace,
    name: name ?? null,
    allow,
    listen,
    pollIntervalMs: pollSeconds(terminal) * 1_000,
    environment: { ...terminal.env },
  }
}

/**
 * Where the router's traces go. The variables may be there for the agent's own telemetry, so that what
 * the router cannot use of them stops nobody.
 */
function routerTracing(command: Command, { env }: Terminal, log: Log) {
  const isPassedUpstream = command.opts<RouterOptions>().traceUpstream
  try {
    return { collector: readTracing(env, 'openshell-router'), isPassedUpstream }
  } catch (error) {
    if (!(error instanceof AppError)) throw error
    log.warn('traces.unusable', { message: error.message })
    return { collector: null, isPassedUpstream }
  }
}

/** OpenShell's own variable; like there, what is no interval means the default. */
function pollSeconds(terminal: Terminal): number {
  const seconds = Number(terminal.env.OPENSHELL_ROUTE_REFRESH_INTERVAL_SECS)
  return seconds >= 1 && seconds <= POLL_SECONDS_MAX ? seconds : POLL_SECONDS_DEFAULT
}

function sandboxTokenSource(file: string | undefined, terminal: Terminal): () => Secret | null {
  const path = file ?? terminal.env.OPENSHELL_SANDBOX_TOKEN_FILE ?? ''
  if (path !== '') return secretFile(path, 'the sandbox token file')
  const direct = new Secret((terminal.env.OPENSHELL_SANDBOX_TOKEN ?? '').trim())
  return () => (direct.isEmpty ? null : direct)
}

async function explained(code: Promise<number>, settings: GatewaySettings): Promise<number> {
  try {
    return await code
  } catch (error) {
    throw explainRefusal(error, settings)
  }
}
