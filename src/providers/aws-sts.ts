import { AppError } from '../core/errors.ts'
import type { SigningKeys } from '../core/sigv4.ts'
import { signedFormHeaders } from '../oauth/aws-signature.ts'
import { TOKEN_REQUEST_DEFAULTS, textOfFile } from '../oauth/mint.ts'
import { refusalFailure } from '../oauth/refusal.ts'
import type {
  Judge,
  Minted,
  Refused,
  RequestValue,
  TokenAnswer,
  TokenRequest,
} from '../oauth/token-request.ts'
import { AWS_REFUSALS } from './aws-refusals.ts'
import {
  breach,
  mintedSession,
  sessionLeadMs,
  sessionMandatoryMs,
  statusFailure,
} from './aws-session.ts'
import { parseXmlLeaves } from './aws-xml.ts'

const API_VERSION = '2011-06-15'

/** An hour, which every role allows. */
const SESSION_SECONDS = '3600'

/** A role to be assumed. */
export interface AwsRole {
  readonly arn: string
  readonly sessionName: string
  /** What the account of the role asks of those from other accounts; '' for nothing. */
  readonly externalId: string
}

/** A role by a web identity token, which is read from its file anew each time: unsigned. */
export function webIdentityGrant(
  url: URL,
  options: {
    readonly role: AwsRole
    readonly tokenFile: string
    readonly folders: readonly string[]
  },
): TokenRequest {
  const { role, tokenFile, folders } = options
  const action = 'AssumeRoleWithWebIdentity'
  const fields = new Map<string, RequestValue>([
    ...roleFields(action, role),
    ['WebIdentityToken', textOfFile(tokenFile, folders)],
  ])
  return { ...stsRequest(url, action), body: { kind: 'form', fields } }
}

/** Session keys for long-lived ones, of a role where one is given: signed with the long-lived ones. */
export function exchangeGrant(
  url: URL,
  options: {
    readonly role: AwsRole | null
    readonly keys: SigningKeys
    readonly region: string
    readonly nowMs: number
  },
): TokenRequest {
  const { role, keys, region, nowMs } = options
  const action = role === null ? 'GetSessionToken' : 'AssumeRole'
  const fields = new Map(role === null ? [...actionFields(action)] : [...roleFields(action, role)])
  const scope = { service: 'sts', region, nowMs }
  const request = stsRequest(url, action)
  return {
    ...request,
    headers: new Map([...request.headers, ...signedFormHeaders(url, fields, { keys, scope })]),
    body: { kind: 'form', fields },
  }
}

/** Checks a role's name. @throws AppError `invalid_config`. */
export function checkRole(role: AwsRole): AwsRole {
  if (!/^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/.test(role.arn)) {
    throw new AppError('invalid_config', `AWS_ROLE_ARN "${role.arn}" is not the ARN of a role`, {
      hint: 'Expected arn:aws:iam::ACCOUNT:role/NAME',
    })
  }
  if (/^[\w+=,.@-]{2,64}$/.test(role.sessionName)) return role
  throw new AppError(
    'invalid_config',
    'AWS_ROLE_SESSION_NAME takes 2 to 64 letters, digits and any of _+=,.@-',
  )
}

function stsRequest(url: URL, action: string) {
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    url,
    // Asked for JSON, STS answers in a form of JSON that is documented nowhere.
    headers: new Map<string, RequestValue>([['accept', 'text/xml']]),
    judge: judgeOf(action),
    leadMs: sessionLeadMs,
    mandatoryMs: sessionMandatoryMs,
  }
}

function actionFields(action: string): readonly (readonly [string, string])[] {
  return [
    ['Action', action],
    ['Version', API_VERSION],
    ['DurationSeconds', SESSION_SECONDS],
  ]
}

function roleFields(action: string, role: AwsRole): readonly (readonly [string, string])[] {
  return [
    ...actionFields(action),
    ['RoleArn', role.arn],
    ['RoleSessionName', role.sessionName],
    ...(role.externalId === '' ? [] : [['ExternalId', role.externalId] as const]),
  ]
}

function judgeOf(action: string): Judge {
  return (answer, nowMs) => judgeSts(action, answer, nowMs)
}

function judgeSts(action: string, answer: TokenAnswer, nowMs: number): Minted | Refused {
  const { status, body, sent } = answer
  const trouble = statusFailure(answer, nowMs)
  if (trouble !== null) return { kind: 'failed', failure: trouble }
  const leaves = body === null ? null : parseXmlLeaves(body)
  const error = leaves?.get('ErrorResponse/Error/Code') ?? ''
  if (error !== '') {
    const description = leaves?.get('ErrorResponse/Error/Message') ?? ''
    const refusal = { error, description, subtype: '' }
    return {
      kind: 'failed',
      failure: refusalFailure(refusal, { status, rules: AWS_REFUSALS, sent }),
    }
  }
  if (status !== 200 || leaves === null) {
    return breach('aws_unrecognized_answer', `AWS answered ${status} with no XML that STS writes`)
  }
  const of = (name: string) => leaves.get(`${action}Response/${action}Result/Credentials/${name}`)
  return mintedSession(
    {
      accessKeyId: of('AccessKeyId'),
      secretAccessKey: of('SecretAccessKey'),
      sessionToken: of('SessionToken'),
      expiration: of('Expiration'),
    },
    answer,
    nowMs,
  )
}
