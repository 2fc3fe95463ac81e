import { type Answer, type Call, jsonAnswer, textAnswer, type Vendor } from './call.ts'
import { AZURE_RESOURCES } from './entra.ts'
import { headerValues } from './header.ts'
import { leakIn } from './strict.ts'
import { issueToken } from './token-answer.ts'
import type { World } from './world.ts'

const METADATA_PATH = '/metadata/identity/oauth2/token'
const APP_SERVICE_PATH = '/msi/token'
const BODY_BYTES_MAX = 1_024
const TOKEN_RANDOM_BYTES = 1_200
const PARAMETERS = ['api-version', 'resource', 'client_id']

/** What asks: a virtual machine, a machine that Azure Arc connects, an app of App Service. */
type Kind = 'imds' | 'arc' | 'app_service'

const KINDS: ReadonlyMap<string, Kind> = new Map([
  [`${METADATA_PATH} 2018-02-01`, 'imds'],
  [`${METADATA_PATH} 2020-06-01`, 'arc'],
  [`${APP_SERVICE_PATH} 2019-08-01`, 'app_service'],
])

/** In which header each is proven to be itself, where it is by one. */
const PROOFS = { imds: [], arc: ['authorization'], app_service: ['x-identity-header'] } as const

/** The endpoints from which programs on Azure have their machine's identity. */
export function createAzureIdentity(world: World): Vendor {
  return {
    name: 'azure.identity',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path === METADATA_PATH || path === APP_SERVICE_PATH,
    answer: call => answerIdentity(world, call),
    refuse: (status, message) => identityError(status, 'invalid_request', message),
  }
}

function answerIdentity(world: World, call: Call): Answer {
  const query = new URLSearchParams(call.query)
  const kind = KINDS.get(`${call.path} ${query.get('api-version')}`)
  if (kind === undefined) return identityError(400, 'invalid_request', 'Unknown api-version')
  const leak = leakIn(call.headers, PROOFS[kind])
  if (leak !== null) return identityError(400, 'invalid_request', leak)
  if (call.method !== 'GET' || call.body.byteLength > 0)
    return identityError(405, 'invalid_request', 'Only GET without a body is taken')
  const unknown = [...query.keys()].find(name => !PARAMETERS.includes(name))
  const repeated = PARAMETERS.find(name => query.getAll(name).length > 1)
  if (unknown !== undefined || repeated !== undefined)
    return identityError(400, 'invalid_request', `Parameter ${unknown ?? repeated} is wrong here`)
  const refusal = callerRefusal(world, call, kind)
  if (refusal !== null) return refusal
  const clientId = query.get('client_id')
  if (clientId !== null && (kind === 'arc' || clientId !== world.azure.clientId))
    return notFound(kind)
  const resource = query.get('resource') ?? ''
  const realm = AZURE_RESOURCES.get(resource)
  if (realm === undefined) {
    const text = `AADSTS500011: The resource principal named ${resource} was not found.`
    return identityError(400, 'invalid_resource', text)
  }
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
  const more = {
    expires_on: String(Math.floor(token.expiresAtMs / 1_000)),
    not_before: String(Math.floor(token.issuedAtMs / 1_000)),
    resource,
  }
  return textAnswer(200, inStrings(json, kind).replace(/\}$/, `,${JSON.stringify(more).slice(1)}`))
}

/** The metadata service says even numbers as text; App Service says only when the token ends. */
function inStrings(json: string, kind: Kind): string {
  return kind === 'app_service'
    ? json.replace(/"expires_in":\d+,/, '')
    : json.replace(/"expires_in":(\d+)/, '"expires_in":"$1"')
}

/** Each endpoint knows in its own way that it is not another program's request passed on. */
function callerRefusal(world: World, call: Call, kind: Kind): Answer | null {
  const { azure } = world
  if (kind === 'app_service') {
    const [header] = headerValues(call.headers, 'x-identity-header')
    if (header === azure.identityHeader.reveal()) return null
    return jsonAnswer(401, { statusCode: 401, message: 'Wrong X-IDENTITY-HEADER' })
  }
  if (headerValues(call.headers, 'metadata')[0] !== 'true')
    return identityError(400, 'invalid_request', 'Required metadata header not specified')
  if (kind === 'imds') return null
  const [credentials] = headerValues(call.headers, 'authorization')
  if (credentials !== undefined && isArcKey(world, credentials)) return null
  const challenge: readonly [string, string] = [
    'www-authenticate',
    `Basic realm=${azure.newArcKey()}`,
  ]
  const body = { error: 'unauthorized_client', error_description: 'Missing Basic Authorization' }
  return jsonAnswer(401, body, [challenge])
}

function isArcKey(world: World, credentials: string): boolean {
  const key = /^Basic (\S+)$/.exec(credentials)?.[1]
  return key !== undefined && world.azure.takeArcKey(key)
}

function notFound(kind: Kind): Answer {
  if (kind !== 'app_service') return identityError(400, 'invalid_request', 'Identity not found')
  const message = 'No User Assigned or Delegated Managed Identity found for specified ClientId'
  return jsonAnswer(400, { statusCode: 400, message })
}

function identityError(status: number, error: string, description: string): Answer {
  return jsonAnswer(status, { error, error_description: description })
}
