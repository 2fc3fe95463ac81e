import { TOKEN_REQUEST_DEFAULTS, textOfFile } from '../oauth/mint.ts'
import { withFlatError } from '../oauth/nested-error.ts'
import { processTokenAnswer } from '../oauth/token-answer.ts'
import type { RequestValue, TokenRequest } from '../oauth/token-request.ts'
import { federationRefusals } from './workload-identity.ts'

const LEAD_MS_MAX = 1_200_000
const FALLBACK_LIFETIME_MS = 3_600_000

const PROVIDER = 'OPENAI_IDENTITY_PROVIDER_ID'
const ACCOUNT = 'OPENAI_SERVICE_ACCOUNT_ID'
const CLIENT = 'OPENAI_CLIENT_ID'
const FILE = 'OPENAI_IDENTITY_TOKEN_FILE'

/** What configures OpenAI's workload identity federation. */
export const OPENAI_FEDERATION = [
  { name: PROVIDER, description: 'Identity provider, instead of an API key', isNeeded: true },
  { name: ACCOUNT, description: 'Service account that it may act as', isNeeded: true },
  { name: CLIENT, description: 'Client id, where one is asked for', isNeeded: false },
  { name: FILE, description: 'File with an OIDC token, read for each mint', isNeeded: true },
] as const

const RULES = {
  refusals: federationRefusals(
    'openai',
    'Check that the identity provider trusts issuer, audience and subject of the identity token, and that it may act as the service account',
  ),
  fallbackLifetimeMs: FALLBACK_LIFETIME_MS,
  rotates: null,
}

/** OpenAI's workload identity federation: token exchange (RFC 8693) with a JSON body. */
export function openaiFederationGrant(
  config: ReadonlyMap<string, string>,
  options: { readonly tokenUrl: URL; readonly folders: readonly string[] },
): TokenRequest {
  const text = (name: string) => config.get(name) ?? ''
  const client: readonly (readonly [string, string])[] = config.has(CLIENT)
    ? [['client_id', text(CLIENT)]]
    : []
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    url: options.tokenUrl,
    body: {
      kind: 'json',
      members: new Map<string, RequestValue>([
        ['grant_type', 'urn:ietf:params:oauth:grant-type:token-exchange'],
        ['subject_token', textOfFile(text(FILE), options.folders)],
        ['subject_token_type', 'urn:ietf:params:oauth:token-type:jwt'],
        ['identity_provider_id', text(PROVIDER)],
        ['service_account_id', text(ACCOUNT)],
        ...client,
      ]),
    },
    judge: (answer, nowMs) => processTokenAnswer(RULES, withFlatError(answer), nowMs),
    leadMs: lifetimeMs => Math.min(LEAD_MS_MAX, lifetimeMs / 3),
  }
}
