import type { AccessToken, Credential } from '../core/credential.ts'
import type { Failure } from '../core/failure.ts'
import { wholeMs } from './database.ts'
import { parseJsonObject } from './json.ts'
import type { CredentialsTable } from './schema.ts'
import type { Sealer } from './seal.ts'
import { damagedRow } from './trouble.ts'

const FAILURE_CLASSES = ['T', 'H', 'S', 'C', 'P', 'Q', 'X'] as const
const RECOVERY_ACTIONS = ['retry', 'reauthorize', 'fix_configuration', 'investigate'] as const

/** What is written of a credential besides its key and version. */
type CredentialColumns = Omit<
  CredentialsTable,
  'provider_id' | 'key' | 'version' | 'claimable_at_ms'
>

/** A row as it is read. */
export type CredentialRow = CredentialColumns & {
  readonly provider_id: string
  readonly key: string
  readonly version: number
}

/** The columns of a credential, its token sealed for its place. */
export function toColumns(credential: Credential, sealer: Sealer): CredentialColumns {
  const { token, dueAtMs } = credential
  const place = tokenContext(credential.providerId, credential.key)
  return {
    generation: credential.generation,
    token_envelope: token === null ? null : sealer.seal(token.value, place),
    token_issued_at_ms: token === null ? null : wholeMs(token.issuedAtMs),
    token_expires_at_ms: token === null ? null : wholeMs(token.expiresAtMs),
    due_at_ms: dueAtMs === null ? null : wholeMs(dueAtMs),
    mandatory_at_ms: wholeMs(credential.mandatoryAtMs),
    last_refresh_at_ms: wholeMs(credential.lastRefreshAtMs),
    last_attempt_at_ms: wholeMs(credential.lastAttemptAtMs),
    last_forced_at_ms: wholeMs(credential.lastForcedAtMs),
    consecutive_failures: credential.consecutiveFailures,
    failure: credential.failure === null ? null : JSON.stringify(credential.failure),
    failing_since_ms: wholeMs(credential.failingSinceMs),
    is_disabled: credential.isDisabled ? 1 : 0,
    claimed_by: credential.claimedBy,
    claimed_until_ms: wholeMs(credential.claimedUntilMs),
  }
}

/**
 * A credential as it is stored.
 *
 * @throws AppError `store_unavailable` or `wrong_master_key` when the row cannot be read.
 */
export function toCredential(row: CredentialRow, sealer: Sealer): Credential {
  return {
    providerId: row.provider_id,
    key: row.key,
    version: row.version,
    generation: row.generation,
    token: toToken(row, sealer),
    dueAtMs: row.due_at_ms,
    mandatoryAtMs: row.mandatory_at_ms,
    lastRefreshAtMs: row.last_refresh_at_ms,
    lastAttemptAtMs: row.last_attempt_at_ms,
    lastForcedAtMs: row.last_forced_at_ms,
    consecutiveFailures: row.consecutive_failures,
    failure: row.failure === null ? null : parseFailure(row.failure, nameOf(row)),
    failingSinceMs: row.failing_since_ms,
    isDisabled: row.is_disabled !== 0,
    claimedBy: row.claimed_by,
    claimedUntilMs: row.claimed_until_ms,
  }
}

/** Where a token belongs; its envelope opens nowhere else. */
function tokenContext(providerId: string, key: string): string {
  return `token/${providerId}/${key}`
}

function toToken(row: CredentialRow, sealer: Sealer): AccessToken | null {
  const { token_envelope, token_issued_at_ms, token_expires_at_ms } = row
  if (token_envelope === null) return null
  if (token_issued_at_ms === null || token_expires_at_ms === null) throw damagedRow(nameOf(row))
  return {
    value: sealer.unseal(token_envelope, tokenContext(row.provider_id, row.key)),
    issuedAtMs: token_issued_at_ms,
    expiresAtMs: token_expires_at_ms,
  }
}

function nameOf(row: CredentialRow): string {
  return `credential "${row.key}" of provider ${row.provider_id}`
}

function parseFailure(text: string, what: string): Failure {
  const value = parseJsonObject(text, what)
  const failureClass = FAILURE_CLASSES.find(one => one === value.class)
  const recoveryAction = RECOVERY_ACTIONS.find(one => one === value.recoveryAction)
  const { code, message, advice, retryAfterMs } = value
  if (
    failureClass === undefined ||
    recoveryAction === undefined ||
    typeof code !== 'string' ||
    typeof message !== 'string' ||
    typeof advice !== 'string' ||
    typeof retryAfterMs !== 'number'
  ) {
    throw damagedRow(what)
  }
  return { class: failureClass, code, message, advice, recoveryAction, retryAfterMs }
}
