import { once } from 'node:events'
import { appendFileSync } from 'node:fs'
import path from 'node:path'
import { parseListen } from '../core/listen.ts'
import type { Secret } from '../core/secret.ts'
import { openStore } from '../store/open.ts'
import type { Log } from '../system/log.ts'
import { type OtlpConfig, startTracing } from '../system/otlp.ts'
import {
  createLog,
  realClock,
  realExecute,
  realFetch,
  realFiles,
  realRandom,
  realTurn,
  watchVitals,
} from '../system/real.ts'
import { createAudit } from './audit.ts'
import { startGateway } from './gateway.ts'
import { keepPresence } from './presence.ts'
import { openStateDir } from './state-dir.ts'

/** What `openshell gateway start` was asked for, parsed and complete. */
export interface GatewayOptions {
  /** `HOST:PORT`. */
  readonly listen: string
  /** `sqlite:PATH` or `postgres://…`; null means a file in the state folder. */
  readonly store: string | null
  readonly stateDir: string
  readonly masterKeyFile: string | null
  /** Base64 of 32 bytes, or several of them, from the environment; null when not given. */
  readonly masterKey: Secret | null
  readonly adminTokenFile: string | null
  readonly refreshIntervalMs: number
  /** `HOST` or `HOST:PORT` each. */
  readonly allowEndpoints: readonly string[]
  readonly subjectTokenDirs: readonly string[]
  /** Whether a configuration may name a program that brings a subject token. */
  readonly mayExecute: boolean
  readonly isAuthRequired: boolean
  readonly logFormat: 'json' | 'pretty'
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
  /** Where audit lines are appended; null writes them to the log. */
  readonly auditLog: string | null
  /** Where traces go; null records none. */
  readonly tracing: OtlpConfig | null
  readonly version: string
  /** Called when the port is open. */
  readonly onReady?: (origin: string) => void
}

/**
 * Runs the gateway until the signal aborts; resolves to the exit code when everything in flight has
 * finished.
 *
 * @throws AppError when it cannot start: `state_dir_unusable`, `wrong_master_key`,
 * `store_unavailable`, `port_taken`, `invalid_argument`.
 */
export async function runGateway(options: GatewayOptions, stop: AbortSignal): Promise<number> {
  const log = createLog({
    format: options.logFormat,
    level: options.logLevel,
    write: line => process.stderr.write(line),
  })
  const outside = {
    clock: realClock,
    random: realRandom,
    fetch: realFetch,
    files: realFiles,
    execute: realExecute,
    log,
    audit: createAudit(openAuditLog(options, log)),
    vitals: watchVitals(),
  }
  const state = await openStateDir(options.stateDir, { ...options, random: realRandom })
  const location = options.store ?? `sqlite:${path.join(state.path, 'gateway.db')}`
  const store = await openStore(
    { ...outside, masterKey: state.readMasterKeys, gather: realTurn },
    location,
  )
  // Of two gateways that share a folder only one has the address.
  const gatewayId = `${state.gatewayId} ${options.listen}`
  const tracing = startTracing(outside, options.tracing)
  const leaving = new AbortController()
  const presence = keepPresence({ ...outside, store }, gatewayId, leaving.signal)
  try {
    const gateway = await startGateway(
      { ...outside, store, tracer: tracing.tracer },
      {
        listen: parseListen(options.listen),
        adminToken: state.adminToken,
        gatewayId,
        isAuthRequired: options.isAuthRequired,
        rules: {
          allowList: options.allowEndpoints,
          subjectTokenDirs: options.subjectTokenDirs,
          mayExecute: options.mayExecute,
        },
        sweepMs: options.refreshIntervalMs,
        version: options.version,
      },
    )
    if (!options.isAuthRequired) {
      log.warn('gateway.no_auth', { message: 'Every local program may administer this gateway' })
    }
    log.info('gateway.started', { origin: gateway.origin, stateDir: state.path })
    options.onReady?.(gateway.origin)
    if (!stop.aborted) await once(stop, 'abort')
    log.info('gateway.stopping')
    await gateway.close()
  } finally {
    leaving.abort()
    await presence
    await Promise.all([store.close(), tracing.stop()])
  }
  log.info('gateway.stopped')
  return 0
}

/** A log of its own, so that no `--log-level` silences it. */
function openAuditLog({ logFormat, auditLog }: GatewayOptions, log: Log): Log {
  if (auditLog === null) {
    return createLog({
      format: logFormat,
      level: 'info',
      write: line => process.stderr.write(line),
    })
  }
  const write = (line: string): void => {
    try {
      // Opened for each line, so that the file may be moved away at any time.
      appendFileSync(auditLog, line, { mode: 0o600 })
    } catch (error) {
      // The change is made already; its line must not be lost with the disk.
      log.error('audit.unwritten', { error, line: line.trim() })
    }
  }
  return createLog({ format: 'json', level: 'info', write })
}
