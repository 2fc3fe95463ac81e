import { type KeyObject, verify } from 'node:crypto'
import type { ServiceAccount } from './accounts.ts'
import { type Answer, type Call, textAnswer, type Vendor } from './call.ts'
import {
  type Form,
  type GrantFields,
  invalidGrant,
  type Refusal,
  readForm,
  refuse,
  refuseStatus,
} from './google-form.ts'
import { type JsonObject, parseObject } from './json.ts'
import { issueToken } from './token-answer.ts'
import type { World } from './world.ts'

const PATH = '/token'
const BODY_BYTES_MAX = 65_536
const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const GRANTS: ReadonlyMap<string, GrantFields> = new Map([
  [JWT_BEARER, { required: ['assertion'], optional: [] }],
  [
    'refresh_token',
    { required: ['refresh_token', 'client_id', 'client_secret'], optional: ['scope'] },
  ],
])
const CLAIMS = ['iss', 'scope', 'aud', 'iat', 'exp', 'sub']
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
const ASSERTION_SECONDS_MAX = 3_600
const SKEW_SECONDS = 60
/** Google's tokens are about a kilobyte long. */
const TOKEN_RANDOM_BYTES = 768

const UNREASONABLE_TIME =
  'Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.'

/**
 * Google's token endpoint: a service account's signed JWT (AIP-4112) or a person's refresh token
 * (AIP-4113) against an access token. It takes exactly what Google documents and refuses in Google's
 * words.
 */
export function createGoogleToken(world: World): Vendor {
  return {
    name: 'google.token',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path === PATH,
    answer: call => answerToken(world, call),
    refuse: refuseStatus,
  }
}

function answerToken(world: World, call: Call): Answer {
  const form = readForm(call, GRANTS, [])
  if ('error' in form) return refuse(form)
  const subject =
    form.get('grant_type') === JWT_BEARER
      ? judgeAssertion(form.get('assertion') ?? '', {
          findAccount: world.accounts.find,
          publicKey: world.accounts.publicKey,
          tokenUrl: `${world.origin}${PATH}`,
          nowSeconds: call.nowMs / 1_000,
        })
      : judgeSignIn(world, form)
  if (typeof subject !== 'string') return refuse(subject)
  const { json } = issueToken(
    world.tokens,
    {
      realm: 'google',
      subject,
      lifetimeMs: world.tokenLifetimeMs,
      prefix: 'ya29.c.',
      randomBytes: TOKEN_RANDOM_BYTES,
    },
    { effect: call.effect, nowMs: world.clock.nowMs() },
  )
  return textAnswer(200, json, [['cache-control', 'no-cache, no-store, max-age=0']])
}

/** The person who signed in, else why nobody did. */
function judgeSignIn(world: World, form: Form): string | Refusal {
  const { user } = world.googleIdentities
  const isClient =
    form.get('client_id') === user.clientId &&
    form.get('client_secret') === user.clientSecret.reveal()
  if (!isClient) {
    const description = 'The OAuth client was not found.'
    return { status: 401, error: 'invalid_client', description }
  }
  if (form.get('refresh_token') === user.refreshToken.reveal()) return user.email
  return invalidGrant('Token has been expired or revoked.')
}

interface Judge {
  readonly findAccount: (email: string) => ServiceAccount | null
  readonly publicKey: KeyObject
  readonly tokenUrl: string
  readonly nowSeconds: number
}

/** The address of the account that signed the assertion, else why nobody did. */
function judgeAssertion(assertion: string, judge: Judge): string | Refusal {
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
  return claimsRefusal(claims, judge) ?? account.email
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
