import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import type { Command } from 'commander'
import { isLoopback } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import type { Terminal } from './terminal.ts'
import { UsageCheck } from './usage.ts'

const ENDPOINT_DEFAULT = 'http://127.0.0.1:17670'

/** How to reach the gateway, and as whom. */
export interface GatewaySettings {
  readonly endpoint: URL
  /** All that share the work, `endpoint` first. */
  readonly endpoints: readonly [URL, ...URL[]]
  /** Read at each call: a gateway that is started later makes its token then. */
  readonly token: () => Secret | null
  /** Where the token was looked for, for a hint. */
  readonly tokenPlace: string
  readonly workspace: string
  readonly isVerbose: boolean
}

/** The flags that every command takes, as commander stores them. */
interface GlobalOptions {
  readonly gatewayEndpoint?: string
  readonly tokenFile?: string
  readonly workspace?: string
  readonly verbose?: boolean
}

/** Adds the flags that every command takes, before the command's name or behind it. */
export function addGlobalOptions(command: Command): Command {
  return command
    .option('--gateway-endpoint <url>', `gateway, or several: A,B (${ENDPOINT_DEFAULT})`)
    .option('--token-file <file>', 'file with the admin token')
    .option('--workspace <name>', 'workspace (default: default)')
    .option('-v, --verbose', 'say on standard error what is done')
}

/**
 * The settings of a command: flags first, then the environment, then the defaults.
 *
 * @throws AppError `invalid_usage` for a wrong address or a token file that cannot be read.
 */
export function readSettings(command: Command, terminal: Terminal): GatewaySettings {
  const options = globalOptions(command)
  const check = new UsageCheck()
  const [first = ENDPOINT_DEFAULT, ...others] = (
    options.gatewayEndpoint ??
    (terminal.env.OPENSHELL_GATEWAY_ENDPOINT || ENDPOINT_DEFAULT)
  ).split(',')
  const read = (text: string): URL => check.serverUrl('--gateway-endpoint', text.trim())
  const endpoint = read(first)
  const endpoints: GatewaySettings['endpoints'] = [endpoint, ...others.map(read)]
  check.finish()
  return {
    endpoint,
    endpoints,
    ...tokenSource(options.tokenFile ?? terminal.env.OPENSHELL_TOKEN_FILE ?? '', terminal),
    workspace: options.workspace ?? (terminal.env.OPENSHELL_WORKSPACE || 'default'),
    isVerbose: options.verbose === true,
  }
}

/** Whether a bearer token sent to the endpoint could be read on its way. */
export function isExposed(settings: GatewaySettings): boolean {
  const { endpoints, token } = settings
  const isPlain = endpoints.some(one => one.protocol === 'http:' && !isLoopback(one.hostname))
  return isPlain && token() !== null
}

/**
 * A file with a secret that may be replaced while the program runs; it is read at each call.
 *
 * @throws AppError `invalid_usage` when it cannot be read now.
 */
export function secretFile(file: string, label: string): () => Secret | null {
  if (readSecretFile(file) === null) {
    throw new AppError('invalid_usage', `Cannot read ${label} "${file}"`)
  }
  return () => readSecretFile(file)
}

/** Adds to a refused call where its token came from, which only this side knows. */
export function explainRefusal(error: unknown, settings: GatewaySettings): unknown {
  if (!(error instanceof AppError) || error.code !== 'unauthenticated' || error.hint !== '') {
    return error
  }
  const { token, tokenPlace } = settings
  const place =
    token() === null ? `There is no token at ${tokenPlace}` : `The token came from ${tokenPlace}`
  const hint = `${place}; give the admin token with --token-file or OPENSHELL_GATEWAY_TOKEN`
  return new AppError(error.code, error.message, { hint, cause: error })
}

/** `$OPENSHELL_STATE_DIR`, else `$XDG_STATE_HOME/openshell`, else `~/.local/state/openshell`. */
export function stateDirectory(terminal: Terminal): string {
  const { OPENSHELL_STATE_DIR, XDG_STATE_HOME, HOME } = terminal.env
  if (OPENSHELL_STATE_DIR) return path.resolve(OPENSHELL_STATE_DIR)
  if (XDG_STATE_HOME) return path.join(XDG_STATE_HOME, 'openshell')
  return path.join(HOME || homedir(), '.local', 'state', 'openshell')
}

/** Where a gateway with that state directory leaves its admin token. */
export function adminTokenFile(stateDir: string): string {
  return path.join(stateDir, 'admin.token')
}

/** Global flags may stand before the command's name or behind it; behind it wins. */
function globalOptions(command: Command): GlobalOptions {
  const outer = command.parent === null ? {} : globalOptions(command.parent)
  return { ...outer, ...command.opts<GlobalOptions>() }
}

function tokenSource(
  file: string,
  terminal: Terminal,
): Pick<GatewaySettings, 'token' | 'tokenPlace'> {
  const direct = new Secret((terminal.env.OPENSHELL_GATEWAY_TOKEN ?? '').trim())
  if (file !== '') return { token: secretFile(file, 'the token file'), tokenPlace: file }
  if (!direct.isEmpty) return { token: () => direct, tokenPlace: 'OPENSHELL_GATEWAY_TOKEN' }
  const usual = adminTokenFile(stateDirectory(terminal))
  return { token: () => readSecretFile(usual), tokenPlace: usual }
}

/** null when there is no such file, or none that may be read. */
function readSecretFile(file: string): Secret | null {
  try {
    return new Secret(readFileSync(file, 'utf8').trim())
  } catch (error) {
    if (error instanceof Error && 'code' in error) return null
    throw error
  }
}
