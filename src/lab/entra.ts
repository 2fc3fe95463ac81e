import { type Answer, type Call, jsonAnswer, textAnswer, type Vendor } from './call.ts'
import { isSignedBy, readJwt } from './jwt.ts'
import { hasContentType, leakIn } from './strict.ts'
import { issueToken } from './token-answer.ts'
import type { World } from './world.ts'

const PATH = /^\/([^/]+)\/oauth2\/v2\.0\/token$/
const BODY_BYTES_MAX = 65_536
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const ASSERTION_SECONDS_MAX = 600
/** Entra ID forgives clocks that are five minutes off. */
const SKEW_MS = 300_000
const LONG_LIFE_MS = 7_200_000
/** Entra ID's tokens are about two kilobytes long. */
const TOKEN_RANDOM_BYTES = 1_200

const BASE_FIELDS = ['client_id', 'scope', 'grant_type']
const ASSERTION_CLAIMS = ['aud', 'iss', 'sub', 'jti', 'nbf', 'exp', 'iat']

/** The resources that tokens are issued for, by what stands before `/.default`. */
export const AZURE_RESOURCES: ReadonlyMap<string, 'azure.ai' | 'azure.cognitiveservices'> = new Map(
  [
    ['https://ai.azure.com', 'azure.ai'],
    ['https://cognitiveservices.azure.com', 'azure.cognitiveservices'],
  ],
)

type Form = ReadonlyMap<string, string>

/** A refusal in Entra ID's words. */
interface Refusal {
  readonly status: number
  readonly error: string
  readonly number: number
  readonly text: string
}

/**
 * Entra ID's token endpoint for an application: client secret, certificate or federated token
 * against an access token. It takes exactly one of them and refuses by AADSTS numbers.
 */
export function createEntra(world: World): Vendor {
  const usedIds = new Set<string>()
  return {
    name: 'entra.token',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => PATH.test(path),
    answer(call) {
      const form = readForm(world, call)
      const refusal = 'error' in form ? form : clientRefusal(world, call, { ...form, usedIds })
      if (refusal !== null) return refuse(world, refusal)
      if ('error' in form) return refuse(world, form)
      const realm = AZURE_RESOURCES.get(
        (form.fields.get('scope') ?? '').replace(/\/\.default$/, ''),
      )
      if (realm === undefined) return refuse(world, unknownResource())
      return issue(world, call, realm)
    },
    refuse(status, message) {
      const error = status >= 500 ? 'server_error' : 'invalid_request'
      return refuse(world, { status, error, number: status >= 500 ? 90033 : 90014, text: message })
    },
  }
}

function readForm(world: World, call: Call): { readonly fields: Form } | Refusal {
  const [, tenant] = PATH.exec(call.path) ?? []
  if (tenant !== world.azure.tenantId) {
    const text = `Tenant '${tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.`
    return { status: 400, error: 'invalid_request', number: 90002, text }
  }
  if (call.method !== 'POST') return malformed(900561, 'The endpoint only accepts POST requests.')
  if (call.query !== '') return malformed(90014, 'The token endpoint takes no query.')
  const leak = leakIn(call.headers, [])
  if (leak !== null) return malformed(90014, leak)
  if (!hasContentType(call, 'application/x-www-form-urlencoded'))
    return malformed(900144, 'The request body must be form-encoded.')
  const form = new URLSearchParams(Buffer.from(call.body).toString('latin1'))
  const fields = new Map(form)
  if (fields.size !== form.size) return malformed(9002313, 'Invalid request. It is malformed.')
  const proof = fields.has('client_assertion')
    ? ['client_assertion', 'client_assertion_type']
    : ['client_secret']
  const expected = [...BASE_FIELDS, ...proof]
  const unknown = [...fields.keys()].find(name => !expected.includes(name))
  if (unknown === 'client_secret')
    return malformed(700025, 'Client is presented with both secret and assertion.')
  if (unknown !== undefined) return malformed(90014, `Unknown parameter '${unknown}'.`)
  if (!fields.has('client_secret') && !fields.has('client_assertion')) {
    const text =
      "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
    return { status: 401, error: 'invalid_client', number: 7000218, text }
  }
  const missing = expected.find(name => (fields.get(name) ?? '') === '')
  if (missing !== undefined)
    return malformed(900144, `The request body must contain the parameter: '${missing}'.`)
  return { fields }
}

function clientRefusal(
  world: World,
  call: Call,
  { fields, usedIds }: { readonly fields: Form; readonly usedIds: Set<string> },
): Refusal | null {
  const { azure } = world
  const clientId = fields.get('client_id') ?? ''
  if (fields.get('grant_type') !== 'client_credentials') {
    const text = `The app requested an unsupported grant type '${fields.get('grant_type')}'.`
    return { status: 400, error: 'unsupported_grant_type', number: 70003, text }
  }
  if (clientId !== azure.clientId) {
    const text = `Application with identifier '${clientId}' was not found in the directory 'Lab'.`
    return { status: 400, error: 'unauthorized_client', number: 700016, text }
  }
  const scope = fields.get('scope') ?? ''
  if (!/^\S+\/\.default$/.test(scope)) {
    const text = `The provided value for scope ${scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).`
    return { status: 400, error: 'invalid_scope', number: 1002012, text }
  }
  const secret = fields.get('client_secret')
  if (secret !== undefined) {
    if (secret === azure.clientSecret.reveal()) return null
    const text = `Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '${clientId}'.`
    return { status: 401, error: 'invalid_client', number: 7000215, text }
  }
  if (fields.get('client_assertion_type') !== ASSERTION_TYPE)
    return malformed(900144, 'client_assertion_type is not valid.')
  return assertionRefusal(world, call, { assertion: fields.get('client_assertion') ?? '', usedIds })
}

