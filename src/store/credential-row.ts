import type { RawBuilder } from 'kysely'
import type { AccessToken, Credential, Transition } from '../core/credential.ts'
import { AppError } from '../core/errors.ts'
import type { Failure } from '../core/failure.ts'
import type { Secret } from '../core/secret.ts'
import { wholeMs } from './database.ts'
import { grantColumns, readGrant } from './grant.ts'
import { parseJsonArray, parseJsonObject } from './json.ts'
import type { PlaceOf } from './query.ts'
import type { CredentialsTable } from './schema.ts'
import type { Sealer } from './seal.ts'
import { damagedRow } from './trouble.ts'

const FAILURE_CLASSES = ['T', 'H', 'S', 'C', 'P', 'Q', 'X'] as const
const STATES = ['pending', 'valid', 'degraded', 'expired', 'failed', 'disabled'] as const
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
    ...grantColumns(credential, sealer),
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
    spends: credential.spends,
    candidate_spends: credential.candidateSpends,
    candidate_due_at_ms: wholeMs(credential.candidateDueAtMs),
    candidate_failure:
      credential.candidateFailure === null ? null : JSON.stringify(credential.candidateFailure),
    history: JSON.stringify(credential.history),
    claimed_by: credential.claimedBy,
    claimed_until_ms: wholeMs(credential.claimedUntilMs),
    claimed_from: credential.claimedFrom,
  }
}

/** The same columns for a query that is compiled once. */
export function columnPlaces(place: PlaceOf<CredentialRow>) {
  return {
    generation: place('generation'),
    grant_envelope: place('grant_envelope'),
    grant_epoch: place('grant_epoch'),
    token_envelope: place('token_envelope'),
    token_issued_at_ms: place('token_issued_at_ms'),
    token_expires_at_ms: place('token_expires_at_ms'),
    due_at_ms: place('due_at_ms'),
    mandatory_at_ms: place('mandatory_at_ms'),
    last_refresh_at_ms: place('last_refresh_at_ms'),
    last_attempt_at_ms: place('last_attempt_at_ms'),
    last_forced_at_ms: place('last_forced_at_ms'),
    consecutive_failures: place('consecutive_failures'),
    failure: place('failure'),
    failing_since_ms: place('failing_since_ms'),
    is_disabled: place('is_disabled'),
    spends: place('spends'),
    candidate_spends: place('candidate_spends'),
    candidate_due_at_ms: place('candidate_due_at_ms'),
    candidate_failure: place('candidate_failure'),
    history: place('history'),
    claimed_by: place('claimed_by'),
    claimed_until_ms: place('claimed_until_ms'),
    claimed_from: place('claimed_from'),
  } satisfies { readonly [Name in keyof CredentialColumns]: RawBuilder<CredentialColumns[Name]> }
}

/** A credential as it is stored, and whether its token was left out because it cannot be read. */
interface ReadCredential {
  readonly credential: Credential
  readonly isTokenLost: boolean
}

/**
 * Reads a row. What can be had anew does not make it unreadable: a token, a failure or a history that
 * is damaged is left out.
 *
 * @throws AppError `wrong_master_key` for a token that is whole and opens for other gateways: it is not
 * lost.
 */
export function toCredential(row: CredentialRow, sealer: Sealer): ReadCredential {
  const { token_envelope } = row
  const value =
    token_envelope === null
      ? null
      : orNothing(() => sealer.unseal(token_envelope, tokenContext(row.provider_id, row.key)), null)
  const credential = readColumns(row, value, readGrant(row, sealer))
  return { credential, isTokenLost: credential.token === null && token_envelope !== null }
}

/** The credential that a row just written will be read as, without unsealing anything. */
export function storedCredential(
  row: CredentialRow,
  { token, grant }: Pick<Credential, 'token' | 'grant'>,
): Credential {
  return readColumns(row, token?.value ?? null, grant)
}

function readColumns(
  row: CredentialRow,
  tokenValue: Secret | null,
  grant: Credential['grant'],
): Credential {
  const what = nameOf(row)
  return {
    providerId: row.provider_id,
    key: row.key,
    grant,
    version: row.version,
    generation: row.generation,
    token: toToken(row, tokenValue),
    dueAtMs: row.due_at_ms,
    mandatoryAtMs: row.mandatory_at_ms,
    lastRefreshAtMs: row.last_refresh_at_ms,
    lastAttemptAtMs: row.last_attempt_at_ms,
    lastForcedAtMs: row.last_forced_at_ms,
    consecutiveFailures: row.consecutive_failures,
    failure: orNothing(() => parseFailure(row.failure, what), null),
    failingSinceMs: row.failing_since_ms,
    isDisabled: row.is_disabled !== 0,
    spends: row.spends,
    candidateSpends: row.candidate_spends,
    candidateDueAtMs: row.candidate_due_at_ms,
    candidateFailure: orNothing(() => parseFailure(row.candidate_failure, what), null),
    history: orNothing(() => parseHistory(row.history, what), []),
    claimedBy: row.claimed_by,
    claimedUntilMs: row.claimed_until_ms,
    claimedFrom: row.claimed_from,
  }
}

/** What can be had anew does not make a row unreadable. */
export function orNothing<T>(read: () => T, nothing: T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof AppError) || error.code === 'wrong_master_key') throw error
    return nothing
  }
}

/** Where a token belongs; its envelope opens nowhere else. */
export function tokenContext(providerId: string, key: string): string {
  return `token/${providerId}/${key}`
}

function toToken(row: CredentialRow, value: Secret | null): AccessToken | null {
  const { token_issued_at_ms, token_expires_at_ms } = row
  if (value === null || token_issued_at_ms === null || token_expires_at_ms === null) return null
  return { value, issuedAtMs: token_issued_at_ms, expiresAtMs: token_expires_at_ms }
}

function nameOf(row: CredentialRow): string {
  return `credential "${row.key}" of provider ${row.provider_id}`
}

/** Reads a failure; null when there is none. Throws when it is damaged. */
export function parseFailure(text: string | null, what: string): Failure | null {
  if (text === null) return null
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

function parseHistory(text: string, what: string): readonly Transition[] {
  return parseJsonArray(text, what).map(one => {
    const state = STATES.find(name => name === one.state)
    const failureClass = ['' as const, ...FAILURE_CLASSES].find(name => name === one.class)
    const { atMs, code } = one
    if (
      state === undefined ||
      failureClass === undefined ||
      typeof atMs !== 'number' ||
      typeof code !== 'string'
    ) {
      throw damagedRow(what)
    }
    return { atMs, state, class: failureClass, code }
  })
}
