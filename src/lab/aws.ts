import type { AwsKeys } from './aws-accounts.ts'
import { type AwsProblem, verifyCall } from './aws-verify.ts'
import { type Answer, type Call, jsonAnswer, type Vendor } from './call.ts'
import { headerValues } from './header.ts'
import type { Lab } from './running-lab.ts'
import { hasContentType, leakIn } from './strict.ts'
import type { World } from './world.ts'

const STS_PATH = '/aws/sts'
const BODY_BYTES_MAX = 65_536
const NAMESPACE = 'https://sts.amazonaws.com/doc/2011-06-15/'
const VERSION = '2011-06-15'

const COMMON = ['Action', 'Version', 'DurationSeconds']
const ROLE = [...COMMON, 'RoleArn', 'RoleSessionName']
const ACTIONS: ReadonlyMap<string, readonly string[]> = new Map([
  ['GetSessionToken', COMMON],
  ['AssumeRole', ROLE],
  ['AssumeRoleWithWebIdentity', [...ROLE, 'WebIdentityToken']],
])

/** The Security Token Service: session keys for a user's keys, or for a web identity token. */
export function createAwsSts(world: World): Vendor {
  return {
    name: 'aws.sts',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path === STS_PATH,
    refuse: (status, message) =>
      stsError(status, status === 429 ? 'Throttling' : 'ServiceUnavailable', message),
    answer(call) {
      const leak = leakIn(call.headers, ['authorization'])
      if (leak !== null) return stsError(400, 'ValidationError', leak)
      const fields = readForm(call)
      if (typeof fields === 'string') return stsError(400, 'ValidationError', fields)
      const action = fields.get('Action') ?? ''
      const refusal =
        action === 'AssumeRoleWithWebIdentity'
          ? identityProblem(world, call, fields)
          : signatureProblem(world, call, action)
      if (refusal !== null) return refusal
      if (fields.has('RoleArn') && fields.get('RoleArn') !== world.aws.roleArn) {
        const what = `Not authorized to perform sts:${action}`
        return stsError(403, 'AccessDenied', what)
      }
      const limitMs = Number(fields.get('DurationSeconds')) * 1_000
      return stsAnswer(action, newSession(world, call, Math.min(limitMs, world.tokenLifetimeMs)))
    },
  }
}

/** Version 2 of the instance metadata service: nothing without a token of its own. */
export function createAwsMetadata(world: World): Vendor {
  const prefix = '/latest/meta-data/iam/security-credentials/'
  const tokens = new Set<string>()
  return {
    name: 'aws.imds',
    bodyBytesMax: 0,
    owns: path => path.startsWith('/latest/'),
    refuse: (status, message) => jsonAnswer(status, { Code: 'Failed', Message: message }),
    answer(call) {
      if (leakIn(call.headers, []) !== null) return plain(400, 'Bad Request')
      if (call.path === '/latest/api/token') {
        const [ttl = ''] = headerValues(call.headers, 'x-aws-ec2-metadata-token-ttl-seconds')
        if (call.method !== 'PUT') return plain(405, 'Method Not Allowed')
        if (!/^\d{1,5}$/.test(ttl) || Number(ttl) < 1 || Number(ttl) > 21_600)
          return plain(400, 'Bad Request')
        const token = world.newId()
        tokens.add(token)
        return plain(200, token)
      }
      const [token = ''] = headerValues(call.headers, 'x-aws-ec2-metadata-token')
      if (call.method !== 'GET') return plain(405, 'Method Not Allowed')
      if (!tokens.has(token)) return plain(401, 'Unauthorized')
      if (call.path === prefix) return plain(200, world.aws.roleName)
      if (call.path !== `${prefix}${world.aws.roleName}`) return plain(404, 'Not Found')
      const keys = newSession(world, call, world.tokenLifetimeMs)
      return jsonAnswer(200, {
        Code: 'Success',
        LastUpdated: instantText(call.nowMs),
        Type: 'AWS-HMAC',
        ...membersOf(keys),
      })
    },
  }
}

/** The endpoint that containers ask, on ECS and EKS. Its token comes without `Bearer`. */
export function createAwsContainer(world: World): Vendor {
  return {
    name: 'aws.container',
    bodyBytesMax: 0,
    owns: path => path === '/aws/container',
    refuse: (status, message) => jsonAnswer(status, { Code: 'InternalFailure', Message: message }),
    answer(call) {
      const refuse = (status: number, code: string, message: string) =>
        jsonAnswer(status, { Code: code, Message: message })
      const leak = leakIn(call.headers, ['authorization'])
      if (leak !== null || call.method !== 'GET')
        return refuse(400, 'InvalidRequestException', leak ?? 'Only GET is taken')
      const [token = ''] = headerValues(call.headers, 'authorization')
      if (token !== world.aws.containerToken.reveal())
        return refuse(401, 'AccessDeniedException', 'The authorization token is not known')
      return jsonAnswer(200, membersOf(newSession(world, call, world.tokenLifetimeMs)))
    },
  }
}

/** An error of the Query protocol. */
function stsError(status: number, code: string, message: string): Answer {
  const type = status >= 500 ? 'Receiver' : 'Sender'
  const error = `<Type>${type}</Type><Code>${code}</Code><Message>${xmlText(message)}</Message>`
  return xmlAnswer(
    status,
    `<ErrorResponse xmlns="${NAMESPACE}">\n  <Error>${error}</Error>\n  <RequestId>lab</RequestId>\n</ErrorResponse>\n`,
  )
}

