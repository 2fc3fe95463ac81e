import type { Failure } from '../core/failure.ts'
import { Secret } from '../core/secret.ts'
import { TOKEN_REQUEST_DEFAULTS } from '../oauth/mint.ts'
import { refusalFailure } from '../oauth/refusal.ts'
import { parseFields } from '../oauth/token-answer.ts'
import type {
  InputIo,
  Judge,
  LocalGrant,
  Minted,
  RefusalRule,
  Refused,
  RequestValue,
  TokenAnswer,
  TokenRequest,
} from '../oauth/token-request.ts'
import { AWS_REFUSALS } from './aws-refusals.ts'
import {
  breach,
  isWord,
  mintedSession,
  sessionLeadMs,
  sessionMandatoryMs,
  statusFailure,
} from './aws-session.ts'

/** Metadata is answered on the machine itself, or not at all. */
const TIMEOUT_MS = 2_000

const METADATA_TOKEN_SECONDS = 21_600
const ROLES_PATH = '/latest/meta-data/iam/security-credentials/'

const UNREACHABLE = 'oauth_token_endpoint_unavailable'

/** What the status says where the body names no code. */
const CONTAINER_STATUS: readonly RefusalRule[] = [
  statusRule('401', 'Q', 'aws_container_token_refused', {
    advice: 'Check AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: the endpoint refuses the token in it',
  }),
  statusRule('403', 'Q', 'aws_container_access_denied', {
    advice: 'Give the task or pod a role, and let its trust policy name the service',
  }),
  statusRule('404', 'P', 'aws_container_path_unknown', {
    advice: 'Check AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI against the container',
  }),
]

const INSTANCE_STATUS: readonly RefusalRule[] = [
  statusRule('401', 'S', 'aws_metadata_token_refused', {
    advice: 'The metadata service refuses a token that it just gave: restart the instance',
  }),
  statusRule('403', 'P', 'aws_metadata_disabled', {
    advice: 'Enable the metadata service of the instance (HttpEndpoint=enabled)',
  }),
  statusRule('404', 'P', 'aws_instance_role_missing', {
    advice: 'Attach an instance profile with a role that may call bedrock:InvokeModel',
  }),
]

/** Keys of an ECS task or an EKS pod. The endpoint wants its token bare, without `Bearer`. */
export function containerGrant(url: URL, authorization: RequestValue | null): TokenRequest {
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    method: 'GET',
    url,
    headers: new Map(
      authorization === null ? [] : [['authorization', headerWord(authorization)] as const],
    ),
    body: { kind: 'none' },
    timeoutMs: TIMEOUT_MS,
    judge: judgeKeys(CONTAINER_STATUS),
    leadMs: sessionLeadMs,
    mandatoryMs: sessionMandatoryMs,
  }
}

/** Keys of an instance's role, by version 2 of the metadata service: token, role name, keys. */
export function instanceGrant(origin: string): LocalGrant {
  return {
    kind: 'local',
    leadMs: sessionLeadMs,
    mandatoryMs: sessionMandatoryMs,
    async mint(io) {
      const token = await io.mint({
        ...metadataRequest(`${origin}/latest/api/token`, judgeText),
        method: 'PUT',
        headers: new Map([
          ['x-aws-ec2-metadata-token-ttl-seconds', String(METADATA_TOKEN_SECONDS)],
        ]),
      })
      if (token.kind === 'failed') return withHopLimit(token)
      const headers = new Map([['x-aws-ec2-metadata-token', token.token]])
      const role = await io.mint({
        ...metadataRequest(`${origin}${ROLES_PATH}`, judgeText),
        headers,
      })
      if (role.kind === 'failed') return role
      const name = encodeURIComponent(role.token.reveal())
      const keys = metadataRequest(`${origin}${ROLES_PATH}${name}`, judgeKeys(INSTANCE_STATUS))
      return io.mint({ ...keys, headers })
    },
  }
}

