import { once } from 'node:events'
import { appendFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { AppError } from '../core/errors.ts'
import { parseListen } from '../core/listen.ts'
import type { Secret } from '../core/secret.ts'
import { openStore } from '../store/open.ts'
import { parsePostgresUrl } from '../store/postgres-url.ts'
import type { Store } from '../store/store.ts'
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
import { createDatabaseClock } from './database-clock.ts'
import { startGateway } from './gateway.ts'
import { keepPresence } from './presence.ts'
import { openStateDir, type StateDir } from './state-dir.ts'

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
  const isShared = options.store !== null && /^postgres/.test(options.store)
  const clock = createDatabaseClock(realClock, () => store.readClock())
  const outside = {
    clock: isShared ? clock : realClock,
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
  const store: Store = await openStore(
    { ...outside, masterKey: state.readMasterKeys, gather: realTurn },
    location,
  ).catch((error: unknown) => {
    throw foreignDatabase(error, state)
  })
  const gatewayId = nameOf(state, { ...options, isShared })
  const tracing = startTracing(outside, options.tracing)
  const leaving = new AbortController()
  const timekeeping = isShared ? clock.run(log, leaving.signal) : Promise.resolve()
  const presence = keepPresence({ ...outside, store }, gatewayId, leaving.signal)
  try {
    if (isShared) await clock.sample()
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
    log.info('gateway.started', {
      ...{ origin: gateway.origin, version: options.version, stateDir: state.path },
      ...{ store: shownLocation(location), isAuthRequired: options.isAuthRequired },
      ...{ refreshIntervalMs: options.refreshIntervalMs, allowEndpoints: options.allowEndpoints },
      ...{ subjectTokenDirs: options.subjectTokenDirs, auditLog: options.auditLog },
    })
    options.onReady?.(gateway.origin)
    if (!stop.aborted) await once(stop, 'abort')
    log.info('gateway.stopping')
    await gateway.close()
  } finally {
    leaving.abort()
    await Promise.all([presence, timekeeping])
    await Promise.all([store.close(), tracing.stop()])
  }
  log.info('gateway.stopped')
  return 0
}

/**
 * A new folder and a database that others have sealed: the key that was made for the folder is taken away
 * again, so that theirs can take its place.
 */
function foreignDatabase(error: unknown, { path: folder, newKeyFile }: StateDir): unknown {
  if (!(error instanceof AppError && error.code === 'wrong_master_key')) return error
  if (newKeyFile === null) return error
  rmSync(newKeyFile)
  const message = `${error.message}; "${folder}" is new and holds no key of those that sealed the database`
  return new AppError('wrong_master_key', message, {
    hint: 'Copy master.key and admin.token from the state folder of a gateway that uses it, or name them with --master-key-file and --admin-token-file',
    cause: error,
  })
}

/**
 * Names this gateway in the store. A file has one machine, where of two gateways that share a state folder
 * only one has the address: started again, it may take up at once what it was at when it was killed. On a
 * server there may be any number with a copied folder and the same address, so each start has a name of
 * its own, and what it was at is another's when its claims run out.
 */
function nameOf(
  { gatewayId }: StateDir,
  { listen, isShared }: { readonly listen: string; readonly isShared: boolean },
): string {
  const place = `${gatewayId} ${listen}`
  return isShared ? `${place} ${Buffer.from(realRandom.bytes(6)).toString('hex')}` : place
}

/** Where the store is, without a password. */
function shownLocation(location: string): string {
  return location.startsWith('sqlite:') ? location : parsePostgresUrl(new URL(location)).shown
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
