import { plainText } from '../oauth/plain-text.ts'
import { breachFailure, refusalFailure } from '../oauth/refusal.ts'
import {
  type AnswerRules,
  type Fields,
  parseFields,
  processTokenAnswer,
} from '../oauth/token-answer.ts'
import type { Minted, RefusalRule, Refused, TokenAnswer } from '../oauth/token-request.ts'
import { withFields } from './answer-fields.ts'

/** IBM lets no token live longer than an hour, and says how long in the token too. */
const IAM_LIFETIME_MS = 3_600_000

/** For a token that does not say how long it lives: less than the shortest session there is. */
const UNKNOWN_LIFETIME_MS = 300_000

/** A key that was made a moment ago may not be known everywhere yet. */
const NEW_KEY_MS = 60_000

const FIX = { class: 'P', recoveryAction: 'fix_configuration' } as const
const ASK = { class: 'Q', recoveryAction: 'fix_configuration' } as const
const STALE = { class: 'S', recoveryAction: 'investigate' } as const
const WAIT = { class: 'T', recoveryAction: 'retry' } as const

/** The codes of IBM Cloud IAM and of the VPC metadata service. */
const IAM_REFUSALS: readonly RefusalRule[] = [
  rule('BXNIM0415E', {
    ...FIX,
    code: 'ibm_api_key_not_found',
    advice:
      'The API key was deleted, disabled or locked: create a new one at https://cloud.ibm.com/iam/apikeys and update the provider',
  }),
  rule('BXNIM0408E', {
    ...STALE,
    code: 'ibm_subject_token_stale',
    advice: 'The token of the compute resource is too old: check that whatever projects it runs',
  }),
  rule('BXNIM0109E', {
    ...FIX,
    code: 'ibm_property_missing',
    advice:
      'Check that the API key or the trusted profile is configured as the documentation shows',
  }),
  rule('BXNIM0106E', {
    ...FIX,
    code: 'ibm_property_invalid',
    advice: 'Check the API key, IBM_PROFILE_ID and IBM_PROFILE_NAME: IAM cannot read one of them',
  }),
  ...['BXNIM0437E', 'BXNIM0513E'].map(code =>
    rule(code, {
      ...ASK,
      code: 'ibm_profile_refused',
      advice:
        'Check that the trusted profile exists and that its compute-resource condition or link names this workload',
    }),
  ),
  {
    error: null,
    pattern: /\btoken\b.*\bexpired\b|\bexpired\b.*\btoken\b/i,
    ...STALE,
    code: 'ibm_subject_token_stale',
    advice: 'The token of the compute resource is too old: check that whatever projects it runs',
  },
  {
    error: null,
    pattern: null,
    ...ASK,
    code: 'ibm_refused',
    advice:
      'Look the code up in the IBM Cloud IAM documentation, or ask the account’s administrator',
  },
]

/** By `_messageCode_` or status, of Software Hub and of the console of IBM's SaaS on AWS. */
const PLATFORM_REFUSALS: readonly RefusalRule[] = [
  ...['400', '401'].map(code =>
    rule(code, {
      ...FIX,
      code: 'ibm_platform_sign_in_refused',
      advice: 'Check WATSONX_USERNAME and its password or API key by signing in to the web console',
    }),
  ),
  rule('403', {
    ...ASK,
    code: 'ibm_platform_forbidden',
    advice: 'Ask the platform’s administrator to let this user sign in',
  }),
  rule('404', {
    ...FIX,
    code: 'ibm_platform_not_found',
    advice: 'Check that WATSONX_URL names the route of Software Hub, without a path',
  }),
  ...['429', '500', '502', '503', '504'].map(code =>
    rule(code, {
      ...WAIT,
      code: 'ibm_platform_trouble',
      advice: 'Nothing to do, the gateway tries again by itself',
    }),
  ),
  {
    error: null,
    pattern: null,
    ...ASK,
    code: 'ibm_platform_refused',
    advice: 'Look for the message in the documentation of Software Hub',
  },
]

/**
 * Judges an answer of IBM Cloud IAM or of the VPC metadata service. The shorter of `expires_in` and
 * the token's own life counts; the absolute `expiration` is not looked at, since it depends on our
 * clock. `configuredAtMs` is when the key came: within a minute a refusal of it is not final.
 */
