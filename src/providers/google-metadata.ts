import { checkEndpoint } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import { TOKEN_REQUEST_DEFAULTS } from '../oauth/mint.ts'
import { breachFailure } from '../oauth/refusal.ts'
import { type AnswerRules, processTokenAnswer } from '../oauth/token-answer.ts'
import type {
  Minted,
  RefusalRule,
  Refused,
  TokenAnswer,
  TokenRequest,
} from '../oauth/token-request.ts'
import { GOOGLE_SCOPE } from './google-file.ts'
import type { ProviderRules } from './provider-type.ts'

/** Fixed names and addresses of the metadata server; plain http, for it is the machine itself. */
const FIXED_HOSTS = ['metadata.google.internal', '169.254.169.254']
const PATH = '/computeMetadata/v1/instance/service-accounts/default/token'
const TIMEOUT_MS = 3_000

/** The server keeps a token until about four minutes before its end: asking earlier is useless. */
const LEAD_MS = 225_000
const MANDATORY_MS = 30_000

const ANSWER_RULES: AnswerRules = { refusals: [], fallbackLifetimeMs: 300_000, rotates: null }

/** The server answers refusals in plain text, so the status is all that tells them apart. */
const REFUSALS: ReadonlyMap<number, Pick<RefusalRule, 'code' | 'advice'>> = new Map([
  [
    404,
    {
      code: 'google_metadata_no_account',
      advice:
        'Attach a service account with roles/aiplatform.user to this machine (GKE: bind one by Workload Identity)',
    },
  ],
  [
    403,
    {
      code: 'google_metadata_refused',
      advice: 'Give this machine the access scope cloud-platform and restart it',
    },
  ],
])

/**
 * The grant of the machine's own service account, from its metadata server at `host`.
 *
 * @throws AppError `endpoint_forbidden` when the host is neither fixed nor an allowed loopback.
 */
export function metadataGrant(host: string, rules: ProviderRules): TokenRequest {
  const url = metadataUrl(host, rules)
  url.searchParams.set('scopes', GOOGLE_SCOPE)
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    method: 'GET',
    url,
    headers: new Map([['metadata-flavor', 'Google']]),
    body: { kind: 'none' },
    judge: processMetadata,
    leadMs: () => LEAD_MS,
    mandatoryMs: () => MANDATORY_MS,
    timeoutMs: TIMEOUT_MS,
  }
}

function metadataUrl(host: string, { allowList }: ProviderRules): URL {
  if (FIXED_HOSTS.includes(host)) return new URL(`http://${host}${PATH}`)
  if (!/^[\w.:[\]-]+$/.test(host)) {
    throw new AppError('invalid_config', 'GCE_METADATA_HOST is not HOST[:PORT]')
  }
  const label = 'GCE_METADATA_HOST'
  return checkEndpoint(`http://${host}${PATH}`, { label, vendorHosts: [], allowList })
}

function processMetadata(answer: TokenAnswer, nowMs: number): Minted | Refused {
  const { status } = answer
  if (status === 408 || status === 429 || status >= 500) {
    return processTokenAnswer(ANSWER_RULES, answer, nowMs)
  }
  // Whoever took over the name in DNS knows nothing of this header.
  if (answer.headers.get('metadata-flavor')?.toLowerCase() !== 'google') {
    const message = 'What answered as metadata server did not say "Metadata-Flavor: Google"'
    return { kind: 'failed', failure: breachFailure('google_metadata_flavor_missing', message) }
  }
  const meaning = REFUSALS.get(status)
  if (meaning === undefined) return processTokenAnswer(ANSWER_RULES, answer, nowMs)
  const message = `The metadata server answered ${status}`
  const shared = { class: 'P', recoveryAction: 'fix_configuration', retryAfterMs: 0 } as const
  return { kind: 'failed', failure: { ...meaning, ...shared, message } }
}
