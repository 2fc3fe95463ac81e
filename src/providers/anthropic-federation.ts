import { TOKEN_REQUEST_DEFAULTS, textOfFile } from '../oauth/mint.ts'
import { withFlatError } from '../oauth/nested-error.ts'
import { processTokenAnswer } from '../oauth/token-answer.ts'
import type { RequestValue, TokenRequest } from '../oauth/token-request.ts'
import { federationRefusals } from './workload-identity.ts'

/** As its SDK has them. */
const LEAD_MS = 120_000
const MANDATORY_MS = 30_000

/** The beta without which Anthropic's API takes no OAuth token. */
export const OAUTH_BETA = 'oauth-2025-04-20'

const RULE = 'ANTHROPIC_FEDERATION_RULE_ID'
const ORGANIZATION = 'ANTHROPIC_ORGANIZATION_ID'
const ACCOUNT = 'ANTHROPIC_SERVICE_ACCOUNT_ID'
const WORKSPACE = 'ANTHROPIC_WORKSPACE_ID'
const FILE = 'ANTHROPIC_IDENTITY_TOKEN_FILE'

/** What configures Anthropic's workload identity federation. */
export const ANTHROPIC_FEDERATION = [
  { name: RULE, description: 'Federation rule, fdrl_…, instead of an API key', isNeeded: true },
  { name: ORGANIZATION, description: 'Organization of the federation rule', isNeeded: true },
  { name: ACCOUNT, description: 'Service account that the rule maps to, svac_…', isNeeded: true },
  { name: WORKSPACE, description: 'Workspace, wrkspc_…, when not the default', isNeeded: false },
  { name: FILE, description: 'File with an OIDC token, read for each mint', isNeeded: true },
] as const

/** `expires_in` is required here: a life of 0 is none. */
const RULES = {
  refusals: federationRefusals(
    'anthropic',
    'Check that issuer, audience and subject of the identity token match the federation rule, and that the rule may use the service account',
  ),
  fallbackLifetimeMs: 0,
  rotates: null,
}

/**
 * Anthropic's workload identity federation: an OIDC token, which may be taken only once, against an
 * hour's token. The body is JSON, and both betas are named.
 */
export function anthropicFederationGrant(
  config: ReadonlyMap<string, string>,
  options: { readonly tokenUrl: URL; readonly folders: readonly string[] },
): TokenRequest {
  const text = (name: string) => config.get(name) ?? ''
  const workspace: readonly (readonly [string, string])[] = config.has(WORKSPACE)
    ? [['workspace_id', text(WORKSPACE)]]
    : []
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    url: options.tokenUrl,
    headers: new Map([['anthropic-beta', `${OAUTH_BETA},oidc-federation-2026-04-01`]]),
    body: {
      kind: 'json',
      members: new Map<string, RequestValue>([
        ['grant_type', 'urn:ietf:params:oauth:grant-type:jwt-bearer'],
        ['assertion', textOfFile(text(FILE), options.folders)],
        ['federation_rule_id', text(RULE)],
        ['organization_id', text(ORGANIZATION)],
        ['service_account_id', text(ACCOUNT)],
        ...workspace,
      ]),
    },
    judge: (answer, nowMs) => processTokenAnswer(RULES, withFlatError(answer), nowMs),
    leadMs: () => LEAD_MS,
    mandatoryMs: () => MANDATORY_MS,
  }
}
