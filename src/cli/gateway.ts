import path from 'node:path'
import type { Command } from 'commander'
import { parseAllowedEndpoint } from '../core/endpoint.ts'
import { Secret } from '../core/secret.ts'
import { type Context, define, defineGroup, flag, repeatedFlag } from './command.ts'
import { stateDirectory } from './settings.ts'
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

interface StartOptions {
  readonly listen: string
  readonly store?: string
  readonly stateDir?: string
  readonly masterKeyFile?: string
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
}

function declareStart(command: Command, context: Context): void {
  define(command, {
    sentence:
      'Start the gateway; on a new machine it makes its database, master key and admin token.',
    example:
      'openshell gateway start --listen 127.0.0.1:17670 --store sqlite:/var/lib/openshell.db',
    flags: [
      flag('--listen <address>', 'where to listen').default(START_DEFAULTS.listen),
      flag('--store <url>', 'sqlite:PATH or postgres://… (default: a file in the state directory)'),
      flag('--state-dir <dir>', 'database, master key and admin token (default: per user)'),
      flag('--master-key-file <file>', 'key that seals the secrets, 32 bytes in base64'),
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
  const masterKeyText = env.OPENSHELL_MASTER_KEY ?? ''
  const given = {
    listen: formatListen(listen),
    store: readStore(options.store, check),
    stateDir:
      options.stateDir === undefined ? stateDirectory(terminal) : path.resolve(options.stateDir),
    masterKeyFile: options.masterKeyFile ?? null,
    // The flag is the nearer one; a key in the environment may be meant for another gateway.
    masterKey:
      options.masterKeyFile === undefined && masterKeyText !== ''
        ? new Secret(masterKeyText)
        : null,
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

function readStore(text: string | undefined, check: UsageCheck): string | null {
  // A PostgreSQL URL may carry a password, so a wrong one is not repeated.
  if (text !== undefined && !/^(sqlite:.|postgres(ql)?:\/\/.)/.test(text)) {
    check.add('--store takes sqlite:PATH or postgres://…')
  }
  return text ?? null
}

function listOf(text: string | undefined): readonly string[] {
  return (text ?? '')
    .split(',')
    .map(entry => entry.trim())
    .filter(entry => entry !== '')
}
