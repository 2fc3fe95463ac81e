import { type Answer, type Call, jsonAnswer, textAnswer, type Vendor } from './call.ts'
import { headerValues } from './header.ts'
import { isSignedBy, readJwt } from './jwt.ts'
import type { OauthClient, OauthMethod } from './oauth-clients.ts'
import { hasContentType, leakIn } from './strict.ts'
import { issueToken } from './token-answer.ts'
import type { World } from './world.ts'

const PATH = '/oauth2/token'
const BODY_BYTES_MAX = 65_536
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const ASSERTION_SECONDS_MAX = 300
const SKEW_SECONDS = 60
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token'
const SUBJECT_TOKEN_TYPES = [
  'urn:ietf:params:oauth:token-type:jwt',
  'urn:ietf:params:oauth:token-type:id_token',
]
const SCOPES = ['inference', 'models']
const CLIENT_FIELDS = ['client_id', 'client_secret', 'client_assertion', 'client_assertion_type']

/** What each grant takes besides `grant_type` and client authentication: required, then optional. */
const GRANT_FIELDS: ReadonlyMap<string, readonly [readonly string[], readonly string[]]> = new Map([
  ['client_credentials', [[], ['scope', 'audience']]],
  ['refresh_token', [['refresh_token'], ['scope', 'audience']]],
  [
    EXCHANGE,
    [
      ['subject_token', 'subject_token_type'],
      ['requested_token_type', 'scope', 'audience', 'resource'],
    ],
  ],
])

type Form = ReadonlyMap<string, string>

/** A refusal (RFC 6749 §5.2). */
interface Refusal {
  readonly status: number
  readonly error: string
  readonly description: string
}

/**
 * An authorization server (RFC 6749, RFC 7523, RFC 8693) for registered clients. It takes one way of
 * authentication per client, each assertion once, and each refresh token once.
 */
export function createOauthToken(world: World): Vendor {
  const usedIds = new Set<string>()
  return {
    name: 'oauth2.token',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path === PATH,
    answer(call) {
      const form = readForm(call)
      if ('error' in form) return refuse(form)
      const client = authenticate(world, call, { form: form.fields, usedIds })
      if ('error' in client) return refuse(client)
      return answerGrant(world, call, { form: form.fields, client })
    },
    refuse: (status, message) =>
      refuse({
        status,
        error: status >= 500 ? 'server_error' : 'invalid_request',
        description: message,
      }),
  }
}

function readForm(call: Call): { readonly fields: Form } | Refusal {
  if (call.method !== 'POST') return { ...invalidRequest('Method must be POST'), status: 405 }
  if (call.query !== '') return invalidRequest('The token endpoint takes no query')
  const leak = leakIn(call.headers, ['authorization'])
  if (leak !== null) return invalidRequest(leak)
  if (!hasContentType(call, 'application/x-www-form-urlencoded'))
    return invalidRequest('Content-Type must be application/x-www-form-urlencoded')
  const form = new URLSearchParams(Buffer.from(call.body).toString('latin1'))
  const fields = new Map(form)
  if (fields.size !== form.size) return invalidRequest('A parameter is repeated')
  const empty = [...fields].find(([, value]) => value === '')
  if (empty !== undefined) return invalidRequest(`Parameter ${empty[0]} is empty`)
  const taken = GRANT_FIELDS.get(fields.get('grant_type') ?? '')
  if (taken === undefined)
    return { status: 400, error: 'unsupported_grant_type', description: 'Unknown grant_type' }
  const [required, optional] = taken
  const known = ['grant_type', ...CLIENT_FIELDS, ...required, ...optional]
  const unknown = [...fields.keys()].find(name => !known.includes(name))
  if (unknown !== undefined) return invalidRequest(`Unknown parameter: ${unknown}`)
  const missing = required.find(name => !fields.has(name))
  return missing === undefined ? { fields } : invalidRequest(`Missing parameter: ${missing}`)
}

/** The client that proved who it is, by its own method and by no second one. */
function authenticate(
  world: World,
  call: Call,
  { form, usedIds }: { readonly form: Form; readonly usedIds: Set<string> },
): OauthClient | Refusal {
  const basic = headerValues(call.headers, 'authorization')[0]
  const used = [
    basic === undefined ? null : 'basic',
    form.has('client_secret') ? 'post' : null,
    form.has('client_assertion') ? 'private_key_jwt' : null,
  ].filter(one => one !== null)
  if (used.length > 1) return invalidRequest('More than one method of client authentication')
  const method = used[0] ?? 'none'
  if (method === 'basic' && form.has('client_id'))
    return invalidRequest('client_id stands in Authorization already')
  const named = basic === undefined ? null : readBasic(world, basic)
  const client = named?.client ?? world.oauthClients.find(clientIdOf(form))
  if (client === null || client.isDisabled) return invalidClient('Unknown client')
  if (!isMethodOf(client.method, method))
    return invalidClient(`This client must authenticate with ${client.method}`)
  if (method === 'none') return client
  if (method === 'private_key_jwt') return judgeAssertion(world, call, { client, form, usedIds })
  const secret = named?.secret ?? form.get('client_secret')
  return secret === client.clientSecret.reveal() ? client : invalidClient('Wrong secret')
}

function clientIdOf(form: Form): string {
  const assertion = form.get('client_assertion')
  if (assertion === undefined) return form.get('client_id') ?? ''
  return String(readJwt(assertion)?.claims.sub)
}

function isMethodOf(wanted: OauthMethod, used: string): boolean {
  return (wanted === 'basic_raw' ? 'basic' : wanted) === used
}

