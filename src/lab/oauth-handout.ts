import { parseDurationMs } from '../core/duration.ts'
import { type Answer, jsonAnswer, textAnswer } from './call.ts'
import type { OauthClientOptions } from './oauth-clients.ts'
import type { Lab } from './running-lab.ts'
import { FEDERATION } from './workload-identity.ts'

const METHODS = ['basic', 'basic_raw', 'post', 'private_key_jwt', 'none'] as const
const ALGORITHMS = ['ES256', 'RS256', 'PS256'] as const

/**
 * Registers a client as the query asks (`method`, `algorithm`, `grace`, `rotating=false`) and says
 * all that a provider of type `oauth2` must be told.
 */
export function handOutClient(lab: Lab, parameters: URLSearchParams): Answer {
  const wishes = ['method', 'algorithm', 'grace', 'rotating'].map(name => parameters.get(name))
  const [methodName, algorithmName, grace, rotating] = wishes
  const method = METHODS.find(one => one === (methodName ?? 'basic'))
  const algorithm = ALGORITHMS.find(one => one === (algorithmName ?? 'ES256'))
  const graceMs = parseDurationMs(grace ?? '0')
  if (method === undefined || algorithm === undefined || graceMs === null) {
    const error = `A client has a method (${METHODS.join(', ')}), an algorithm (${ALGORITHMS.join(', ')}) and a grace such as 30s`
    return jsonAnswer(400, { error })
  }
  const isRotating = rotating !== 'false'
  const options: OauthClientOptions = { method, algorithm, graceMs, isRotating }
  const client = lab.registerOauthClient(options)
  return jsonAnswer(200, {
    OAUTH2_TOKEN_URL: `${lab.origin}/oauth2/token`,
    OAUTH2_BASE_URL: `${lab.origin}/oauth2/openai/v1`,
    OAUTH2_CLIENT_AUTH: method,
    OAUTH2_CLIENT_ID: client.clientId,
    OAUTH2_CLIENT_SECRET: client.clientSecret.reveal(),
    OAUTH2_PRIVATE_KEY: client.privateKey.reveal(),
    OAUTH2_SIGNING_ALGORITHM: algorithm,
    OAUTH2_REFRESH_TOKEN: client.refreshToken.reveal(),
  })
}

/** A workload's identity token as text: for the audience in the query, else for the lab's own server. */
export function handOutIdentity(lab: Lab, parameters: URLSearchParams): Answer {
  const audience = parameters.get('audience') ?? `${lab.origin}/oauth2`
  const lifetimeMs = parseDurationMs(parameters.get('lifetime') ?? '1h')
  if (lifetimeMs === null) return jsonAnswer(400, { error: 'lifetime is a span such as 10m' })
  return textAnswer(200, lab.identityToken({ audience, lifetimeMs }).reveal())
}

/** What the providers `anthropic` and `openai` are told besides the file with an identity token. */
export function federationKeys(lab: Lab): unknown {
  const named = (vendor: string, ids: Readonly<Record<string, string>>) =>
    Object.entries(ids).map(([name, id]) => [`${vendor}_${name.toUpperCase()}`, id] as const)
  return Object.fromEntries([
    ...named('ANTHROPIC', FEDERATION.anthropic),
    ['ANTHROPIC_BASE_URL', `${lab.origin}/anthropic/v1`],
    ...named('OPENAI', FEDERATION.openai),
    ['OPENAI_BASE_URL', `${lab.origin}/openai/v1`],
    ['OPENAI_TOKEN_URL', `${lab.origin}/openai/oauth/token`],
  ])
}
