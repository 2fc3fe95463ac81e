import { type KeyObject, verify } from 'node:crypto'
import type { ServiceAccount } from './accounts.ts'
import { type Answer, type Call, jsonAnswer, textAnswer, type Vendor } from './call.ts'
import { type JsonObject, parseObject } from './json.ts'
import { hasContentType, leakIn } from './strict.ts'
import { issueToken } from './token-answer.ts'
import type { World } from './world.ts'

const PATH = '/token'
const BODY_BYTES_MAX = 65_536
const GRANT_TYPE = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const FIELDS = ['grant_type', 'assertion']
const CLAIMS = ['iss', 'scope', 'aud', 'iat', 'exp', 'sub']
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
const ASSERTION_SECONDS_MAX = 3_600
const SKEW_SECONDS = 60
/** Google's tokens are about a kilobyte long. */
const TOKEN_RANDOM_BYTES = 768

const UNREASONABLE_TIME =
  'Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.'

/** A refusal of the token endpoint (RFC 6749 §5.2). */
interface Refusal {
  readonly status: number
  readonly error: string
  readonly description: string
}

/**
 * Google's token endpoint for service-account keys (AIP-4112): a signed JWT against an access
 * token. It takes exactly what Google documents and refuses in Google's words.
 */
export function createGoogleToken(world: World): Vendor {
  return {
    name: 'google.token',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path === PATH,
    answer: call => answerToken(world, call),
    refuse(status, message) {
      return refuse({ status, error: statusError(status), description: message })
    },
  }
}

function answerToken(world: World, call: Call): Answer {
  const assertion = readForm(call)
  if (typeof assertion !== 'string') return refuse(assertion)
  const account = judgeAssertion(assertion, {
    findAccount: world.accounts.find,
    publicKey: world.accounts.publicKey,
    tokenUrl: `${world.origin}${PATH}`,
    nowSeconds: call.nowMs / 1_000,
  })
  if ('error' in account) return refuse(account)
  const { json } = issueToken(
    world.tokens,
    {
      realm: 'google',
      subject: account.email,
      lifetimeMs: world.tokenLifetimeMs,
      prefix: 'ya29.c.',
      randomBytes: TOKEN_RANDOM_BYTES,
    },
    { effect: call.effect, nowMs: world.clock.nowMs() },
  )
  return textAnswer(200, json, [['cache-control', 'no-cache, no-store, max-age=0']])
}

/** The assertion in a well-formed request, else why the request is none. */
function readForm(call: Call): string | Refusal {
  if (call.method !== 'POST') return invalidRequest('Method must be POST', 405)
  if (call.query !== '') return invalidRequest('The token endpoint takes no query')
  const leak = leakIn(call.headers, [])
  if (leak !== null) return invalidRequest(leak)
  if (!hasContentType(call, 'application/x-www-form-urlencoded'))
    return invalidRequest('Content-Type must be application/x-www-form-urlencoded')
  const text = Buffer.from(call.body).toString('latin1')
  if (!/^(?:[\w*.\-+=&~!'()]|%[0-9A-Fa-f]{2})*$/.test(text))
    return invalidRequest('The body is not form-encoded')
  const form = new URLSearchParams(text)
  const names = [...form.keys()]
  const unknown = names.find(name => !FIELDS.includes(name))
  if (unknown !== undefined) return invalidRequest(`Unknown parameter: ${unknown}`)
  for (const name of FIELDS) {
    const values = form.getAll(name)
    if (values.length > 1) return invalidRequest(`Duplicate parameter: ${name}`)
    if (values.length === 0 || values[0] === '')
      return invalidRequest(`Missing required parameter: ${name}`)
  }
  if (form.get('grant_type') !== GRANT_TYPE) {
    const description = `Invalid grant_type: ${form.get('grant_type')}`
    return { status: 400, error: 'unsupported_grant_type', description }
  }
  return form.get('assertion') ?? ''
}

interface Judge {
  readonly findAccount: (email: string) => ServiceAccount | null
  readonly publicKey: KeyObject
  readonly tokenUrl: string
  readonly nowSeconds: number
}

/** The account that signed the assertion, else why nobody did. */
function judgeAssertion(assertion: string, judge: Judge): ServiceAccount | Refusal {
  const parts = assertion.split('.')
  const [head = '', payload = '', signature = ''] = parts
  if (parts.length !== 3 || !parts.every(part => /^[\w-]+$/.test(part)))
    return invalidGrant('Invalid JWT: Bad JWT format.')
  const header = parseObject(Buffer.from(head, 'base64url'))
  const claims = parseObject(Buffer.from(payload, 'base64url'))
  if (header === null || claims === null) return invalidGrant('Invalid JWT: Bad JWT format.')
  if (header.alg !== 'RS256' || header.typ !== 'JWT')
    return invalidGrant('Invalid JWT: Header must say alg RS256 and typ JWT.')
  const issuer = claims.iss
  const account = typeof issuer === 'string' ? judge.findAccount(issuer) : null
  if (account === null) return invalidGrant('Invalid grant: account not found')
  const isSigned =
    header.kid === account.keyId &&
    verify(
      'RSA-SHA256',
      Buffer.from(`${head}.${payload}`),
      judge.publicKey,
      Buffer.from(signature, 'base64url'),
    )
  if (!isSigned) return invalidGrant('Invalid JWT Signature.')
  if (account.isDisabled) {
    const description = 'The OAuth client was disabled.'
    return { status: 401, error: 'disabled_client', description }
  }
  return claimsRefusal(claims, judge) ?? account
}

function claimsRefusal(claims: JsonObject, judge: Judge): Refusal | null {
  const { aud, iat, exp, scope, sub, iss } = claims
  const unknown = Object.keys(claims).find(name => !CLAIMS.includes(name))
  if (unknown !== undefined) return invalidGrant(`Invalid JWT: Unknown claim ${unknown}.`)
  if (aud !== judge.tokenUrl) return invalidGrant('Invalid JWT: Failed audience check.')
  if (!areReasonable(iat, exp, judge.nowSeconds)) return invalidGrant(UNREASONABLE_TIME)
  if (typeof scope !== 'string' || !scope.split(' ').includes(SCOPE)) {
    const description = 'Invalid OAuth scope or ID token audience provided.'
    return { status: 400, error: 'invalid_scope', description }
  }
  if (sub !== undefined && sub !== iss) {
    const description =
      'Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.'
    return { status: 401, error: 'unauthorized_client', description }
  }
  return null
}

function areReasonable(iat: unknown, exp: unknown, nowSeconds: number): boolean {
  if (typeof iat !== 'number' || typeof exp !== 'number') return false
  if (!Number.isInteger(iat) || !Number.isInteger(exp)) return false
  const isLive = iat <= nowSeconds + SKEW_SECONDS && exp > nowSeconds
  return isLive && exp > iat && exp - iat <= ASSERTION_SECONDS_MAX
}

function invalidRequest(description: string, status = 400): Refusal {
  return { status, error: 'invalid_request', description }
}

function invalidGrant(description: string): Refusal {
  return { status: 400, error: 'invalid_grant', description }
}

function refuse({ status, error, description }: Refusal): Answer {
  return jsonAnswer(status, { error, error_description: description })
}

function statusError(status: number): string {
  if (status === 429) return 'rate_limit_exceeded'
  return status >= 500 ? 'internal_failure' : 'invalid_request'
}