/** The client that Basic names and the secret that it brings, decoded where the client wants it so. */
function readBasic(
  world: World,
  header: string,
): { readonly client: OauthClient | null; readonly secret: string } {
  const base64 = /^Basic ([\w+/=]+)$/.exec(header)?.[1] ?? ''
  const text = Buffer.from(base64, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  const [id, secret] = [text.slice(0, colon), text.slice(colon + 1)]
  const raw = world.oauthClients.find(id)
  if (raw?.method === 'basic_raw') return { client: raw, secret }
  const client = world.oauthClients.find(formDecoded(id))
  return { client: client?.method === 'basic_raw' ? null : client, secret: formDecoded(secret) }
}

function formDecoded(text: string): string {
  return new URLSearchParams(`v=${text.replaceAll('&', '%26')}`).get('v') ?? ''
}

function judgeAssertion(
  world: World,
  call: Call,
  options: { readonly client: OauthClient; readonly form: Form; readonly usedIds: Set<string> },
): OauthClient | Refusal {
  const { client, form, usedIds } = options
  const jwt = readJwt(form.get('client_assertion') ?? '')
  if (jwt === null || form.get('client_assertion_type') !== ASSERTION_TYPE)
    return invalidClient('Malformed client_assertion')
  if (!isSignedBy(jwt, client.publicKey, client.algorithm))
    return invalidClient('Wrong signature of client_assertion')
  const { iss, sub, aud, iat, exp, jti } = jwt.claims
  if (iss !== client.clientId || sub !== client.clientId)
    return invalidClient('iss and sub must be the client id')
  if (aud !== `${world.origin}${PATH}` && aud !== `${world.origin}/oauth2`)
    return invalidClient('aud names another server')
  const nowSeconds = call.nowMs / 1_000
  const [from, until] = [Number(iat), Number(exp)]
  const isTimely = from <= nowSeconds + SKEW_SECONDS && until > nowSeconds
  if (!isTimely || !(until > from && until - from <= ASSERTION_SECONDS_MAX))
    return invalidClient('client_assertion: iat and exp are not within a reasonable timeframe')
  if (typeof jti !== 'string' || jti === '') return invalidClient('jti is missing')
  if (usedIds.has(jti)) return invalidClient('jti was already used')
  usedIds.add(jti)
  return client
}

function answerGrant(
  world: World,
  call: Call,
  { form, client }: { readonly form: Form; readonly client: OauthClient },
): Answer {
  const scopes = (form.get('scope') ?? SCOPES.join(' ')).split(' ')
  const unknown = scopes.find(scope => !SCOPES.includes(scope))
  if (unknown !== undefined)
    return refuse({ status: 400, error: 'invalid_scope', description: `No scope "${unknown}"` })
  const grant = form.get('grant_type')
  if (grant === EXCHANGE) return answerExchange(world, call, { form, client })
  if (grant === 'refresh_token') {
    const redeemed = world.oauthClients.redeem(client, form.get('refresh_token') ?? '')
    if (typeof redeemed === 'object') {
      const next = redeemed.refreshToken?.reveal()
      return issue(world, call, { client, members: { refresh_token: next } })
    }
    if (redeemed === 'replayed') world.tokens.revoke({ realm: 'oauth2', subject: client.clientId })
    const description = `The refresh token is ${redeemed}`
    return refuse({ status: 400, error: 'invalid_grant', description })
  }
  if (client.method !== 'none') return issue(world, call, { client, members: {} })
  const description = 'A public client has no credentials'
  return refuse({ status: 400, error: 'unauthorized_client', description })
}

function answerExchange(
  world: World,
  call: Call,
  { form, client }: { readonly form: Form; readonly client: OauthClient },
): Answer {
  if (!SUBJECT_TOKEN_TYPES.includes(form.get('subject_token_type') ?? ''))
    return refuse(invalidRequest('Unknown subject_token_type'))
  if ((form.get('requested_token_type') ?? ACCESS_TOKEN_TYPE) !== ACCESS_TOKEN_TYPE)
    return refuse(invalidRequest('Only access tokens are issued here'))
  const { problem } = world.identities.judge(form.get('subject_token') ?? '', {
    audience: `${world.origin}/oauth2`,
    nowMs: call.nowMs,
    onceBy: null,
  })
  if (problem !== null) {
    const description = `subject_token: ${problem}`
    return refuse({ status: 400, error: 'invalid_grant', description })
  }
  return issue(world, call, { client, members: { issued_token_type: ACCESS_TOKEN_TYPE } })
}

function issue(
  world: World,
  call: Call,
  options: {
    readonly client: OauthClient
    readonly members: Readonly<Record<string, string | undefined>>
  },
): Answer {
  const { json } = issueToken(
    world.tokens,
    {
      realm: 'oauth2',
      subject: options.client.clientId,
      lifetimeMs: world.tokenLifetimeMs,
      prefix: 'lab-at-',
      randomBytes: 48,
    },
    { effect: call.effect, nowMs: world.clock.nowMs() },
  )
  const more = Object.entries(options.members)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `,${JSON.stringify(name)}:${JSON.stringify(value)}`)
  return textAnswer(200, `${json.slice(0, -1)}${more.join('')}}`, [['cache-control', 'no-store']])
}

function invalidRequest(description: string): Refusal {
  return { status: 400, error: 'invalid_request', description }
}

function invalidClient(description: string): Refusal {
  return { status: 401, error: 'invalid_client', description }
}

function refuse({ status, error, description }: Refusal): Answer {
  const challenge: readonly [string, string] = ['www-authenticate', 'Basic realm="lab"']
  const body = { error, error_description: description }
  return jsonAnswer(status, body, status === 401 ? [challenge] : [])
}