/** Of the app's own certificate, or of the issuer that it trusts. */
function assertionRefusal(
  world: World,
  call: Call,
  { assertion, usedIds }: { readonly assertion: string; readonly usedIds: Set<string> },
): Refusal | null {
  const jwt = readJwt(assertion)
  if (jwt === null) return badAssertion(50027, 'JWT token is invalid or malformed.')
  if (jwt.header.alg === 'ES256') return federationRefusal(world, call, assertion)
  const { azure } = world
  const certificate = azure.certificate()
  const { alg, typ, ...header } = jwt.header
  const isNamed = header['x5t#S256'] === certificate.thumbprint && Object.keys(header).length === 1
  if (typ !== 'JWT' || !isNamed || !isSignedBy(jwt, certificate.publicKey, 'PS256')) {
    const text = `Client assertion failed signature validation. [Reason - The key was not found., algorithm ${String(alg)}]`
    return badAssertion(700027, text)
  }
  const { aud, iss, sub, jti, nbf, exp } = jwt.claims
  const unknown = Object.keys(jwt.claims).find(name => !ASSERTION_CLAIMS.includes(name))
  if (unknown !== undefined) return badAssertion(50027, `Unknown claim '${unknown}'.`)
  if (iss !== azure.clientId || sub !== azure.clientId)
    return badAssertion(700021, 'Client assertion application identifier does not match.')
  if (aud !== `${world.origin}${call.path}`)
    return badAssertion(700023, 'Client assertion audience does not match realm issuer.')
  const [from, until] = [Number(nbf) * 1_000, Number(exp) * 1_000]
  const isTimely = from <= call.nowMs + SKEW_MS && until >= call.nowMs - SKEW_MS
  if (!isTimely || !(until > from && until - from <= ASSERTION_SECONDS_MAX * 1_000))
    return outOfTime(call.nowMs)
  if (typeof jti !== 'string' || jti === '' || usedIds.has(jti))
    return badAssertion(50027, 'The jti of the client assertion is missing or was used before.')
  usedIds.add(jti)
  return null
}

function federationRefusal(world: World, call: Call, assertion: string): Refusal | null {
  const { audience, subject } = world.azure.federation
  const verdict = world.identities.judge(assertion, {
    audience,
    nowMs: call.nowMs - SKEW_MS,
    onceBy: null,
  })
  const unmatched = `No matching federated identity record found for presented assertion subject '${verdict.subject}'.`
  if (verdict.problem === 'expired') return outOfTime(call.nowMs)
  if (verdict.problem === 'audience')
    return badAssertion(700212, 'No matching federated identity record found for the audience.')
  if (verdict.problem === 'signature')
    return badAssertion(700211, 'No matching federated identity record found for the issuer.')
  if (verdict.problem !== null) return badAssertion(50013, 'Assertion failed signature validation.')
  return verdict.subject === subject ? null : badAssertion(700213, unmatched)
}

function issue(world: World, call: Call, realm: 'azure.ai' | 'azure.cognitiveservices'): Answer {
  const { token, json } = issueToken(
    world.tokens,
    {
      realm,
      subject: world.azure.clientId,
      lifetimeMs: world.tokenLifetimeMs,
      prefix: 'lab-entra-',
      randomBytes: TOKEN_RANDOM_BYTES,
    },
    { effect: call.effect, nowMs: world.clock.nowMs() },
  )
  const lifetimeMs = token.expiresAtMs - world.clock.nowMs()
  const half = lifetimeMs >= LONG_LIFE_MS ? `,"refresh_in":${Math.floor(lifetimeMs / 2_000)}` : ''
  const extended = `,"ext_expires_in":${Math.floor(lifetimeMs / 1_000)}`
  return textAnswer(200, `${json.slice(0, -1)}${extended}${half}}`, [['cache-control', 'no-store']])
}

function outOfTime(nowMs: number): Refusal {
  const now = new Date(nowMs).toISOString()
  const text = `Client assertion is not within its valid time range. Current time: ${now}.`
  return badAssertion(700024, text)
}

function unknownResource(): Refusal {
  const text = 'The resource principal was not found in the tenant named Lab.'
  return { status: 400, error: 'invalid_resource', number: 500011, text }
}

function badAssertion(number: number, text: string): Refusal {
  return { status: 401, error: 'invalid_client', number, text }
}

function malformed(number: number, text: string): Refusal {
  return { status: 400, error: 'invalid_request', number, text }
}

function refuse(world: World, { status, error, number, text }: Refusal): Answer {
  const ids = { trace_id: world.newId(), correlation_id: world.newId() }
  const timestamp = new Date(world.clock.nowMs()).toISOString().replace('T', ' ').slice(0, 19)
  const trail = `Trace ID: ${ids.trace_id} Correlation ID: ${ids.correlation_id} Timestamp: ${timestamp}Z`
  return jsonAnswer(status, {
    error,
    error_description: `AADSTS${number}: ${text} ${trail}`,
    error_codes: [number],
    timestamp: `${timestamp}Z`,
    ...ids,
    error_uri: `${world.origin}/error?code=${number}`,
  })
}