function metadataRequest(url: string, judge: Judge): TokenRequest {
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    method: 'GET',
    url: new URL(url),
    body: { kind: 'none' },
    timeoutMs: TIMEOUT_MS,
    judge,
    leadMs: sessionLeadMs,
    mandatoryMs: sessionMandatoryMs,
  }
}

/** The metadata service's token, or a role's name: the first line, which must be one word. */
function judgeText(answer: TokenAnswer, nowMs: number): Minted | Refused {
  const trouble = refusedBy(INSTANCE_STATUS, answer, nowMs)
  if (trouble !== null) return trouble
  const text = new TextDecoder().decode(answer.body ?? new Uint8Array())
  const [word = ''] = text.trim().split('\n', 1)
  if (!isWord(word)) {
    return breach('aws_unrecognized_answer', 'The metadata service answered with no plain word')
  }
  return {
    kind: 'minted',
    token: new Secret(word),
    lifetimeMs: METADATA_TOKEN_SECONDS * 1_000,
    refreshInMs: null,
    rotated: new Map(),
  }
}

function judgeKeys(statuses: readonly RefusalRule[]): Judge {
  return (answer, nowMs) => {
    const trouble = refusedBy(statuses, answer, nowMs)
    if (trouble !== null) return trouble
    const fields = parseFields(answer.body)
    if (fields === null) {
      return breach('aws_unrecognized_answer', `AWS answered ${answer.status} with no JSON object`)
    }
    return mintedSession(
      {
        accessKeyId: fields.AccessKeyId,
        secretAccessKey: fields.SecretAccessKey,
        sessionToken: fields.Token,
        expiration: fields.Expiration,
      },
      answer,
      nowMs,
    )
  }
}

/** The refusal in an answer, which may come with 200, too; null when there is none. */
function refusedBy(
  statuses: readonly RefusalRule[],
  answer: TokenAnswer,
  nowMs: number,
): Refused | null {
  const { status, sent } = answer
  const trouble = statusFailure(answer, nowMs)
  if (trouble !== null) return { kind: 'failed', failure: trouble }
  const fields = parseFields(answer.body)
  const code = textOf(fields?.Code)
  const isSuccess = status === 200 || status === 204
  if (isSuccess && (code === '' || code === 'Success')) return null
  const isCoded = code !== '' && code !== 'Success'
  const refusal = {
    error: isCoded ? code : String(status),
    description: isCoded ? textOf(fields?.Message) : 'without a reason',
    subtype: '',
  }
  const rules = [...AWS_REFUSALS, ...statuses]
  return { kind: 'failed', failure: refusalFailure(refusal, { status, rules, sent }) }
}

/** A container on the instance sees nothing but a time-out when answers may not hop that far. */
function withHopLimit({ failure }: Refused): Refused {
  if (failure.code !== UNREACHABLE) return { kind: 'failed', failure }
  const advice =
    'Configure a credential unless the gateway runs on AWS; in a container raise the hop limit of the instance metadata to 2'
  const explained: Failure = { ...failure, advice, recoveryAction: 'fix_configuration' }
  return { kind: 'failed', failure: explained }
}

/** A token that a header can carry: the network library would quote any other in its error. */
function headerWord(value: RequestValue): RequestValue {
  if (typeof value === 'string' || value instanceof Secret || value.kind !== 'input') return value
  return {
    kind: 'input',
    async read(io: InputIo, signal: AbortSignal) {
      const read = await value.read(io, signal)
      if (read.kind === 'failed' || isWord(read.value.reveal())) return read
      return breach('aws_container_token_unusable', 'The authorization token file is not one word')
    },
  }
}

function statusRule(
  error: string,
  failureClass: RefusalRule['class'],
  code: string,
  { advice }: { readonly advice: string },
): RefusalRule {
  return {
    ...{ error, class: failureClass, code, advice },
    ...{ pattern: null, recoveryAction: 'fix_configuration' },
  }
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
