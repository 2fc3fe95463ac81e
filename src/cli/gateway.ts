import path from 'node:path'
import type { Command } from 'commander'
import { parseAllowedEndpoint } from '../core/endpoint.ts'
import { type Context, define, defineGroup, flag, repeatedFlag } from './command.ts'
import { declareRekey } from './gateway-rekey.ts'
import { readStorePlace, type StorePlaceFlags, storePlaceFlags } from './store-place.ts'
import { logFormatFor, type Terminal } from './terminal.ts'
import { readTracing } from './tracing.ts'
import { formatListen, isLoopbackListen, UsageCheck } from './usage.ts'

const REFRESH_INTERVAL_LIMITS = { minMs: 1_000, maxMs: 86_400_000 }
const SUBJECT_TOKEN_DIR_DEFAULT = '/var/run/secrets'

/** What `gateway start` says when nothing is said. */
export const START_DEFAULTS = {
  listen: '127.0.0.1:17670',
  refreshInterval: '10m',
  auth: true,
  logLevel: 'info',
} as const

interface StartOptions extends StorePlaceFlags {
  readonly listen: string
  readonly adminTokenFile?: string
  readonly refreshInterval: string
  readonly allowEndpoint?: readonly string[]
  readonly subjectTokenDir?: readonly string[]
  readonly auth: boolean
  readonly logFormat?: string
  readonly logLevel: string
  readonly auditLog?: string
}

/** `openshell gateway`: the program that keeps the keys. */
export function declareGateway(group: Command, context: Context): void {
  defineGroup(group, 'Run the gateway, which keeps the keys and refreshes the tokens.')
  declareStart(group.command('start'), context)
  declareRekey(group.command('rekey'), context)
}

function declareStart(command: Command, context: Context): void {
  define(command, {
    sentence:
      'Start the gateway; on a new machine it makes its database, master key and admin token.',
    example:
      'openshell gateway start --listen 127.0.0.1:17670 --store sqlite:/var/lib/openshell.db',
    flags: [
      flag('--listen <address>', 'where to listen').default(START_DEFAULTS.listen),
      ...storePlaceFlags(),
      flag('--admin-token-file <file>', 'token of administrators, the same for all replicas'),
      flag('--refresh-interval <span>', 'safety sweep over all credentials').default(
        START_DEFAULTS.refreshInterval,
      ),
      repeatedFlag('--allow-endpoint <host[:port]>', 'a host beyond the vendors’ own'),
      repeatedFlag('--subject-token-dir <dir>', 'where configured token files may lie'),
      flag('--no-auth', 'let every local program in; for loopback only'),
      flag('--log-format <format>', 'json or pretty (default: pretty on a terminal)'),
      flag('--log-level <level>', 'debug, info, warn or error').default(START_DEFAULTS.logLevel),
      flag('--audit-log <file>', 'append audit lines to a file instead of the log'),
    ],
    run: async () => {
      const { terminal, version } = context
      const options = readStartOptions(command.opts<StartOptions>(), terminal)
      const { runGateway } = await import('../gateway/main.ts')
      context.exitWith(await runGateway({ ...options, version }, terminal.stopSignal()))
    },
  })
}

/**
 * Turns flags and the environment into what the gateway is started with.
 *
 * @throws AppError `invalid_usage` with everything that is wrong.
 */
export function readStartOptions(options: StartOptions, terminal: Terminal) {
  const { env } = terminal
  const check = new UsageCheck()
  const listen = check.listenAddress('--listen', options.listen)
  if (!options.auth && !isLoopbackListen(listen)) {
    check.add(`--no-auth is for loopback only, and --listen says ${formatListen(listen)}`)
  }
  const allowEndpoints = [
    ...(options.allowEndpoint ?? []),
    ...listOf(env.OPENSHELL_ALLOW_ENDPOINTS),
  ]
  const subjectTokenDirs = [
    ...(options.subjectTokenDir ?? []),
    ...listOf(env.OPENSHELL_SUBJECT_TOKEN_DIRS),
  ]
  const given = {
    listen: formatListen(listen),
    ...readStorePlace(options, terminal, check),
    adminTokenFile: options.adminTokenFile ?? null,
    refreshIntervalMs: check.durationMs(
      '--refresh-interval',
      options.refreshInterval,
      REFRESH_INTERVAL_LIMITS,
    ),
    allowEndpoints: allowEndpoints.map(text => check.attempt(() => parseAllowedEndpoint(text), '')),
    subjectTokenDirs:
      subjectTokenDirs.length === 0 ? [SUBJECT_TOKEN_DIR_DEFAULT] : subjectTokenDirs,
    // The name that Google's own libraries ask for.
    mayExecute: env.GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES === '1',
    isAuthRequired: options.auth,
    logFormat: check.oneOf('--log-format', options.logFormat ?? logFormatFor(terminal), [
      'json',
      'pretty',
    ]),
    logLevel: check.oneOf('--log-level', options.logLevel, ['info', 'debug', 'warn', 'error']),
    auditLog: options.auditLog === undefined ? null : path.resolve(options.auditLog),
    tracing: check.attempt(() => readTracing(env, 'openshell-gateway'), null),
  } as const
  check.finish()
  return given
}

function listOf(text: string | undefined): readonly string[] {
  return (text ?? '')
    .split(',')
    .map(entry => entry.trim())
    .filter(entry => entry !== '')
}
