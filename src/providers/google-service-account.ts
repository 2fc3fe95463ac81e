import { checkEndpoint } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { TOKEN_REQUEST_DEFAULTS } from '../oauth/mint.ts'
import { normalizeRsaKey } from '../oauth/private-key.ts'
import { type AnswerRules, processTokenAnswer } from '../oauth/token-answer.ts'
import type { RefusalRule, RequestValue, TokenRequest } from '../oauth/token-request.ts'
import type { ProviderRules } from './provider-type.ts'

const TOKEN_URL = 'https://oauth2.googleapis.com/token'
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
const ASSERTION_SECONDS = 3_600
const FILE_CHARS_MAX = 65_536
const LEAD_MS = 300_000

/** A service account's key file, checked. */
export interface ServiceAccountKey {
  readonly clientEmail: string
  readonly privateKeyId: string
  readonly privateKey: Secret
  readonly projectId: string
  readonly tokenUrl: URL
}

/** What Google's refusals of a signed assertion mean. */
const REFUSALS: readonly RefusalRule[] = [
  {
    error: 'invalid_grant',
    pattern: /reasonable timeframe|short-lived token/i,
    class: 'C',
    code: 'google_clock_skew',
    advice: "Set the gateway's clock: Google finds the times in the signed request unreasonable",
    recoveryAction: 'fix_configuration',
  },
  {
    error: 'invalid_grant',
    pattern: /invalid jwt signature/i,
    class: 'P',
    code: 'google_invalid_signature',
    advice:
      'The key was deleted or replaced: create a new key for the service account and update the provider',
    recoveryAction: 'fix_configuration',
  },
  {
    error: 'invalid_grant',
    pattern: /account not found|not a valid email/i,
    class: 'P',
    code: 'google_account_not_found',
    advice: 'The service account does not exist (any more): create it, or use another one’s key',
    recoveryAction: 'fix_configuration',
  },
  {
    error: 'invalid_grant',
    pattern: /audience/i,
    class: 'P',
    code: 'google_audience_refused',
    advice:
      'The token_uri in the key file is not the one that Google expects: download the key anew',
    recoveryAction: 'fix_configuration',
  },
  {
    error: 'unauthorized_client',
    pattern: null,
    class: 'P',
    code: 'oauth_unauthorized_client',
    advice: 'Enable the service account and the Vertex AI API in its project',
    recoveryAction: 'fix_configuration',
  },
  ...['deleted_client', 'disabled_client'].map(error => ({
    error,
    pattern: null,
    class: 'P' as const,
    code: `google_${error}`,
    advice: 'Enable the service account again, or use another one’s key',
    recoveryAction: 'fix_configuration' as const,
  })),
  ...['admin_policy_enforced', 'org_internal'].map(error => ({
    error,
    pattern: null,
    class: 'Q' as const,
    code: `oauth_${error}`,
    advice: 'An organisation policy forbids this: ask the Google Cloud administrator',
    recoveryAction: 'fix_configuration' as const,
  })),
  {
    error: 'internal_failure',
    pattern: null,
    class: 'T',
    code: 'oauth_token_endpoint_retryable',
    advice: 'Nothing to do, the gateway tries again by itself',
    recoveryAction: 'retry',
  },
]

const ANSWER_RULES: AnswerRules = {
  refusals: REFUSALS,
  fallbackLifetimeMs: 3_600_000,
  rotates: null,
}

/**
 * Reads a service account's JSON key file.
 *
 * @throws AppError `invalid_credential` or `endpoint_forbidden` when a token could never come of it.
 */
export function parseServiceAccountKey(json: Secret, rules: ProviderRules): ServiceAccountKey {
  const fields = parseObject(json)
  const text = (name: string): string => {
    const value = fields.get(name)
    if (typeof value === 'string' && value !== '') return value
    throw unusable(`the field "${name}" is missing`)
  }
  if (fields.get('type') !== 'service_account') {
    throw unusable('its "type" is not "service_account"')
  }
  const universe = fields.get('universe_domain') ?? 'googleapis.com'
  if (universe !== 'googleapis.com') {
    throw unusable('its "universe_domain" is not "googleapis.com"')
  }
  const clientEmail = text('client_email')
  if (!/^[^\s@]+@[^\s@]+$/.test(clientEmail))
    throw unusable('"client_email" is not an e-mail address')
  return {
    clientEmail,
    privateKeyId: text('private_key_id'),
    privateKey: normalizeRsaKey(
      new Secret(text('private_key')),
      'The "private_key" of the key file',
    ),
    projectId: typeof fields.get('project_id') === 'string' ? text('project_id') : '',
    tokenUrl: checkEndpoint(fields.has('token_uri') ? text('token_uri') : TOKEN_URL, {
      label: 'The "token_uri" of the service account key',
      vendorHosts: ['oauth2.googleapis.com'],
      allowList: rules.allowList,
    }),
  }
}

/** The JWT bearer grant (RFC 7523 §2.1, AIP-4112): a signed assertion for an hour's token. */
export function serviceAccountGrant(key: ServiceAccountKey, nowMs: number): TokenRequest {
  const issuedAt = Math.floor(nowMs / 1_000)
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    url: key.tokenUrl,
    body: {
      kind: 'form',
      fields: new Map<string, RequestValue>([
        ['grant_type', 'urn:ietf:params:oauth:grant-type:jwt-bearer'],
        [
          'assertion',
          {
            kind: 'assertion',
            algorithm: 'RS256',
            privateKey: key.privateKey,
            header: { kid: key.privateKeyId },
            claims: {
              iss: key.clientEmail,
              scope: SCOPE,
              aud: key.tokenUrl.href,
              iat: issuedAt,
              exp: issuedAt + ASSERTION_SECONDS,
            },
            hasJti: false,
          },
        ],
      ]),
    },
    judge: (answer, atMs) => processTokenAnswer(ANSWER_RULES, answer, atMs),
    leadMs: () => LEAD_MS,
  }
}

function parseObject(json: Secret): ReadonlyMap<string, unknown> {
  const text = json
    .reveal()
    .replace(/^\uFEFF/, '')
    .trim()
  if (text.length > FILE_CHARS_MAX) throw unusable('it is larger than 64 KiB')
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      return new Map(Object.entries(value))
    }
  } catch (error) {
    // The parser's message quotes the text, which holds the key.
    if (!(error instanceof SyntaxError)) throw error
  }
  throw unusable('it is not a JSON object')
}

function unusable(reason: string): AppError {
  return new AppError('invalid_credential', `Cannot use the service account key: ${reason}`, {
    hint: 'Pass the JSON key file as it was downloaded: --credential-file GOOGLE_SERVICE_ACCOUNT_JSON=PATH',
  })
}