export function processIamAnswer(
  answer: TokenAnswer,
  nowMs: number,
  options: { readonly configuredAtMs: number },
): Minted | Refused {
  // Nor is a key new that was made under a clock that was ahead.
  const isNew = Math.abs(nowMs - options.configuredAtMs) < NEW_KEY_MS
  const refusals = isNew ? [NEW_KEY_REFUSAL, ...IAM_REFUSALS] : IAM_REFUSALS
  const fields = parseFields(answer.body)
  const said = fields === null ? null : iamError(fields)
  if (said !== null && isSettled(answer)) return refused(answer, said, refusals)
  const rules = { refusals, fallbackLifetimeMs: IAM_LIFETIME_MS, rotates: null }
  return shorterLife(processTokenAnswer(rules, answer, nowMs))
}

/** Judges a sign-in at Software Hub or at the SaaS console, whose token alone may know its life. */
export function processPlatformAnswer(answer: TokenAnswer, nowMs: number): Minted | Refused {
  const fields = parseFields(answer.body) ?? {}
  const { _messageCode_: code = answer.status >= 400 ? answer.status : 200, message } = fields
  if (isSettled(answer) && plainText(code) !== '200') {
    const description = typeof message === 'string' ? message : ''
    return refused(answer, { error: plainText(code), description }, PLATFORM_REFUSALS)
  }
  const token = fields.token ?? fields.accessToken
  const ownLifetimeMs = typeof token === 'string' ? jwtLifetimeMs(token) : null
  const said = fields.expires_in ?? (ownLifetimeMs ?? UNKNOWN_LIFETIME_MS) / 1_000
  const standard = { access_token: token, expires_in: said }
  return shorterLife(processTokenAnswer(PLATFORM_RULES, withFields(answer, standard), nowMs))
}

/** IBM's own client renews at four fifths of the life. */
export function ibmLeadMs(lifetimeMs: number): number {
  return lifetimeMs / 5
}

/** A token may die sooner than its answer says: its own `exp` is what the API looks at. */
function shorterLife(result: Minted | Refused): Minted | Refused {
  if (result.kind === 'failed') return result
  const ownLifetimeMs = jwtLifetimeMs(result.token.reveal()) ?? result.lifetimeMs
  if (ownLifetimeMs > 0) {
    return { ...result, lifetimeMs: Math.min(result.lifetimeMs, ownLifetimeMs) }
  }
  const message = 'Token endpoint answered with a token that was never valid (exp before iat)'
  return { kind: 'failed', failure: breachFailure('oauth_invalid_success_response', message) }
}

const PLATFORM_RULES: AnswerRules = {
  refusals: PLATFORM_REFUSALS,
  fallbackLifetimeMs: UNKNOWN_LIFETIME_MS,
  rotates: null,
}

const NEW_KEY_REFUSAL: RefusalRule = rule('BXNIM0415E', {
  ...ASK,
  code: 'ibm_api_key_not_found',
  advice:
    'Check the API key. One that was created a moment ago can take a minute to be known everywhere: then try again',
})

function rule(error: string, meaning: Omit<RefusalRule, 'error' | 'pattern'>): RefusalRule {
  return { error, pattern: null, ...meaning }
}

interface Said {
  readonly error: string
  readonly description: string
}

function refused(answer: TokenAnswer, said: Said, rules: readonly RefusalRule[]): Refused {
  const { status, sent } = answer
  return {
    kind: 'failed',
    failure: refusalFailure({ ...said, subtype: '' }, { status, rules, sent }),
  }
}

/** The older form of IAM, or the list of its newer services. */
function iamError(fields: Fields): Said | null {
  const first: unknown = Array.isArray(fields.errors) ? fields.errors[0] : undefined
  const listed = typeof first === 'object' && first !== null ? first : {}
  const { code, message }: { readonly code?: unknown; readonly message?: unknown } = listed
  const error = fields.errorCode ?? code
  const description = fields.errorMessage ?? message
  if (typeof error !== 'string') return null
  return { error, description: typeof description === 'string' ? description : '' }
}

/** Whether the body decides: trouble, throttling and redirects are told by the status alone. */
function isSettled({ status, headers }: TokenAnswer): boolean {
  const isTrouble = status >= 500 || status === 408 || status === 429
  return !isTrouble && !(status >= 300 && status < 400) && !headers.has('retry-after')
}

/** How long a JWT lives by its own claims (RFC 7519 §4.1), unverified; null when it does not say. */
function jwtLifetimeMs(token: string): number | null {
  const [, payload = ''] = token.split('.')
  const claims = parseFields(Buffer.from(payload, 'base64url'))
  const { exp, iat } = claims ?? {}
  if (typeof exp !== 'number' || typeof iat !== 'number') return null
  return (exp - iat) * 1_000
}
