import { Secret } from '../core/secret.ts'
import { type ClientProof, proveClient } from '../oauth/client-authentication.ts'
import { TOKEN_REQUEST_DEFAULTS } from '../oauth/mint.ts'
import { type AnswerRules, processTokenAnswer } from '../oauth/token-answer.ts'
import type { Minted, Refused, RequestValue, TokenRequest } from '../oauth/token-request.ts'
import type { GoogleFile } from './google-file.ts'
import { REFRESH_TOKEN_REFUSALS } from './google-refusals.ts'

const TOKEN_URL = 'https://oauth2.googleapis.com/token'
const WORKFORCE_TOKEN_URL = 'https://sts.googleapis.com/v1/oauthtoken'
const LEAD_MS = 300_000

const ANSWER_RULES: AnswerRules = {
  refusals: REFRESH_TOKEN_REFUSALS,
  fallbackLifetimeMs: 3_600_000,
  rotates: null,
}

/** The grant of a person's sign-in with gcloud, type `authorized_user` (AIP-4113). */
export function authorizedUserGrant(file: GoogleFile): TokenRequest {
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    url: file.url('token_uri', { host: 'oauth2.googleapis.com', fallback: TOKEN_URL }),
    body: {
      kind: 'form',
      fields: new Map<string, RequestValue>([
        ['grant_type', 'refresh_token'],
        ['refresh_token', new Secret(file.text('refresh_token'))],
        ['client_id', file.text('client_id')],
        ['client_secret', new Secret(file.text('client_secret'))],
      ]),
    },
    judge: (answer, nowMs) => processTokenAnswer(ANSWER_RULES, answer, nowMs),
    leadMs: () => LEAD_MS,
  }
}

/**
 * The grant of a sign-in through a workforce pool, type `external_account_authorized_user`. An answer
 * may bring a new refresh token; then the material under `key` becomes the same file with it, and
 * nobody says for how long the old one is taken.
 */
export function workforceUserGrant(
  file: GoogleFile,
  material: { readonly key: string; readonly json: Secret },
): TokenRequest {
  const rules: AnswerRules = { ...ANSWER_RULES, rotates: material.key }
  const { headers, hidden } = fileClient(file)
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    url: file.url('token_url', { host: 'sts.googleapis.com', fallback: WORKFORCE_TOKEN_URL }),
    headers,
    body: {
      kind: 'form',
      fields: new Map<string, RequestValue>([
        ['grant_type', 'refresh_token'],
        ['refresh_token', new Secret(file.text('refresh_token'))],
      ]),
    },
    judge(answer, nowMs) {
      const sent = [...answer.sent, ...hidden]
      return withWholeFile(processTokenAnswer(rules, { ...answer, sent }, nowMs), material.json)
    },
    singleUse: material.key,
    leadMs: () => LEAD_MS,
  }
}

/** The client that a file names, proven by HTTP Basic; the values go unencoded, as Google wants. */
export function fileClient(file: GoogleFile): ClientProof {
  const clientSecret = new Secret(file.text('client_secret'))
  const client = {
    kind: 'basic',
    clientId: file.text('client_id'),
    clientSecret,
    isRaw: true,
  } as const
  return proveClient(client, 0)
}

/** What is stored is the whole file, so what replaces it is the file with the new refresh token. */
function withWholeFile(result: Minted | Refused, json: Secret): Minted | Refused {
  if (result.kind === 'failed') return result
  const members: object = JSON.parse(json.reveal().replace(/^\uFEFF/, ''))
  const rotated = [...result.rotated].map(([key, refreshToken]) => {
    const text = JSON.stringify({ ...members, refresh_token: refreshToken.reveal() }, null, 2)
    return [key, new Secret(text)] as const
  })
  return { ...result, rotated: new Map(rotated) }
}
