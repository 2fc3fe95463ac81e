import type { Failure } from '../core/failure.ts'
import { Secret } from '../core/secret.ts'
import { answeredAtMs } from './instant.ts'
import {
  breachFailure,
  type OAuthError,
  parseRetryAfterMs,
  refusalFailure,
  serverTroubleFailure,
  throttledFailure,
} from './refusal.ts'
import type { Minted, RefusalRule, Refused, TokenAnswer } from './token-request.ts'

const TOKEN_CHARS_MAX = 65_536

/** What a broken server writes where it had no token. */
const NO_TOKENS: readonly unknown[] = ['', 'undefined', 'null']

/** The longest life that any known source gives (28 h, Entra with continuous access evaluation). */
const LIFETIME_MS_MAX = 100_800_000

/** What a vendor's OAuth answers mean. */
export interface AnswerRules {
  readonly refusals: readonly RefusalRule[]
  /** The life of a token whose answer names none (RFC 6749 §5.1 only recommends `expires_in`). */
  readonly fallbackLifetimeMs: number
  /** The credential key that a new refresh token in an answer replaces; null when none can. */
  readonly rotates: string | null
}

/** The members of an answer that is a JSON object. */
export type Fields = Readonly<Record<string, unknown>>

/**
 * Judges a token endpoint's answer (RFC 6749 §5.1, §5.2): status, content and each field. Nothing
 * but a complete token with a life of its own passes.
 */
export function processTokenAnswer(
  rules: AnswerRules,
  answer: TokenAnswer,
  nowMs: number,
): Minted | Refused {
  const { status } = answer
  if (status >= 300 && status < 400) {
    return failed(
      breachFailure('oauth_redirected', `Token endpoint answered ${status}, a redirect`),
    )
  }
  const retryAfter = answer.headers.get('retry-after')
  if (status === 429 || (status >= 400 && retryAfter !== undefined)) {
    return failed(
      throttledFailure(status, parseRetryAfterMs(retryAfter, answeredAtMs(answer, nowMs))),
    )
  }
  if (status === 408 || status >= 500) return failed(serverTroubleFailure(status))
  const fields = parseFields(answer.body)
  const refusal = fields === null ? null : oauthError(fields)
  if (refusal !== null) {
    return failed(refusalFailure(refusal, { status, rules: rules.refusals, sent: answer.sent }))
  }
  if (status !== 200 || fields === null || isErrorMember(fields.error)) {
    const shape = answer.body === null ? 'more than 1 MiB' : 'no JSON object'
    const said = fields === null ? shape : 'an error of unknown form'
    return failed(
      breachFailure(
        'oauth_unrecognized_error_response',
        `Token endpoint answered ${status} with ${said}`,
      ),
    )
  }
  return processTokenFields(rules, fields)
}

function processTokenFields(rules: AnswerRules, fields: Fields): Minted | Refused {
  const token = fields.access_token
  if (typeof token !== 'string' || NO_TOKENS.includes(token)) {
    return failed(
      breachFailure('oauth_empty_access_token', 'Token endpoint answered without a token'),
    )
  }
  if (token.length > TOKEN_CHARS_MAX || !/^[\x21-\x7e]+$/.test(token)) {
    return failed(
      breachFailure(
        'oauth_invalid_success_response',
        'Token endpoint answered with an unusable token',
      ),
    )
  }
  const type = fields.token_type ?? 'Bearer'
  if (typeof type !== 'string' || type.toLowerCase() !== 'bearer') {
    return failed(
      breachFailure(
        'oauth_invalid_success_response',
        'Token endpoint answered with a token_type other than Bearer',
      ),
    )
  }
  const lifetimeMs =
    fields.expires_in === undefined ? rules.fallbackLifetimeMs : parseSecondsMs(fields.expires_in)
  if (lifetimeMs === null || lifetimeMs <= 0) {
    return failed(
      breachFailure(
        'oauth_invalid_success_response',
        'Token endpoint answered with an unusable expires_in',
      ),
    )
  }
  return {
    kind: 'minted',
    token: new Secret(token),
    lifetimeMs: Math.min(lifetimeMs, LIFETIME_MS_MAX),
    refreshInMs: parseSecondsMs(fields.refresh_in),
    rotated: rotatedOf(rules, fields.refresh_token),
  }
}

function rotatedOf({ rotates }: AnswerRules, refreshToken: unknown): ReadonlyMap<string, Secret> {
  const isGiven = typeof refreshToken === 'string' && refreshToken !== ''
  return new Map(rotates !== null && isGiven ? [[rotates, new Secret(refreshToken)]] : [])
}

/**
 * A number of seconds as servers write it: a finite number, or a string of digits. What JavaScript
 * would merely coerce (`""`, `true`, `[1]`, `"1e3"`) is none: null.
 */
function parseSecondsMs(value: unknown): number | null {
  if (typeof value === 'string') return /^\d{1,10}$/.test(value) ? Number(value) * 1_000 : null
  if (typeof value !== 'number' || Number.isNaN(value)) return null
  return Math.floor(Math.min(value, LIFETIME_MS_MAX / 1_000)) * 1_000
}

/** Parses a JSON object; null when the bytes are none. The decoder takes a byte order mark away. */
export function parseFields(body: Uint8Array | null): Fields | null {
  if (body === null) return null
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(body))
    return isFields(value) ? value : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** An OAuth error may come with any status, 200 included; it is never a token. */
function oauthError(fields: Fields): OAuthError | null {
  if (typeof fields.error !== 'string' || !isErrorMember(fields.error)) return null
  const text = (value: unknown) => (typeof value === 'string' ? value : '')
  return {
    error: fields.error,
    description: text(fields.error_description),
    subtype: text(fields.error_subtype),
  }
}

/** Some servers send an empty error beside a good token. */
function isErrorMember(error: unknown): boolean {
  return error !== undefined && error !== null && error !== ''
}

function failed(failure: Failure): Refused {
  return { kind: 'failed', failure }
}