function stsAnswer(action: string, keys: AwsKeys): Answer {
  const { Token, ...members } = membersOf(keys)
  const credentials = Object.entries({ ...members, SessionToken: Token })
    .map(([name, value]) => `      <${name}>${xmlText(value)}</${name}>\n`)
    .join('')
  const result = `  <${action}Result>\n    <Credentials>\n${credentials}    </Credentials>\n  </${action}Result>`
  const metadata = '  <ResponseMetadata>\n    <RequestId>lab</RequestId>\n  </ResponseMetadata>'
  return xmlAnswer(
    200,
    `<${action}Response xmlns="${NAMESPACE}">\n${result}\n${metadata}\n</${action}Response>\n`,
  )
}

/** The form, whole and without anything else, or why it is none. */
function readForm(call: Call): ReadonlyMap<string, string> | string {
  if (call.method !== 'POST' || call.query !== '') return 'Only POST of a form is taken'
  if (!hasContentType(call, 'application/x-www-form-urlencoded'))
    return 'Content-Type must be application/x-www-form-urlencoded'
  const form = [...new URLSearchParams(Buffer.from(call.body).toString())]
  const fields = new Map(form)
  const expected = ACTIONS.get(fields.get('Action') ?? '') ?? []
  const wrong = form.find(([name, value]) => !expected.includes(name) || value === '')
  if (wrong !== undefined || fields.size !== form.length || fields.size !== expected.length)
    return `Parameter ${wrong?.[0] ?? 'set'} is wrong for this action`
  const seconds = Number(fields.get('DurationSeconds'))
  const isRight = fields.get('Version') === VERSION && seconds >= 900 && seconds <= 43_200
  return isRight ? fields : 'Version or DurationSeconds is out of range'
}

function identityProblem(
  world: World,
  call: Call,
  fields: ReadonlyMap<string, string>,
): Answer | null {
  if (headerValues(call.headers, 'authorization').length > 0)
    return stsError(400, 'ValidationError', 'This action is not signed')
  const { problem } = world.identities.judge(fields.get('WebIdentityToken') ?? '', {
    audience: world.aws.audience,
    nowMs: call.nowMs,
    onceBy: null,
  })
  if (problem === null) return null
  if (problem === 'expired') return stsError(400, 'ExpiredTokenException', 'Token expired')
  return stsError(400, 'InvalidIdentityToken', `The web identity token is refused: ${problem}`)
}

function signatureProblem(world: World, call: Call, action: string): Answer | null {
  const verifier = { accounts: world.aws, tokens: world.tokens, service: 'sts' }
  const keys = verifyCall(verifier, call)
  if (isProblem(keys)) {
    const code = keys.code === 'UnrecognizedClientException' ? 'InvalidClientTokenId' : keys.code
    return stsError(403, code, keys.message)
  }
  if (action !== 'GetSessionToken' || keys.session === null) return null
  return stsError(403, 'AccessDenied', 'Cannot call GetSessionToken with session credentials')
}

function isProblem(keys: AwsKeys | AwsProblem): keys is AwsProblem {
  return 'code' in keys
}

function newSession(world: World, { effect }: Call, lifetimeMs: number): AwsKeys {
  const keys = world.aws.startSession(world.aws.roleName, lifetimeMs)
  if (effect.isRevoked && keys.session !== null) world.tokens.revoke({ id: keys.session.id })
  return keys
}

function membersOf({ accessKeyId, secretAccessKey, session }: AwsKeys) {
  return {
    AccessKeyId: accessKeyId,
    SecretAccessKey: secretAccessKey.reveal(),
    Token: session?.value.reveal() ?? '',
    Expiration: instantText(session?.expiresAtMs ?? 0),
  }
}

/** Whole seconds, as AWS writes it. */
function instantText(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(0, 19)}Z`
}

function plain(status: number, text: string): Answer {
  return { status, headers: [['content-type', 'text/plain']], body: new TextEncoder().encode(text) }
}

function xmlAnswer(status: number, xml: string): Answer {
  return { status, headers: [['content-type', 'text/xml']], body: new TextEncoder().encode(xml) }
}

function xmlText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

/** What a provider of type `aws-bedrock` is told, for each of its sources. */
export function awsKeys({ origin, aws, identityToken }: Lab): Readonly<Record<string, string>> {
  return {
    AWS_REGION: aws.region,
    AWS_ROLE_ARN: aws.roleArn,
    AWS_ACCESS_KEY_ID: aws.user.accessKeyId,
    AWS_SECRET_ACCESS_KEY: aws.user.secretAccessKey.reveal(),
    AWS_BEARER_TOKEN_BEDROCK: aws.bedrockKey.reveal(),
    AWS_WEB_IDENTITY_TOKEN: identityToken({ audience: aws.audience }).reveal(),
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `${origin}/aws/container`,
    AWS_CONTAINER_AUTHORIZATION_TOKEN: aws.containerToken.reveal(),
    AWS_EC2_METADATA_SERVICE_ENDPOINT: origin,
    AWS_ENDPOINT_URL_STS: `${origin}${STS_PATH}`,
    AWS_ENDPOINT_URL_BEDROCK_RUNTIME: `${origin}/bedrock`,
  }
}
