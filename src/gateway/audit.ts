import { AppError } from '../core/errors.ts'
import { unreachable } from '../core/unreachable.ts'
import type { RefreshEvent } from '../refresh/attempt.ts'
import type { Log } from '../system/log.ts'
import type { Principal } from './identity.ts'

/** Longer names than any that is accepted; a refused one is quoted no further. */
const TEXT_CHARS_MAX = 256

/** Everything that leaves an audit line, as noun and verb; the line's event is `audit.` and this. */
export type AuditAction =
  | 'provider.create'
  | 'provider.update'
  | 'provider.delete'
  | 'provider.examine'
  | 'profile.import'
  | 'profile.update'
  | 'profile.delete'
  | 'refresh.configure'
  | 'refresh.rotate'
  | 'refresh.delete'
  | 'route.set'
  | 'route.delete'
  | 'sandbox.create'
  | 'sandbox.delete'
  | 'sandbox_token.create'
  | 'sandbox_provider.attach'
  | 'sandbox_provider.detach'
  | 'config.update'
  | 'workspace.create'
  | 'workspace.delete'
  | 'workspace_member.add'
  | 'workspace_member.remove'
  | 'token.mint'

/**
 * What came of it. `done` · `unchanged`: there was nothing to do · `refused`: the gateway, or the
 * vendor that it asked, said no · `failed`: a fault or an outage · `discarded`: a token that somebody
 * else's change had overtaken.
 */
export type AuditOutcome = 'done' | 'unchanged' | 'refused' | 'failed' | 'discarded'

/** On what, in which version, and why. Never a secret, and of a vendor nothing but its code. */
interface AuditSubject {
  readonly workspace?: string
  readonly provider?: string
  readonly type?: string
  /** Ids, separated by commas. */
  readonly profiles?: string
  /** The key that is refreshed. */
  readonly credential?: string
  readonly route?: string
  readonly model?: string
  readonly sandbox?: string
  readonly member?: string
  readonly setting?: string
  /** The version of the provider or route that was written. */
  readonly version?: number
  /** The token's number. */
  readonly generation?: number
  readonly expiresAt?: string
  /** Why a token was asked for. */
  readonly reason?: string
  /** What became of new material: `kept` beside the standing until it has brought a token. */
  readonly candidate?: string
  /** What came of a mint that only looked whether one can be had. */
  readonly mint?: string
  readonly class?: string
  readonly code?: string
}

/** One change or one mint. */
export interface AuditEntry extends AuditSubject {
  readonly what: AuditAction
  /** `admin`, `sandbox NAME`, `gateway`, or `unknown` for a caller without a valid token. */
  readonly who: string
  readonly outcome: AuditOutcome
}

/** Writes one line. It never throws and is never filtered. */
export type Audit = (entry: AuditEntry) => void

/** The audit over a log of its own, which writes every level. */
export function createAudit(log: Log): Audit {
  return ({ what, ...fields }) => {
    const short = Object.entries(fields).map(([name, value]) => [name, shorten(value)])
    log.info(`audit.${what}`, Object.fromEntries(short))
  }
}

/** How a caller is called in audit lines. */
export function nameOfCaller(caller: Principal): string {
  switch (caller.kind) {
    case 'admin':
      return 'admin'
    case 'sandbox':
      return `sandbox ${caller.sandbox.name}`
    case 'open':
      return 'unknown'
    default:
      return unreachable(caller)
  }
}

/** What an error means to an audit line. */
export function refusalOf(error: unknown): {
  readonly outcome: AuditOutcome
  readonly code: string
} {
  const code = error instanceof AppError ? error.code : 'internal'
  const isOurs = code === 'internal' || code === 'store_unavailable'
  return { outcome: isOurs ? 'failed' : 'refused', code }
}

/** The line of a mint, or of the attempt at one. */
export function mintEntry({ provider, cause, outcome, candidate }: RefreshEvent): AuditEntry {
  const subject = {
    what: 'token.mint',
    who: cause.who,
    reason: cause.reason,
    workspace: provider.workspace,
    provider: provider.name,
    type: provider.type,
    ...(candidate === null ? {} : { candidate }),
  } as const
  switch (outcome.kind) {
    case 'minted': {
      const { generation, token } = outcome.credential
      const expiresAt = token === null ? '' : new Date(token.expiresAtMs).toISOString()
      return { ...subject, outcome: 'done', generation, expiresAt }
    }
    case 'failed': {
      const { class: failureClass, code } = outcome.failure
      return { ...subject, outcome: 'failed', class: failureClass, code }
    }
    case 'discarded':
      return { ...subject, outcome: 'discarded' }
    default:
      return unreachable(outcome)
  }
}

function shorten(value: unknown): unknown {
  return typeof value === 'string' ? value.slice(0, TEXT_CHARS_MAX) : value
}
