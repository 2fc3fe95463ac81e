import { once } from 'node:events'
import path from 'node:path'
import { parseListen } from '../core/listen.ts'
import type { Secret } from '../core/secret.ts'
import { openStore } from '../store/open.ts'
import {
  createLog,
  realClock,
  realExecute,
  realFetch,
  realFiles,
  realRandom,
} from '../system/real.ts'
import { startGateway } from './gateway.ts'
import { openStateDir } from './state-dir.ts'

/** What `openshell gateway start` was asked for, parsed and complete. */
export interface GatewayOptions {
  /** `HOST:PORT`. */
  readonly listen: string
  /** `sqlite:PATH` or `postgres://…`; null means a file in the state folder. */
  readonly store: string | null
  readonly stateDir: string
  readonly masterKeyFile: string | null
  /** Base64 of 32 bytes, from the environment; null when not given. */
  readonly masterKey: Secret | null
  readonly refreshIntervalMs: number
  /** `HOST` or `HOST:PORT` each. */
  readonly allowEndpoints: readonly string[]
  readonly subjectTokenDirs: readonly string[]
  /** Whether a configuration may name a program that brings a subject token. */
  readonly mayExecute: boolean
  readonly isAuthRequired: boolean
  readonly logFormat: 'json' | 'pretty'
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error'
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
  }
  const state = await openStateDir(options.stateDir, { ...options, random: realRandom })
  const location = options.store ?? `sqlite:${path.join(state.path, 'gateway.db')}`
  const store = await openStore({ ...outside, masterKey: state.masterKey }, location)
  try {
    const gateway = await startGateway(
      { ...outside, store },
      {
        listen: parseListen(options.listen),
        adminToken: state.adminToken,
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
    await store.close()
  }
  log.info('gateway.stopped')
  return 0
}
