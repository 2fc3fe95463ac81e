import { checkEndpoint } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { ClientAuthentication } from '../oauth/client-authentication.ts'
import { clientCredentialsGrant } from '../oauth/client-credentials.ts'
import { textOfFile } from '../oauth/mint.ts'
import { normalizeSigningKey } from '../oauth/private-key.ts'
import { refreshTokenGrant } from '../oauth/refresh-token.ts'
import type { OAuthClient } from '../oauth/standard-request.ts'
import { tokenExchangeGrant } from '../oauth/token-exchange.ts'
import type { Assertion, Grant } from '../oauth/token-request.ts'
import type { ProviderRules, ProviderType, RefreshStrategy } from './provider-type.ts'
import { checkBaseUrl, type Family, familyShape } from './static-key.ts'

const CLIENT_SECRET = 'OAUTH2_CLIENT_SECRET'
const REFRESH_TOKEN = 'OAUTH2_REFRESH_TOKEN'
const PRIVATE_KEY = 'OAUTH2_PRIVATE_KEY'
const METHODS = ['basic', 'basic_raw', 'post', 'private_key_jwt', 'none'] as const

type Method = (typeof METHODS)[number]

const CONFIG_KEYS: readonly (readonly [name: string, description: string])[] = [
  [
    'OAUTH2_CLIENT_ID',
    'Client id; only token exchange at a server that asks for none does without',
  ],
  ['OAUTH2_SCOPES', 'Scopes, separated by spaces'],
  ['OAUTH2_AUDIENCE', 'The API that the token is for, where the server wants it named'],
  [
    'OAUTH2_CLIENT_AUTH',
    '"basic" (default with a secret), "basic_raw" (not form-encoded first), "post", "private_key_jwt" (default with a key) or "none"',
  ],
  ['OAUTH2_ASSERTION_AUDIENCE', 'aud of private_key_jwt (default: OAUTH2_TOKEN_URL)'],
  ['OAUTH2_KEY_ID', 'kid of private_key_jwt'],
  ['OAUTH2_SIGNING_ALGORITHM', '"RS256" (default) or "PS256" with an RSA key; EC keys sign ES256'],
  ['OAUTH2_SUBJECT_TOKEN_FILE', 'File with the token to exchange (RFC 8693), read each time'],
  ['OAUTH2_SUBJECT_TOKEN_TYPE', 'Its type (default: urn:ietf:params:oauth:token-type:jwt)'],
  ['OAUTH2_PROTOCOL', '"openai" (default) or "anthropic"'],
]

/**
 * Any OpenAI- or Anthropic-compatible API behind an OAuth 2 authorization server. Neither has a
 * vendor's host, so the operator allows both.
 */
export const oauth2: ProviderType = {
  type: 'oauth2',
  aliases: [],
  displayName: 'OAuth 2',
  description: 'Any OpenAI- or Anthropic-compatible API behind an OAuth 2 authorization server',
  credentialKeys: [
    { name: CLIENT_SECRET, aliases: [], description: 'Client secret' },
    {
      name: REFRESH_TOKEN,
      aliases: [],
      description: 'Refresh token; what the server rotates it to is kept in its place',
    },
    {
      name: PRIVATE_KEY,
      aliases: [],
      description: 'PEM private key, RSA or EC on the curve P-256, for private_key_jwt',
    },
  ],
  configKeys: [
    {
      name: 'OAUTH2_TOKEN_URL',
      description: 'Token endpoint; its host must be allowed by the operator',
      isRequired: true,
    },
    {
      name: 'OAUTH2_BASE_URL',
      description: 'Base URL of the API, up to and with /v1; its host must be allowed, too',
      isRequired: true,
    },
    ...CONFIG_KEYS.map(([name, description]) => ({ name, description, isRequired: false })),
  ],
  example:
    'openshell provider add --type oauth2 --name my-api --credential OAUTH2_CLIENT_SECRET --config OAUTH2_TOKEN_URL=https://HOST/token --config OAUTH2_CLIENT_ID=ID --config OAUTH2_BASE_URL=https://HOST/v1',
  tokenKey: 'OAUTH2_ACCESS_TOKEN',
  strategyOf: oauth2Strategy,
  grant: oauth2Grant,
  route: (provider, modelId, rules) => {
    const label = 'OAUTH2_BASE_URL'
    const baseUrl = checkBaseUrl(required(provider, label), { label, vendorHosts: [], rules })
    const shape = familyShape(family(provider), { baseUrl, modelId, allowHeaders: [] })
    return {
      shape: {
        ...shape,
        auth: { kind: 'header', header: 'authorization', prefix: 'Bearer ' },
        // RFC 6750 §3.1: a token that lacks a scope gets 403, so each 401 is about the token.
        deadToken: [{ status: 401, when: [], unless: [] }],
      },
      credential: { kind: 'token' },
    }
  },
}

