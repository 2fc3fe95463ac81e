import { type ClientAuthentication, proveClient } from './client-authentication.ts'
import { TOKEN_REQUEST_DEFAULTS } from './mint.ts'
import { breachFailure, refusalFailure } from './refusal.ts'
import { parseFields, processTokenAnswer } from './token-answer.ts'
import type {
  Minted,
  RefusalRule,
  Refused,
  RequestValue,
  TokenAnswer,
  TokenRequest,
} from './token-request.ts'

const LEAD_MS_MAX = 300_000
const FALLBACK_LIFETIME_MS = 3_600_000

/** A client at an authorization server of RFC 6749. */
export interface OAuthClient {
  /** Already held against the allowed hosts. */
  readonly tokenUrl: URL
  readonly authentication: ClientAuthentication
  /** Separated by spaces; '' asks for whatever the client may have. */
  readonly scopes: string
  /** '' names none. */
  readonly audience: string
}

/** What tells one grant from another. */
export interface StandardGrant {
  /** Besides client authentication, scope and audience. */
  readonly fields: readonly (readonly [name: string, value: RequestValue])[]
  /** Looked at before the rules that all grants share. */
  readonly refusals: readonly RefusalRule[]
  /** See `AnswerRules`. */
  readonly rotates: string | null
  /** Whether what is rotated may be spent only once. */
  readonly isSingleUse: boolean
  /** Members without which the answer is no token. */
  readonly required: readonly string[]
}

/** What servers say, in whatever error, when they mean something that every grant can meet. */
const REFUSALS: readonly RefusalRule[] = [
  {
    error: null,
    pattern: /rate.?limit|too many requests/i,
    class: 'H',
    code: 'oauth_token_endpoint_throttled',
    advice: 'Nothing to do, the gateway waits before it asks again',
    recoveryAction: 'retry',
  },
  {
    error: 'invalid_client',
    pattern: /\b(iat|exp|nbf)\b|expired|not yet valid|in the future|clock|timeframe/i,
    class: 'C',
    code: 'oauth_clock_skew',
    advice:
      "Set the gateway's clock: the server finds the times in the signed request unreasonable",
    recoveryAction: 'fix_configuration',
  },
  {
    error: 'invalid_client',
    pattern: /\bjti\b|already (been )?used|replay/i,
    class: 'S',
    code: 'oauth_assertion_used',
    advice: 'Check that no other program signs with the same key and the same ids',
    recoveryAction: 'investigate',
  },
  {
    error: 'invalid_client',
    pattern: null,
    class: 'P',
    code: 'oauth_invalid_client',
    advice:
      'Check OAUTH2_CLIENT_ID, its secret or key, and whether the server wants OAUTH2_CLIENT_AUTH=basic, post or private_key_jwt',
    recoveryAction: 'fix_configuration',
  },
  {
    error: 'unauthorized_client',
    pattern: null,
    class: 'P',
    code: 'oauth_unauthorized_client',
    advice: 'Allow this grant for the client at the authorization server',
    recoveryAction: 'fix_configuration',
  },
  {
    error: 'invalid_scope',
    pattern: null,
    class: 'P',
    code: 'oauth_invalid_scope',
    advice: 'Check OAUTH2_SCOPES, and that the client may have every scope in it',
    recoveryAction: 'fix_configuration',
  },
  {
    error: 'invalid_target',
    pattern: null,
    class: 'P',
    code: 'oauth_invalid_target',
    advice: 'Check OAUTH2_AUDIENCE: the server issues no token for it',
    recoveryAction: 'fix_configuration',
  },
]

/** A request to an authorization server as RFC 6749 has it, whatever the grant. */
export function standardRequest(
  client: OAuthClient,
  grant: StandardGrant,
  nowMs: number,
): TokenRequest {
  const proof = proveClient(client.authentication, nowMs)
  const optional: readonly (readonly [string, string])[] = [
    ['scope', client.scopes],
    ['audience', client.audience],
  ]
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    url: client.tokenUrl,
    headers: proof.headers,
    body: {
      kind: 'form',
      fields: new Map<string, RequestValue>([
        ...grant.fields,
        ...optional.filter(([, value]) => value !== ''),
        ...proof.fields,
      ]),
    },
    judge: (answer, atMs) =>
      processStandardAnswer(grant, { ...answer, sent: [...answer.sent, ...proof.hidden] }, atMs),
    leadMs: lifetimeMs => Math.min(LEAD_MS_MAX, lifetimeMs / 4),
    singleUse: grant.isSingleUse ? grant.rotates : null,
  }
}

/** Judges as {@link processTokenAnswer}, and takes what servers of many makes really answer. */
function processStandardAnswer(
  grant: StandardGrant,
  raw: TokenAnswer,
  nowMs: number,
): Minted | Refused {
  const answer = withoutForm(raw)
  const rules = {
    refusals: [...grant.refusals, ...REFUSALS],
    fallbackLifetimeMs: FALLBACK_LIFETIME_MS,
    rotates: grant.rotates,
  }
  const fields = parseFields(answer.body)
  const isBare401 = answer.status === 401 && fields === null
  if (isBare401 && answer.headers.has('www-authenticate')) {
    const refusal = { error: 'invalid_client', description: '', subtype: '' }
    const options = { status: 401, rules: rules.refusals, sent: answer.sent }
    return { kind: 'failed', failure: refusalFailure(refusal, options) }
  }
  const result = processTokenAnswer(rules, answer, nowMs)
  if (result.kind === 'failed') return result
  const missing = grant.required.find(name => typeof fields?.[name] !== 'string')
  if (missing === undefined) return result
  const message = `Token endpoint answered without "${missing}"`
  return { kind: 'failed', failure: breachFailure('oauth_invalid_success_response', message) }
}

/** Old servers answer with a form instead of JSON, under either of these types. */
function withoutForm(answer: TokenAnswer): TokenAnswer {
  const type = answer.headers.get('content-type') ?? ''
  const isForm = /^(application\/x-www-form-urlencoded|text\/plain)\b/i.test(type)
  if (!isForm || answer.body === null) return answer
  const form = new URLSearchParams(new TextDecoder().decode(answer.body))
  if (!form.has('access_token') && !form.has('error')) return answer
  return { ...answer, body: Buffer.from(JSON.stringify(Object.fromEntries(form))) }
}
