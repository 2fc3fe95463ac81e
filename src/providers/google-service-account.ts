import { Secret } from '../core/secret.ts'
import { signAssertion } from '../oauth/assertion.ts'
import { TOKEN_REQUEST_DEFAULTS } from '../oauth/mint.ts'
import { normalizeRsaKey } from '../oauth/private-key.ts'
import { type AnswerRules, processTokenAnswer } from '../oauth/token-answer.ts'
import type { Assertion, LocalGrant, RequestValue, TokenRequest } from '../oauth/token-request.ts'
import { GOOGLE_SCOPE, type GoogleFile, readGoogleFile } from './google-file.ts'
import { ASSERTION_REFUSALS } from './google-refusals.ts'
import type { ProviderRules } from './provider-type.ts'

const TOKEN_URL = 'https://oauth2.googleapis.com/token'
const ASSERTION_SECONDS = 3_600
const LEAD_MS = 300_000

/** What signs for a service account. */
export interface SigningAccount {
  readonly clientEmail: string
  /** '' when nobody says it. */
  readonly privateKeyId: string
  /** PKCS#8 PEM. */
  readonly privateKey: Secret
  readonly tokenUrl: URL
}

/** A service account's key file, checked. */
export interface ServiceAccountKey extends SigningAccount {
  readonly projectId: string
}

const ANSWER_RULES: AnswerRules = {
  refusals: ASSERTION_REFUSALS,
  fallbackLifetimeMs: 3_600_000,
  rotates: null,
}

const NAME = {
  what: 'service account key',
  hint: 'Pass the JSON key file as it was downloaded: --credential-file GOOGLE_SERVICE_ACCOUNT_JSON=PATH (what gcloud writes goes into GOOGLE_APPLICATION_CREDENTIALS_JSON)',
}

/**
 * Reads a service account's JSON key file.
 *
 * @throws AppError `invalid_credential` or `endpoint_forbidden` when a token could never come of it.
 */
export function parseServiceAccountKey(json: Secret, rules: ProviderRules): ServiceAccountKey {
  const file = readGoogleFile(json, NAME, rules)
  if (file.raw('type') === 'service_account') return serviceAccountKey(file)
  throw file.refusal('its "type" is not "service_account"')
}

/** The project in a key file, without a look at the key; '' when it names none. */
export function serviceAccountProject(json: Secret, rules: ProviderRules): string {
  return readGoogleFile(json, NAME, rules).optionalText('project_id')
}

/** The key in a file that says `service_account`; throws as {@link parseServiceAccountKey} does. */
export function serviceAccountKey(file: GoogleFile): ServiceAccountKey {
  const universe = file.raw('universe_domain') ?? 'googleapis.com'
  if (universe !== 'googleapis.com') {
    throw file.refusal('its "universe_domain" is not "googleapis.com"')
  }
  const clientEmail = file.text('client_email')
  if (!/^[^\s@]+@[^\s@]+$/.test(clientEmail)) {
    throw file.refusal('"client_email" is not an e-mail address')
  }
  return {
    clientEmail,
    privateKeyId: file.text('private_key_id'),
    privateKey: normalizeRsaKey(
      new Secret(file.text('private_key')),
      'The "private_key" of the key file',
    ),
    projectId: file.optionalText('project_id'),
    tokenUrl: file.url('token_uri', { host: 'oauth2.googleapis.com', fallback: TOKEN_URL }),
  }
}

/** The JWT bearer grant (RFC 7523 §2.1, AIP-4112): a signed assertion for an hour's token. */
export function serviceAccountGrant(
  key: SigningAccount,
  nowMs: number,
  wish: { readonly scope: string; readonly subject: string } = { scope: GOOGLE_SCOPE, subject: '' },
): TokenRequest {
  const { scope, subject } = wish
  const assertion = assertionOf(key, nowMs, {
    ...{ scope, aud: key.tokenUrl.href },
    // The person on whose behalf the account acts, where a domain has allowed that.
    ...(subject === '' ? {} : { sub: subject }),
  })
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    url: key.tokenUrl,
    body: {
      kind: 'form',
      fields: new Map<string, RequestValue>([
        ['grant_type', 'urn:ietf:params:oauth:grant-type:jwt-bearer'],
        ['assertion', assertion],
      ]),
    },
    judge: (answer, atMs) => processTokenAnswer(ANSWER_RULES, answer, atMs),
    leadMs: () => LEAD_MS,
  }
}

/**
 * A self-signed JWT in place of an access token (AIP-4111): no endpoint is asked, so none can be
 * down. It names a scope and therefore no audience, for one token serves several of Google's APIs.
 */
export function selfSignedGrant(key: ServiceAccountKey, nowMs: number): LocalGrant {
  const assertion = assertionOf(key, nowMs, { sub: key.clientEmail, scope: GOOGLE_SCOPE })
  return {
    kind: 'local',
    mint: async io => ({
      kind: 'minted',
      token: await signAssertion(assertion, io.random),
      // The end stands in whole seconds, so it is up to one second nearer.
      lifetimeMs: ASSERTION_SECONDS * 1_000 - (Math.floor(nowMs) % 1_000),
      refreshInMs: null,
      rotated: new Map(),
    }),
    leadMs: () => LEAD_MS,
  }
}

function assertionOf(
  key: SigningAccount,
  nowMs: number,
  claims: Readonly<Record<string, string>>,
): Assertion {
  const issuedAt = Math.floor(nowMs / 1_000)
  return {
    kind: 'assertion',
    algorithm: 'RS256',
    privateKey: key.privateKey,
    header: key.privateKeyId === '' ? {} : { kid: key.privateKeyId },
    claims: {
      iss: key.clientEmail,
      ...claims,
      iat: issuedAt,
      exp: issuedAt + ASSERTION_SECONDS,
    },
    hasJti: false,
  }
}
