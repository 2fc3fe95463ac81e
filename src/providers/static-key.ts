import { checkEndpoint } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { Operation, Protocol, RouteAuth, RouteShape } from '../core/route.ts'
import type { ProviderRules, ProviderType } from './provider-type.ts'

/** Where OpenAI's protocols stand below a base URL that ends in `/v1`. */
const OPENAI_PATHS: readonly (readonly [Protocol, string])[] = [
  ['openai_chat_completions', '/chat/completions'],
  ['openai_completions', '/completions'],
  ['openai_responses', '/responses'],
  ['openai_responses_compact', '/responses/compact'],
  ['openai_embeddings', '/embeddings'],
  ['model_discovery', '/models'],
]

const ANTHROPIC_PATHS: readonly (readonly [Protocol, string])[] = [
  ['anthropic_messages', '/messages'],
  ['anthropic_count_tokens', '/messages/count_tokens'],
  ['model_discovery', '/models'],
]

/** The two families of APIs that vendors with a static key speak. */
export type Family = 'openai' | 'anthropic'

/** What tells one vendor with a static key from another. */
export interface StaticKeyVendor {
  readonly type: string
  readonly aliases: readonly string[]
  readonly displayName: string
  readonly description: string
  readonly family: Family
  readonly keyName: string
  readonly baseUrlName: string
  readonly defaultBaseUrl: string
  readonly allowHeaders: readonly string[]
}

/** The provider type of a vendor whose long-lived key goes into the header as it is. */
export function staticKeyType(vendor: StaticKeyVendor): ProviderType {
  return {
    type: vendor.type,
    aliases: vendor.aliases,
    displayName: vendor.displayName,
    description: vendor.description,
    credentialKeys: [{ name: vendor.keyName, aliases: [], description: 'API key' }],
    configKeys: [
      {
        name: vendor.baseUrlName,
        description: `Base URL (default: ${vendor.defaultBaseUrl})`,
        isRequired: false,
      },
    ],
    example: `openshell provider add --type ${vendor.type} --name my-${vendor.type} --credential ${vendor.keyName}`,
    tokenKey: '',
    strategyOf: () => '',
    grant: () => null,
    route: (provider, modelId, rules) => ({
      shape: vendorShape(vendor, provider, { modelId, rules }),
      credential: { kind: 'material', key: anyKey(provider, vendor.keyName) },
    }),
  }
}

/** How the vendor's API is reached, at its own address or the configured one. */
export function vendorShape(
  vendor: StaticKeyVendor,
  provider: ProviderRecord,
  options: { readonly modelId: string; readonly rules: ProviderRules },
): RouteShape {
  const configured = provider.config.get(vendor.baseUrlName)?.trim() ?? ''
  const baseUrl = checkBaseUrl(configured === '' ? vendor.defaultBaseUrl : configured, {
    label: vendor.baseUrlName,
    vendorHosts: [new URL(vendor.defaultBaseUrl).hostname],
    rules: options.rules,
  })
  const { modelId } = options
  return familyShape(vendor.family, { baseUrl, modelId, allowHeaders: vendor.allowHeaders })
}

/** How an API of one of the two families is reached. */
export function familyShape(
  family: Family,
  options: {
    readonly baseUrl: string
    readonly modelId: string
    readonly allowHeaders: readonly string[]
  },
): RouteShape {
  const isAnthropic = family === 'anthropic'
  const paths = isAnthropic ? ANTHROPIC_PATHS : OPENAI_PATHS
  const auth: RouteAuth = isAnthropic
    ? { kind: 'header', header: 'x-api-key', prefix: '' }
    : { kind: 'header', header: 'authorization', prefix: 'Bearer ' }
  return {
    baseUrl: options.baseUrl,
    modelId: checkModel(options.modelId),
    operations: paths.map(([protocol, path]) => passThrough(protocol, path)),
    auth,
    defaultHeaders: new Map(isAnthropic ? [['anthropic-version', '2023-06-01']] : []),
    allowHeaders: isAnthropic
      ? ['anthropic-version', 'anthropic-beta', ...options.allowHeaders]
      : options.allowHeaders,
    betas: null,
    deadToken: [],
  }
}

/** Checks a base URL and takes its trailing slash away. */
export function checkBaseUrl(
  text: string,
  options: {
    readonly label: string
    readonly vendorHosts: readonly string[]
    readonly rules: ProviderRules
  },
): string {
  const url = checkEndpoint(text, { ...options, allowList: options.rules.allowList })
  if (url.search !== '')
    throw new AppError('invalid_config', `${options.label} must not carry a query`)
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '')
}

/**
 * The vendor's own key name, else the only key or the first in sorted order. The key is held to one
 * word of printable characters: a header takes nothing else, and a key file or a PEM, which must
 * never become a bearer, is no such word.
 */
export function anyKey(provider: ProviderRecord, keyName: string): string {
  const name = provider.material.has(keyName) ? keyName : [...provider.material.keys()].sort()[0]
  const key = provider.material.get(name ?? '')
  if (name !== undefined && key !== undefined) {
    if (/^(?!\{)[\x21-\x7e]+$/.test(key.reveal())) return name
    throw new AppError(
      'invalid_credential',
      `The credential ${name} is not an API key: expected printable characters without spaces`,
      { hint: 'Look for a line end, quotes or a whole file in it' },
    )
  }
  throw new AppError('invalid_credential', `The credential ${keyName} is missing`, {
    hint: `Add --credential ${keyName} to take it from the environment`,
  })
}

/** An operation that the upstream takes as it is, but for the model. */
export function passThrough(protocol: Protocol, path: string): Operation {
  return {
    protocol,
    baseUrl: '',
    path,
    streamPath: '',
    model: protocol === 'model_discovery' ? 'keep' : 'replace',
    version: null,
    dropQuery: [],
    keepQuery: [],
    hasBetas: false,
    defaultMembers: [],
    removeMembers: [],
    translation: null,
  }
}

function checkModel(modelId: string): string {
  if (/^[\x21-\x7e]{1,256}$/.test(modelId)) return modelId
  throw new AppError(
    'invalid_argument',
    'A model id has 1 to 256 printable characters and no spaces',
  )
}
