import { type Answer, type Call, textAnswer, type Vendor } from './call.ts'
import { callerIdentityProblem } from './google-aws.ts'
import {
  type Form,
  type GrantFields,
  invalidGrant,
  invalidRequest,
  type Refusal,
  readForm,
  refuse,
  refuseStatus,
} from './google-form.ts'
import { headerValues } from './header.ts'
import { issueToken } from './token-answer.ts'
import type { World } from './world.ts'

const EXCHANGE_PATH = '/v1/token'
const REFRESH_PATH = '/v1/oauthtoken'
const BODY_BYTES_MAX = 65_536
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
const AWS_REQUEST = 'urn:ietf:params:aws:token-type:aws4_request'
const JWT_TYPES = [
  'urn:ietf:params:oauth:token-type:jwt',
  'urn:ietf:params:oauth:token-type:id_token',
]
const TOKEN_RANDOM_BYTES = 300

const EXCHANGE_GRANT: ReadonlyMap<string, GrantFields> = new Map([
  [
    EXCHANGE,
    {
      required: [
        'audience',
        'scope',
        'requested_token_type',
        'subject_token',
        'subject_token_type',
      ],
      optional: [],
    },
  ],
])
const REFRESH_GRANT: ReadonlyMap<string, GrantFields> = new Map([
  ['refresh_token', { required: ['refresh_token'], optional: ['scope'] }],
])

/** Google's Security Token Service: other issuers' tokens, and workforce sign-ins (AIP-4117). */
export function createGoogleSts(world: World): Vendor {
  return {
    name: 'google.sts',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path === EXCHANGE_PATH || path === REFRESH_PATH,
    answer: call =>
      call.path === EXCHANGE_PATH ? answerExchange(world, call) : answerRefresh(world, call),
    refuse: refuseStatus,
  }
}

function answerExchange(world: World, call: Call): Answer {
  const form = readForm(call, EXCHANGE_GRANT, [])
  if ('error' in form) return refuse(form)
  const subject = judgeSubject(world, call, form)
  if (typeof subject !== 'string') return refuse(subject)
  return issue(world, call, { subject, members: { issued_token_type: ACCESS_TOKEN } })
}

/** Who the subject token says it is, else why it is not believed. */
function judgeSubject(world: World, call: Call, form: Form): string | Refusal {
  const { pool } = world.googleIdentities
  const audience = form.get('audience')
  if (audience !== pool) {
    const description = 'The target service indicated by the "audience" parameters is invalid.'
    return { status: 400, error: 'invalid_target', description }
  }
  if (form.get('scope') !== SCOPE) {
    return { status: 400, error: 'invalid_scope', description: 'Unknown scope.' }
  }
  if (form.get('requested_token_type') !== ACCESS_TOKEN)
    return invalidRequest('Invalid requested_token_type')
  const type = form.get('subject_token_type') ?? ''
  const token = form.get('subject_token') ?? ''
  if (type === AWS_REQUEST) {
    const { machine } = world.googleIdentities
    const problem = callerIdentityProblem(token, { machine, audience, nowMs: call.nowMs })
    return problem === null ? 'aws:lab-role' : invalidGrant(problem)
  }
  if (!JWT_TYPES.includes(type)) return invalidRequest('Invalid subject_token_type')
  const options = { audience, nowMs: call.nowMs, onceBy: null }
  const { problem, subject } = world.identities.judge(token, options)
  if (problem === null) return subject
  if (problem === 'expired') return invalidGrant('ID Token issued at 0 is stale to sign-in.')
  if (problem === 'audience')
    return invalidGrant('The audience in ID Token does not match the expected audience.')
  return invalidGrant('Error connecting to the given credential’s issuer: no such key.')
}

/** A workforce user's refresh token is good once: each answer brings the next. */
function answerRefresh(world: World, call: Call): Answer {
  const form = readForm(call, REFRESH_GRANT, ['authorization'])
  if ('error' in form) return refuse(form)
  const { workforceUser, rotate } = world.googleIdentities
  const pair = `${workforceUser.clientId}:${workforceUser.clientSecret.reveal()}`
  const basic = `Basic ${Buffer.from(pair).toString('base64')}`
  if (headerValues(call.headers, 'authorization')[0] !== basic) {
    const description = 'The OAuth client was not found.'
    return refuse({ status: 401, error: 'invalid_client', description })
  }
  if (form.get('refresh_token') !== workforceUser.refreshToken.reveal())
    return refuse(invalidGrant('Token has been expired or revoked.'))
  return issue(world, call, {
    subject: workforceUser.email,
    members: { refresh_token: rotate().reveal() },
  })
}

function issue(
  world: World,
  call: Call,
  {
    subject,
    members,
  }: { readonly subject: string; readonly members: Readonly<Record<string, string>> },
): Answer {
  const { json } = issueToken(
    world.tokens,
    {
      ...{ realm: 'google', subject, lifetimeMs: world.tokenLifetimeMs },
      ...{ prefix: 'ya29.d.', randomBytes: TOKEN_RANDOM_BYTES },
    },
    { effect: call.effect, nowMs: world.clock.nowMs() },
  )
  return textAnswer(200, `${json.slice(0, -1)},${JSON.stringify(members).slice(1)}`)
}
