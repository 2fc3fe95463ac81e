import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { RouteAuth } from '../core/route.ts'
import type { ProviderType } from './provider-type.ts'
import { anyKey, checkBaseUrl, type Family, familyShape } from './static-key.ts'

/**
 * Any OpenAI- or Anthropic-compatible API with a static key. It has no vendor's host of its own, so
 * the operator allows the one it names.
 */
export const generic: ProviderType = {
  type: 'generic',
  aliases: [],
  displayName: 'Generic',
  description: 'Any OpenAI- or Anthropic-compatible API with a static key',
  credentialKeys: [
    {
      name: 'API_KEY',
      aliases: [],
      description: 'The key; exactly one of any other name also works',
    },
  ],
  configKeys: [
    { name: 'BASE_URL', description: 'Base URL of the API, up to and with /v1', isRequired: true },
    { name: 'PROTOCOL', description: '"openai" (default) or "anthropic"', isRequired: false },
    {
      name: 'AUTH_HEADER',
      description: 'Header that carries the bare key, instead of "Authorization: Bearer"',
      isRequired: false,
    },
  ],
  example:
    'openshell provider add --type generic --name my-api --credential API_KEY --config BASE_URL=https://HOST/v1',
  tokenKey: '',
  strategyOf: () => '',
  grant: () => null,
  route: (provider, modelId, rules) => {
    if (provider.material.size > 1 && !provider.material.has('API_KEY')) {
      throw new AppError('invalid_credential', 'A generic provider takes one credential')
    }
    const baseUrl = checkBaseUrl(config(provider, 'BASE_URL'), {
      label: 'BASE_URL',
      vendorHosts: [],
      rules,
    })
    const shape = familyShape(family(provider), { baseUrl, modelId, allowHeaders: [] })
    return {
      shape: { ...shape, auth: auth(provider) ?? shape.auth },
      credential: { kind: 'material', key: anyKey(provider, 'API_KEY') },
    }
  },
}

/** Headers that HTTP itself or the body needs. */
const HTTP_HEADERS: ReadonlySet<string> = new Set([
  ...['host', 'connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade'],
  ...['content-length', 'content-type', 'content-encoding', 'expect', 'accept', 'accept-encoding'],
])

function family(provider: ProviderRecord): Family {
  const protocol = config(provider, 'PROTOCOL')
  if (protocol === '' || protocol === 'openai') return 'openai'
  if (protocol === 'anthropic') return 'anthropic'
  throw new AppError(
    'invalid_config',
    `PROTOCOL is "${protocol}", expected "openai" or "anthropic"`,
  )
}

function auth(provider: ProviderRecord): RouteAuth | null {
  const header = config(provider, 'AUTH_HEADER').toLowerCase()
  if (header === '') return null
  if (!/^[a-z0-9-]{1,64}$/.test(header) || HTTP_HEADERS.has(header)) {
    throw new AppError('invalid_config', `AUTH_HEADER "${header}" cannot carry a key`)
  }
  return { kind: 'header', header, prefix: header === 'authorization' ? 'Bearer ' : '' }
}

function config(provider: ProviderRecord, name: string): string {
  return provider.config.get(name)?.trim() ?? ''
}
