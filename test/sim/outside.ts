import { AppError } from '../../src/core/errors.ts'
import { Secret } from '../../src/core/secret.ts'
import type { Identity } from '../../src/gateway/identity.ts'
import type { Log, LogFields } from '../../src/system/log.ts'
import type { Ledger } from './ledger.ts'

/** Tokens are what they say: `admin`, or a sandbox's id. Signing has its own tests. */
export function pretendIdentity({ sandboxes }: Ledger): Identity {
  return {
    issueSandboxToken: async sandbox => new Secret(sandbox.id),
    async authenticate(authorization) {
      const token = (authorization ?? '').replace('Bearer ', '')
      if (token === 'admin') return { kind: 'admin', isLocalDev: false }
      const sandbox = sandboxes.get(token)
      if (sandbox !== undefined) return { kind: 'sandbox', sandbox }
      throw new AppError('not_found', 'The sandbox of this token was deleted')
    },
    forget: () => {},
  }
}

/** A log in which nobody may speak of a programmer's error. */
export function watchfulLog(ledger: Ledger): Log {
  const watch = (event: string, fields: LogFields = {}): void => {
    const { error } = fields
    if (error === undefined || error instanceof AppError) return
    const text = error instanceof Error ? error.stack : String(error)
    ledger.violate('nothing breaks inside', `${event}: ${text}`)
  }
  return { debug: watch, info: watch, warn: watch, error: watch }
}

/** A gateway here reads no file. */
export const noFiles = {
  realPath: () => Promise.reject(new Error('No files here')),
  read: () => Promise.reject(new Error('No files here')),
}

/** A gateway here runs no program. */
export const noPrograms = () => Promise.reject(new Error('No programs here'))

/** Nobody looks at the vitals of a gateway here. */
export const noVitals = {
  residentBytes: () => 0,
  cpuSeconds: () => 0,
  loopDelayP99Seconds: () => 0,
}
