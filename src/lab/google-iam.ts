import { type Answer, type Call, jsonAnswer, type Vendor } from './call.ts'
import { rpcError, unauthenticated } from './google-rpc.ts'
import { elementsOf } from './json.ts'
import { bearerOf, leakIn, readJsonBody } from './strict.ts'
import { issueToken } from './token-answer.ts'
import type { World } from './world.ts'

const PATH = /^\/v1\/projects\/-\/serviceAccounts\/([^/:]+):generateAccessToken$/
const BODY_BYTES_MAX = 65_536
const FIELDS = ['scope', 'lifetime', 'delegates']
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
const LIFETIME_SECONDS_MAX = 3_600
const TOKEN_RANDOM_BYTES = 768

/** The IAM Credentials API: one identity's token against one of a service account. */
export function createGoogleIam(world: World): Vendor {
  return {
    name: 'google.iam',
    bodyBytesMax: BODY_BYTES_MAX,
    owns: path => path.startsWith('/v1/projects/-/serviceAccounts/'),
    answer: call => answerImpersonation(world, call),
    refuse: rpcError,
  }
}

function answerImpersonation(world: World, call: Call): Answer {
  const leak = leakIn(call.headers, ['authorization'])
  if (leak !== null) return rpcError(400, leak)
  const verdict = world.tokens.judge(bearerOf(call.headers) ?? '', 'google', call.nowMs)
  if (verdict !== 'valid') {
    const service = 'iamcredentials.googleapis.com'
    const reason = verdict === 'unknown' ? 'ACCESS_TOKEN_TYPE_UNSUPPORTED' : 'ACCESS_TOKEN_EXPIRED'
    return unauthenticated(service, 'google.iam.credentials.v1.GenerateAccessToken', reason)
  }
  const [, email = ''] = PATH.exec(call.path) ?? []
  if (call.method !== 'POST' || call.query !== '' || email === '')
    return rpcError(404, `Nothing is served at ${call.path}`)
  const account = world.accounts.find(decodeURIComponent(email))
  if (account === null) return rpcError(404, 'Not found; Gaia id not found for the account.')
  if (account.isDisabled) {
    const denied = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource"
    return rpcError(403, `${denied} (or it may not exist).`)
  }
  const body = readJsonBody(call)
  if (typeof body === 'string') return rpcError(400, body)
  const unknown = Object.keys(body).find(name => !FIELDS.includes(name))
  if (unknown !== undefined) return rpcError(400, `Invalid JSON payload: unknown name "${unknown}"`)
  if (elementsOf(body.scope).length !== 1 || elementsOf(body.scope)[0] !== SCOPE)
    return rpcError(400, 'The scope must be cloud-platform and nothing else')
  const seconds = Number(/^(\d{1,5})s$/.exec(String(body.lifetime ?? '3600s'))?.[1])
  if (!(seconds > 0 && seconds <= LIFETIME_SECONDS_MAX))
    return rpcError(400, `The lifetime must be at most ${LIFETIME_SECONDS_MAX}s`)
  const lifetimeMs = Math.min(seconds * 1_000, world.tokenLifetimeMs)
  const { token } = issueToken(
    world.tokens,
    {
      ...{ realm: 'google', subject: account.email, lifetimeMs },
      ...{ prefix: 'ya29.c.', randomBytes: TOKEN_RANDOM_BYTES },
    },
    { effect: call.effect, nowMs: world.clock.nowMs() },
  )
  return jsonAnswer(200, {
    accessToken: token.value.reveal(),
    expireTime: new Date(token.expiresAtMs).toISOString().replace(/\.\d+/, ''),
  })
}
