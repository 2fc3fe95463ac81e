import type { Failure } from '../core/failure.ts'
import { Secret } from '../core/secret.ts'
import { answeredAtMs, parseInstantMs } from '../oauth/instant.ts'
import { TOKEN_REQUEST_DEFAULTS, tokenOf } from '../oauth/mint.ts'
import {
  breachFailure,
  parseRetryAfterMs,
  serverTroubleFailure,
  throttledFailure,
} from '../oauth/refusal.ts'
import { scrub } from '../oauth/scrub.ts'
import { parseFields } from '../oauth/token-answer.ts'
import type {
  Grant,
  JsonValue,
  Minted,
  Refused,
  RequestValue,
  TokenAnswer,
  TokenRequest,
} from '../oauth/token-request.ts'
import { GOOGLE_SCOPE, type GoogleFile } from './google-file.ts'

const HOST = 'iamcredentials.googleapis.com'
const URL_CHARS_MAX = 256
const LIFETIME_SECONDS_MIN = 600
const LIFETIME_SECONDS_MAX = 43_200
const LEAD_MS = 300_000

/** A service account to act as. */
export interface Impersonation {
  readonly url: URL
  readonly lifetimeSeconds: number
  readonly delegates: readonly string[]
}

/**
 * Reads which service account a file wants to act as; null when it names none.
 *
 * @throws AppError `invalid_credential` or `endpoint_forbidden`.
 */
export function readImpersonation(file: GoogleFile): Impersonation | null {
  if (file.raw('service_account_impersonation_url') === undefined) return null
  const url = file.url('service_account_impersonation_url', { host: HOST, fallback: '' })
  const path = /^\/v1\/projects\/-\/serviceAccounts\/[\w.@%-]+:generateAccessToken$/
  if (url.href.length > URL_CHARS_MAX || !path.test(url.pathname) || url.search !== '') {
    throw file.refusal('"service_account_impersonation_url" does not end in :generateAccessToken')
  }
  const delegates = file.raw('delegates') ?? []
  if (!isTexts(delegates)) throw file.refusal('"delegates" is not a list of names')
  return { url, lifetimeSeconds: readLifetime(file), delegates }
}

function readLifetime(file: GoogleFile): number {
  const name = 'token_lifetime_seconds'
  const seconds = file.object('service_account_impersonation')?.raw(name) ?? 3_600
  const isWhole = typeof seconds === 'number' && Number.isInteger(seconds)
  if (isWhole && seconds >= LIFETIME_SECONDS_MIN && seconds <= LIFETIME_SECONDS_MAX) return seconds
  throw file.refusal(
    `"${name}" is not between ${LIFETIME_SECONDS_MIN} and ${LIFETIME_SECONDS_MAX} seconds`,
  )
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(one => typeof one === 'string' && one !== '')
}

/**
 * The grant that turns a source's token into one of the service account. The source is asked anew at
 * each mint; its token is never handed out.
 */
export function impersonatedGrant(source: Grant, impersonation: Impersonation): TokenRequest {
  const members: readonly (readonly [string, RequestValue | JsonValue])[] = [
    ['scope', [GOOGLE_SCOPE]],
    ['lifetime', `${impersonation.lifetimeSeconds}s`],
  ]
  const { delegates } = impersonation
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    url: impersonation.url,
    headers: new Map([['authorization', tokenOf(source, 'Bearer ')]]),
    body: {
      kind: 'json',
      members: new Map(delegates.length === 0 ? members : [...members, ['delegates', delegates]]),
    },
    judge: processImpersonation,
    leadMs: lifetimeMs => Math.min(LEAD_MS, lifetimeMs / 4),
  }
}

function processImpersonation(answer: TokenAnswer, nowMs: number): Minted | Refused {
  const { status } = answer
  const fields = parseFields(answer.body) ?? {}
  const retryAfter = answer.headers.get('retry-after')
  if (status === 429 || (status >= 400 && retryAfter !== undefined)) {
    return failed(
      throttledFailure(status, parseRetryAfterMs(retryAfter, answeredAtMs(answer, nowMs))),
    )
  }
  if (status === 408 || status >= 500) return failed(serverTroubleFailure(status))
  if (status >= 400) return failed(rpcFailure(answer, fields.error))
  const token = fields.accessToken
  const expiresAtMs = parseInstantMs(fields.expireTime)
  const breach = (what: string) =>
    failed(breachFailure('google_impersonation_breach', `The IAM Credentials API answered ${what}`))
  if (status !== 200) return breach(`${status}, which is neither a token nor a refusal`)
  if (typeof token !== 'string' || !/^(?!(?:undefined|null)$)[\x21-\x7e]{1,65536}$/.test(token)) {
    return breach('without a usable accessToken')
  }
  if (expiresAtMs === null) return breach('without a usable expireTime')
  const lifetimeMs = expiresAtMs - answeredAtMs(answer, nowMs)
  if (lifetimeMs <= 0) return breach('with a token that is past its end')
  return {
    kind: 'minted',
    token: new Secret(token),
    lifetimeMs: Math.min(lifetimeMs, LIFETIME_SECONDS_MAX * 1_000),
    refreshInMs: null,
    rotated: new Map(),
  }
}

type Meaning = Pick<Failure, 'class' | 'code' | 'advice' | 'recoveryAction'>

/** google.rpc refusals by HTTP status. */
const MEANINGS: ReadonlyMap<number, Meaning> = new Map<number, Meaning>([
  [
    400,
    {
      class: 'P',
      code: 'google_impersonation_invalid',
      advice:
        'Correct lifetime and delegates: more than 3600 s needs the organisation policy constraints/iam.allowServiceAccountCredentialLifetimeExtension',
      recoveryAction: 'fix_configuration',
    },
  ],
  [
    401,
    {
      class: 'S',
      code: 'google_impersonation_source_refused',
      advice: 'The source credential’s token is not taken: check the source account',
      recoveryAction: 'fix_configuration',
    },
  ],
  [
    403,
    {
      class: 'Q',
      code: 'google_impersonation_denied',
      advice:
        'Give the source identity roles/iam.serviceAccountTokenCreator (a federated identity: roles/iam.workloadIdentityUser) on the service account, and enable iamcredentials.googleapis.com; a new role takes some minutes',
      recoveryAction: 'fix_configuration',
    },
  ],
  [
    404,
    {
      class: 'P',
      code: 'google_impersonation_account_not_found',
      advice: 'The service account in service_account_impersonation_url does not exist',
      recoveryAction: 'fix_configuration',
    },
  ],
])

const UNKNOWN: Meaning = {
  class: 'Q',
  code: 'google_impersonation_refused',
  advice: 'Look at Google’s message; the gateway probes again from time to time',
  recoveryAction: 'investigate',
}

function rpcFailure(answer: TokenAnswer, error: unknown): Failure {
  const fields = new Map(Object.entries(typeof error === 'object' && error !== null ? error : {}))
  const said = [fields.get('status'), fields.get('message')].filter(one => typeof one === 'string')
  const words = said.length === 0 ? 'without words' : scrub(said.join(': '), answer.sent)
  return {
    ...(MEANINGS.get(answer.status) ?? UNKNOWN),
    message: `The IAM Credentials API answered ${answer.status}, ${words}`,
    retryAfterMs: 0,
  }
}

function failed(failure: Failure): Refused {
  return { kind: 'failed', failure }
}
