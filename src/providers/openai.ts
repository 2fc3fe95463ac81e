import { checkEndpoint } from '../core/endpoint.ts'
import { OPENAI_FEDERATION, openaiFederationGrant } from './openai-federation.ts'
import type { ProviderType } from './provider-type.ts'
import { type StaticKeyVendor, staticKeyType, vendorShape } from './static-key.ts'
import { federatedRoute, readFederation } from './workload-identity.ts'

const TOKEN_URL = 'https://auth.openai.com/oauth/token'

const vendor: StaticKeyVendor = {
  type: 'openai',
  aliases: [],
  displayName: 'OpenAI',
  description: "OpenAI's own API, with a static key or workload identity federation",
  family: 'openai',
  keyName: 'OPENAI_API_KEY',
  baseUrlName: 'OPENAI_BASE_URL',
  defaultBaseUrl: 'https://api.openai.com/v1',
  allowHeaders: ['openai-organization', 'openai-project', 'openai-beta', 'x-model-id'],
}

const withKey = staticKeyType(vendor)

/** OpenAI's own API, with a static key or by workload identity federation. */
export const openai: ProviderType = {
  ...withKey,
  configKeys: [
    ...withKey.configKeys,
    ...OPENAI_FEDERATION.map(({ name, description }) => ({
      ...{ name, description, isRequired: false },
    })),
    {
      name: 'OPENAI_TOKEN_URL',
      description: `Token endpoint of the federation (default: ${TOKEN_URL})`,
      isRequired: false,
    },
  ],
  tokenKey: 'OPENAI_ACCESS_TOKEN',
  grant: (provider, _nowMs, rules) => {
    const config = readFederation(provider, OPENAI_FEDERATION)
    if (config === null) return null
    const configured = provider.config.get('OPENAI_TOKEN_URL')?.trim() ?? ''
    const tokenUrl = checkEndpoint(configured === '' ? TOKEN_URL : configured, {
      label: 'OPENAI_TOKEN_URL',
      vendorHosts: ['auth.openai.com'],
      allowList: rules.allowList,
    })
    return openaiFederationGrant(config, { tokenUrl, folders: rules.subjectTokenDirs })
  },
  route: (provider, modelId, rules) => {
    if (readFederation(provider, OPENAI_FEDERATION) === null)
      return withKey.route(provider, modelId, rules)
    return federatedRoute(vendorShape(vendor, provider, { modelId, rules }))
  },
  probeRules: [
    {
      status: 401,
      pattern: /invalid_api_key|Incorrect API key/,
      code: 'openai_invalid_api_key',
      advice: 'The key is wrong or was revoked: make a new one and update the provider',
    },
    {
      status: 403,
      pattern: /unsupported_country/,
      code: 'openai_unsupported_country',
      advice: 'OpenAI does not serve the country that the gateway calls from',
    },
    {
      status: 404,
      pattern: /model_not_found/,
      code: 'openai_model_not_found',
      advice: 'Check the model id, and that the project of the key may use that model',
    },
    {
      status: 429,
      pattern: /insufficient_quota/,
      code: 'openai_insufficient_quota',
      advice: 'The account has no credit left: add some in its billing settings',
    },
  ],
}
