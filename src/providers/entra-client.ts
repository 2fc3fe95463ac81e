import type { Secret } from '../core/secret.ts'
import { TOKEN_REQUEST_DEFAULTS } from '../oauth/mint.ts'
import { breachFailure } from '../oauth/refusal.ts'
import { parseFields, processTokenAnswer } from '../oauth/token-answer.ts'
import type {
  Input,
  Minted,
  RefusalRule,
  Refused,
  RequestValue,
  TokenAnswer,
  TokenRequest,
} from '../oauth/token-request.ts'
import { withFields } from './answer-fields.ts'
import type { ClientCertificate } from './entra-certificate.ts'
import { type EntraProof, entraRefusals } from './entra-refusals.ts'

const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const ASSERTION_SECONDS = 600
const LONG_LIFE_MS = 7_200_000
const LEAD_MS = 300_000
const FALLBACK_LIFETIME_MS = 3_600_000

/** An application that is registered with Entra ID, and the token that it wants. */
export interface EntraClient {
  readonly tokenUrl: URL
  readonly clientId: string
  /** One resource followed by `/.default`. */
  readonly scope: string
  /** Whether it may have been registered only just now, so that not all of Entra ID knows it. */
  readonly isNew: boolean
}

/** Microsoft's own rule: a long token is renewed after half its life, any other 5 min before its end. */
export function entraLeadMs(lifetimeMs: number): number {
  return lifetimeMs >= LONG_LIFE_MS ? lifetimeMs / 2 : LEAD_MS
}

/** The client credentials grant (RFC 6749 §4.4) with a client secret. */
export function secretGrant(client: EntraClient, secret: Secret): TokenRequest {
  return clientGrant(client, 'secret', [['client_secret', secret]])
}

/**
 * The same with an assertion that the client's certificate signs (RFC 7523 §2.2), valid for ten
 * minutes and made anew for each request.
 */
export function certificateGrant(
  client: EntraClient,
  certificate: ClientCertificate,
  nowMs: number,
): TokenRequest {
  const issuedAt = Math.floor(nowMs / 1_000)
  return clientGrant(client, 'certificate', [
    ['client_assertion_type', ASSERTION_TYPE],
    [
      'client_assertion',
      {
        kind: 'assertion',
        algorithm: 'PS256',
        privateKey: certificate.privateKey,
        header: { 'x5t#S256': certificate.thumbprint },
        claims: {
          aud: client.tokenUrl.href,
          iss: client.clientId,
          sub: client.clientId,
          iat: issuedAt,
          nbf: issuedAt,
          exp: issuedAt + ASSERTION_SECONDS,
        },
        hasJti: true,
      },
    ],
  ])
}

/** The same with an assertion of another issuer whom the application trusts. */
export function federatedGrant(client: EntraClient, assertion: Input): TokenRequest {
  return clientGrant(client, 'federated', [
    ['client_assertion_type', ASSERTION_TYPE],
    ['client_assertion', assertion],
  ])
}

function clientGrant(
  client: EntraClient,
  proof: EntraProof,
  proofFields: readonly (readonly [string, RequestValue])[],
): TokenRequest {
  const refusals = entraRefusals(proof, client)
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    url: client.tokenUrl,
    body: {
      kind: 'form',
      fields: new Map<string, RequestValue>([
        ['client_id', client.clientId],
        ['scope', client.scope],
        ['grant_type', 'client_credentials'],
        ...proofFields,
      ]),
    },
    judge: (answer, nowMs) => processEntraAnswer(refusals, answer, nowMs),
    leadMs: entraLeadMs,
  }
}

/** Judges an answer of Entra ID. A redirect leads to the tenant's own cloud, and is not followed. */
function processEntraAnswer(
  refusals: readonly RefusalRule[],
  answer: TokenAnswer,
  nowMs: number,
): Minted | Refused {
  if (answer.status >= 300 && answer.status < 400) {
    const message = `Entra ID answered ${answer.status}, a redirect to another cloud`
    const advice = 'Set AZURE_AUTHORITY_HOST to the host of the cloud that the tenant is in'
    const failure = { ...breachFailure('entra_wrong_cloud', message), advice }
    return { kind: 'failed', failure }
  }
  const rules = { refusals, fallbackLifetimeMs: FALLBACK_LIFETIME_MS, rotates: null }
  return processTokenAnswer(rules, numbered(answer), nowMs)
}

/** The answer with its AADSTS number at the beginning of the description, where the rules look. */
function numbered(answer: TokenAnswer): TokenAnswer {
  const fields = parseFields(answer.body)
  if (fields === null || typeof fields.error !== 'string') return answer
  const text = typeof fields.error_description === 'string' ? fields.error_description : ''
  const [listed]: readonly unknown[] = Array.isArray(fields.error_codes) ? fields.error_codes : []
  const number = Number.isSafeInteger(listed) ? String(listed) : /AADSTS(\d+)/.exec(text)?.[1]
  if (number === undefined || text.startsWith(`AADSTS${number}:`)) return answer
  return withFields(answer, { ...fields, error_description: `AADSTS${number}: ${text}` })
}
