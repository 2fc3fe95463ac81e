import { TOKEN_REQUEST_DEFAULTS } from '../oauth/mint.ts'
import { type AnswerRules, processTokenAnswer } from '../oauth/token-answer.ts'
import type { Grant, RequestValue, TokenRequest } from '../oauth/token-request.ts'
import { GOOGLE_SCOPE, type GoogleFile } from './google-file.ts'
import { impersonatedGrant, readImpersonation } from './google-impersonation.ts'
import { FEDERATION_REFUSALS } from './google-refusals.ts'
import { fileClient } from './google-sign-in.ts'
import { subjectToken } from './google-subject-token.ts'
import type { ProviderRules } from './provider-type.ts'

const TOKEN_URL = 'https://sts.googleapis.com/v1/token'
const TEXT_CHARS_MAX = 1_024
const LEAD_MS = 300_000
const WORKFORCE = /^\/\/iam\.googleapis\.com\/locations\/[^/]+\/workforcePools\//

/** Google's answer may leave out how long its token lives; then it is taken for an hour's. */
const ANSWER_RULES: AnswerRules = {
  refusals: FEDERATION_REFUSALS,
  fallbackLifetimeMs: 3_600_000,
  rotates: null,
}

/**
 * The grant of workload or workforce identity federation, type `external_account` (AIP-4117): a
 * token of another issuer against one of Google, and that against one of a service account when the
 * file names one.
 *
 * @throws AppError when a token could never come of the file, or the operator does not allow what it
 * names.
 */
export function externalAccountGrant(file: GoogleFile, rules: ProviderRules): Grant {
  const impersonation = readImpersonation(file)
  const exchange = exchangeGrant(file, rules, {
    impersonatedEmail:
      /([^/]+):generateAccessToken$/.exec(impersonation?.url.pathname ?? '')?.[1] ?? '',
  })
  return impersonation === null ? exchange : impersonatedGrant(exchange, impersonation)
}

function exchangeGrant(
  file: GoogleFile,
  rules: ProviderRules,
  { impersonatedEmail }: { readonly impersonatedEmail: string },
): TokenRequest {
  const audience = line(file, 'audience')
  const tokenType = line(file, 'subject_token_type')
  const hasClient = file.optionalText('client_id') !== ''
  const client = hasClient ? fileClient(file) : { headers: new Map(), hidden: [] }
  const subject = subjectToken(file, { audience, tokenType, impersonatedEmail }, rules)
  const fields = new Map<string, RequestValue>([
    ['grant_type', 'urn:ietf:params:oauth:grant-type:token-exchange'],
    ['audience', audience],
    ['scope', GOOGLE_SCOPE],
    ['requested_token_type', 'urn:ietf:params:oauth:token-type:access_token'],
    ['subject_token', subject],
    ['subject_token_type', tokenType],
  ])
  const userProject = file.optionalText('workforce_pool_user_project')
  if (userProject !== '') {
    if (!WORKFORCE.test(audience)) {
      throw file.refusal('"workforce_pool_user_project" belongs to workforce pools only')
    }
    // A client that proves itself is billed by its own project.
    if (!hasClient) fields.set('options', JSON.stringify({ userProject }))
  }
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    url: file.url('token_url', { host: 'sts.googleapis.com', fallback: TOKEN_URL }),
    headers: client.headers,
    body: { kind: 'form', fields },
    judge(answer, nowMs) {
      const sent = [...answer.sent, ...client.hidden]
      return processTokenAnswer(ANSWER_RULES, { ...answer, sent }, nowMs)
    },
    leadMs: () => LEAD_MS,
  }
}

/** One word of printable characters, for it also goes into headers and environments. */
function line(file: GoogleFile, name: string): string {
  const text = file.text(name)
  if (text.length <= TEXT_CHARS_MAX && /^[\x21-\x7e]+$/.test(text)) return text
  throw file.refusal(`the field "${name}" has characters that cannot stand there`)
}