function oauth2Grant(provider: ProviderRecord, nowMs: number, rules: ProviderRules): Grant {
  const client = readClient(provider, rules)
  const file = config(provider, 'OAUTH2_SUBJECT_TOKEN_FILE')
  const refreshToken = provider.material.get(REFRESH_TOKEN)
  if (file !== '' && refreshToken !== undefined) {
    throw new AppError(
      'invalid_config',
      `Give ${REFRESH_TOKEN} or OAUTH2_SUBJECT_TOKEN_FILE, not both`,
    )
  }
  if (file !== '') {
    const type = config(provider, 'OAUTH2_SUBJECT_TOKEN_TYPE')
    const subject = {
      token: textOfFile(file, rules.subjectTokenDirs),
      type: type === '' ? 'urn:ietf:params:oauth:token-type:jwt' : type,
    }
    return tokenExchangeGrant(client, subject, nowMs)
  }
  if (client.authentication.clientId === '') required(provider, 'OAUTH2_CLIENT_ID')
  if (refreshToken !== undefined) {
    return refreshTokenGrant(client, { refreshToken, rotates: REFRESH_TOKEN }, nowMs)
  }
  if (client.authentication.kind !== 'none') return clientCredentialsGrant(client, nowMs)
  throw new AppError('invalid_credential', 'There is nothing to get a token with', {
    hint: `Add --credential ${CLIENT_SECRET}, ${PRIVATE_KEY} or ${REFRESH_TOKEN}, or --config OAUTH2_SUBJECT_TOKEN_FILE=PATH`,
  })
}

function oauth2Strategy(provider: ProviderRecord): RefreshStrategy {
  if (config(provider, 'OAUTH2_SUBJECT_TOKEN_FILE') !== '') return ''
  if (provider.material.has(REFRESH_TOKEN)) return 'oauth2_refresh_token'
  return 'oauth2_client_credentials'
}

function readClient(provider: ProviderRecord, rules: ProviderRules): OAuthClient {
  const tokenUrl = checkEndpoint(required(provider, 'OAUTH2_TOKEN_URL'), {
    label: 'OAUTH2_TOKEN_URL',
    vendorHosts: [],
    allowList: rules.allowList,
  })
  return {
    tokenUrl,
    authentication: readAuthentication(provider, tokenUrl),
    scopes: config(provider, 'OAUTH2_SCOPES').split(/\s+/).join(' '),
    audience: config(provider, 'OAUTH2_AUDIENCE'),
  }
}

function readAuthentication(provider: ProviderRecord, tokenUrl: URL): ClientAuthentication {
  const method = readMethod(provider)
  if (method === 'none') return { kind: 'none', clientId: config(provider, 'OAUTH2_CLIENT_ID') }
  const clientId = required(provider, 'OAUTH2_CLIENT_ID')
  if (method === 'private_key_jwt') {
    const audience = config(provider, 'OAUTH2_ASSERTION_AUDIENCE')
    return {
      ...readKey(provider),
      kind: 'private_key_jwt',
      clientId,
      keyId: config(provider, 'OAUTH2_KEY_ID'),
      audience: audience === '' ? tokenUrl.href : audience,
    }
  }
  const clientSecret = requiredMaterial(provider, CLIENT_SECRET)
  if (method === 'post') return { kind: 'post', clientId, clientSecret }
  return { kind: 'basic', clientId, clientSecret, isRaw: method === 'basic_raw' }
}

/** The method that was asked for, else the one that the material is for. */
function readMethod(provider: ProviderRecord): Method {
  const asked = config(provider, 'OAUTH2_CLIENT_AUTH')
  const known = METHODS.find(method => method === asked)
  if (known !== undefined) return known
  if (asked !== '') {
    throw new AppError(
      'invalid_config',
      `OAUTH2_CLIENT_AUTH is "${asked}", expected one of ${METHODS.join(', ')}`,
    )
  }
  const hasSecret = provider.material.has(CLIENT_SECRET)
  const hasKey = provider.material.has(PRIVATE_KEY)
  if (hasSecret && hasKey) {
    throw new AppError('invalid_config', `${CLIENT_SECRET} and ${PRIVATE_KEY} are both given`, {
      hint: 'Say which one the server wants: --config OAUTH2_CLIENT_AUTH=basic, post or private_key_jwt',
    })
  }
  if (hasKey) return 'private_key_jwt'
  return hasSecret ? 'basic' : 'none'
}

function readKey(provider: ProviderRecord) {
  const pem = requiredMaterial(provider, PRIVATE_KEY)
  const { type, privateKey } = normalizeSigningKey(pem, PRIVATE_KEY)
  const asked = config(provider, 'OAUTH2_SIGNING_ALGORITHM')
  const usable: readonly Assertion['algorithm'][] = type === 'ec' ? ['ES256'] : ['RS256', 'PS256']
  const algorithm = asked === '' ? usable[0] : usable.find(one => one === asked)
  if (algorithm !== undefined) return { algorithm, privateKey }
  throw new AppError(
    'invalid_config',
    `OAUTH2_SIGNING_ALGORITHM is "${asked}", the key signs ${usable.join(' or ')}`,
  )
}

function family(provider: ProviderRecord): Family {
  const protocol = config(provider, 'OAUTH2_PROTOCOL')
  if (protocol === '' || protocol === 'openai') return 'openai'
  if (protocol === 'anthropic') return 'anthropic'
  throw new AppError(
    'invalid_config',
    `OAUTH2_PROTOCOL is "${protocol}", expected "openai" or "anthropic"`,
  )
}

function requiredMaterial(provider: ProviderRecord, name: string) {
  const secret = provider.material.get(name)
  if (secret !== undefined) return secret
  throw new AppError('invalid_credential', `The credential ${name} is missing`, {
    hint: `Add --credential ${name} to take it from the environment`,
  })
}

function required(provider: ProviderRecord, name: string): string {
  const value = config(provider, name)
  if (value !== '') return value
  throw new AppError('invalid_config', `The configuration ${name} is missing`, {
    hint: `Add --config ${name}=VALUE`,
  })
}

function config(provider: ProviderRecord, name: string): string {
  return provider.config.get(name)?.trim() ?? ''
}
