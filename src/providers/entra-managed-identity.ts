import type { Failure } from '../core/failure.ts'
import { Secret } from '../core/secret.ts'
import { TOKEN_REQUEST_DEFAULTS } from '../oauth/mint.ts'
import { plainText } from '../oauth/plain-text.ts'
import { breachFailure, serverTroubleFailure } from '../oauth/refusal.ts'
import { type Fields, parseFields, processTokenAnswer } from '../oauth/token-answer.ts'
import { sendTokenRequest } from '../oauth/token-endpoint.ts'
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
import { entraLeadMs } from './entra-client.ts'

/** Where virtual machines, scale sets and AKS nodes find their identities. */
export const IMDS_HOST = 'http://169.254.169.254'

const IMDS_PATH = '/metadata/identity/oauth2/token'
const IMDS_API = '2018-02-01'
const ARC_API = '2020-06-01'
const APP_SERVICE_API = '2019-08-01'

/** These answer from the machine itself, or not at all. */
const TIMEOUT_MS = 3_000

/** The one folder in which the Arc agent leaves the keys of its challenges. */
const ARC_KEY_FOLDER = '/var/opt/azcmagent/tokens'
const ARC_KEY_BYTES_MAX = 4_096

/** A metadata server's clock that is further off than this is a lie. */
const OFFSET_MS_MAX = 86_400_000

const REFUSALS: readonly RefusalRule[] = [
  {
    error: 'invalid_request',
    pattern: /identity not found|no .*(managed identity|identity) found|identity.*not.*assigned/i,
    class: 'P',
    code: 'azure_identity_not_found',
    advice:
      'Assign a managed identity to this machine or app; with several, name it in AZURE_CLIENT_ID',
    recoveryAction: 'fix_configuration',
  },
  {
    error: 'invalid_request',
    pattern: /metadata header/i,
    class: 'P',
    code: 'azure_metadata_header_missing',
    advice:
      'Reach the metadata service directly: something on the way takes the header Metadata away',
    recoveryAction: 'fix_configuration',
  },
  {
    error: 'invalid_resource',
    pattern: null,
    class: 'P',
    code: 'azure_invalid_resource',
    advice: 'Check AZURE_OPENAI_SCOPE: it is no resource of this cloud',
    recoveryAction: 'fix_configuration',
  },
]

/** What is wanted of a machine's identity. */
export interface IdentityWish {
  /** The scope without its `/.default`. */
  readonly resource: string
  /** Which of several user-assigned identities; '' for the system-assigned or only one. */
  readonly clientId: string
}

/** The instance metadata service. `host` is {@link IMDS_HOST} or what stands in for it. */
export function imdsGrant(host: URL, wish: IdentityWish): TokenRequest {
  return identityGrant(new URL(IMDS_PATH, host), {
    wish,
    api: IMDS_API,
    headers: [['metadata', 'true']],
  })
}

/** App Service, Functions and Container Apps, which give each app an endpoint and a secret header. */
export function appServiceGrant(endpoint: URL, header: Secret, wish: IdentityWish): TokenRequest {
  return identityGrant(endpoint, {
    wish,
    api: APP_SERVICE_API,
    headers: [['x-identity-header', header]],
  })
}

/**
 * A machine that is connected by Azure Arc. The agent there answers a first request with the name of
 * a file that only its group can read, and wants the content.
 */
export function arcGrant(endpoint: URL, resource: string): TokenRequest {
  const options = { wish: { resource, clientId: '' }, api: ARC_API }
  const metadata = ['metadata', 'true'] as const
  const challenge = identityGrant(endpoint, { ...options, headers: [metadata] })
  return identityGrant(endpoint, {
    ...options,
    headers: [metadata, ['authorization', answerTo(challenge)]],
  })
}

function identityGrant(
  endpoint: URL,
  options: {
    readonly wish: IdentityWish
    readonly api: string
    readonly headers: readonly (readonly [string, RequestValue])[]
  },
): TokenRequest {
  const { resource, clientId } = options.wish
  const url = new URL(endpoint)
  url.searchParams.set('api-version', options.api)
  url.searchParams.set('resource', resource)
  if (clientId !== '') url.searchParams.set('client_id', clientId)
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    method: 'GET',
    url,
    headers: new Map(options.headers),
    body: { kind: 'none' },
    judge: processIdentityAnswer,
    leadMs: entraLeadMs,
    timeoutMs: TIMEOUT_MS,
  }
}

/** Judges an answer of a metadata service; 404 and 410 say that it is being updated or restarted. */
function processIdentityAnswer(answer: TokenAnswer, nowMs: number): Minted | Refused {
  const { status } = answer
  if (status === 404 || status === 410) return failed(serverTroubleFailure(status))
  const rules = { refusals: REFUSALS, fallbackLifetimeMs: 0, rotates: null }
  return processTokenAnswer(rules, inOAuthWords(answer, nowMs), nowMs)
}

/** The answer as RFC 6749 words it: errors by name, and the life of a token by its length. */
function inOAuthWords(answer: TokenAnswer, nowMs: number): TokenAnswer {
  const fields = parseFields(answer.body)
  if (fields === null) return answer
  const { error, statusCode, message } = fields
  if (error === undefined && typeof statusCode === 'number' && typeof message === 'string') {
    // App Service's own form of an error.
    return withFields(answer, { error: 'invalid_request', error_description: message })
  }
  const seconds = lifetimeSeconds(fields, serverNowMs(answer, nowMs))
  return seconds === null ? answer : withFields(answer, { ...fields, expires_in: seconds })
}

/**
 * The life that is left by `expires_on`, in seconds, where it decides: without an `expires_in`, or
 * when it is the shorter one, for a token out of the service's cache may be announced with the life
 * that it once had. An end in the past beside an `expires_in` only says that a clock is wrong.
 */
function lifetimeSeconds(fields: Fields, nowMs: number): number | null {
  const { expires_in: relative, expires_on: absolute } = fields
  if (absolute === undefined) return null
  const endMs = parseInstantMs(absolute)
  const seconds = endMs === null ? null : Math.floor((endMs - nowMs) / 1_000)
  if (relative === undefined) return seconds ?? 0
  const isShorter = /^\d{1,10}$/.test(plainText(relative)) && (seconds ?? 0) < Number(relative)
  return seconds !== null && seconds > 0 && isShorter ? seconds : null
}

/**
 * Seconds since the epoch as a number or its digits, ISO 8601, or App Service's old American form,
 * all only with a zone: without one JavaScript would take the machine's own. Null for anything else.
 */
function parseInstantMs(value: unknown): number | null {
  const text = typeof value === 'number' ? String(Math.floor(value)) : value
  if (typeof text !== 'string') return null
  if (/^\d{1,10}$/.test(text)) return Number(text) * 1_000
  const isIso = /^\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)$/.test(text)
  const isAmerican = /^\d{1,2}\/\d{1,2}\/\d{4} [\d:]+( [AP]M)? [+-]\d\d:\d\d$/.test(text)
  const atMs = isIso || isAmerican ? Date.parse(text) : Number.NaN
  return Number.isNaN(atMs) ? null : atMs
}

function serverNowMs(answer: TokenAnswer, nowMs: number): number {
  const saidMs = Date.parse(answer.headers.get('date') ?? '')
  return Math.abs(saidMs - nowMs) <= OFFSET_MS_MAX ? saidMs : nowMs
}

/** Meets the Arc agent's challenge: the content of the file that it names, as Basic credentials. */
function answerTo(challenge: TokenRequest): Input {
  return {
    kind: 'input',
    async read(io, signal) {
      const answer = await sendTokenRequest(io, challenge, signal)
      if (answer.kind === 'failed') return answer
      if (answer.status !== 401) {
        const judged = challenge.judge(answer, io.vendorNowMs)
        return judged.kind === 'failed' ? judged : challengeRefused('there was none')
      }
      const file = /^Basic realm="?([^"]+)"?$/i.exec(
        answer.headers.get('www-authenticate') ?? '',
      )?.[1]
      if (file === undefined) return challengeRefused('it names no file')
      if (!isArcKey(file)) return challengeRefused('it names a file elsewhere')
      const key = await io.readFile(file, [ARC_KEY_FOLDER])
      if (key.kind === 'failed') return unreadable(key.failure)
      if (Buffer.byteLength(key.value.reveal()) > ARC_KEY_BYTES_MAX)
        return challengeRefused('its file is too large')
      return { kind: 'value', value: new Secret(`Basic ${key.value.reveal()}`) }
    },
  }
}

/** Whoever listens on the agent's port could else have any file of this machine sent to it. */
function isArcKey(file: string): boolean {
  const name = file.startsWith(`${ARC_KEY_FOLDER}/`) ? file.slice(ARC_KEY_FOLDER.length + 1) : ''
  return /^[\w-][\w.-]{0,250}\.key$/.test(name)
}

function unreadable(failure: Failure): Refused {
  return failed({
    ...failure,
    code: 'azure_arc_key_unreadable',
    advice: `Let the gateway read ${ARC_KEY_FOLDER}: its user must be in the group himds`,
  })
}

function challengeRefused(reason: string): Refused {
  const message = `Cannot answer the challenge of the Azure Arc agent: ${reason}`
  const advice = 'Check that it is the Azure Arc agent that listens at IDENTITY_ENDPOINT'
  return failed({ ...breachFailure('azure_arc_challenge_refused', message), advice })
}

function failed(failure: Failure): Refused {
  return { kind: 'failed', failure }
}
