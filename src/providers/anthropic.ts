import {
  ANTHROPIC_FEDERATION,
  anthropicFederationGrant,
  OAUTH_BETA,
} from './anthropic-federation.ts'
import type { ProviderType } from './provider-type.ts'
import { type StaticKeyVendor, staticKeyType, vendorShape } from './static-key.ts'
import { federatedRoute, readFederation } from './workload-identity.ts'

const vendor: StaticKeyVendor = {
  type: 'anthropic',
  aliases: [],
  displayName: 'Anthropic',
  description: "Anthropic's own API, with a static key or workload identity federation",
  family: 'anthropic',
  keyName: 'ANTHROPIC_API_KEY',
  baseUrlName: 'ANTHROPIC_BASE_URL',
  defaultBaseUrl: 'https://api.anthropic.com/v1',
  allowHeaders: [],
}

const withKey = staticKeyType(vendor)

/** Anthropic's own API, with a static key or by workload identity federation. */
export const anthropic: ProviderType = {
  ...withKey,
  configKeys: [
    ...withKey.configKeys,
    ...ANTHROPIC_FEDERATION.map(({ name, description }) => ({
      ...{ name, description, isRequired: false },
    })),
  ],
  tokenKey: 'ANTHROPIC_ACCESS_TOKEN',
  grant: (provider, _nowMs, rules) => {
    const config = readFederation(provider, ANTHROPIC_FEDERATION)
    if (config === null) return null
    // The model is of no account to the token endpoint, which stands beside the API.
    const { baseUrl } = vendorShape(vendor, provider, { modelId: 'any', rules })
    const tokenUrl = new URL(`${baseUrl}/oauth/token`)
    return anthropicFederationGrant(config, { tokenUrl, folders: rules.subjectTokenDirs })
  },
  route: (provider, modelId, rules) => {
    if (readFederation(provider, ANTHROPIC_FEDERATION) === null)
      return withKey.route(provider, modelId, rules)
    const { shape, credential } = federatedRoute(vendorShape(vendor, provider, { modelId, rules }))
    const defaultHeaders = new Map([...shape.defaultHeaders, ['anthropic-beta', OAUTH_BETA]])
    return { shape: { ...shape, defaultHeaders }, credential }
  },
  probeRules: [
    {
      status: 401,
      pattern: /authentication_error/,
      code: 'anthropic_authentication_error',
      advice: 'The key is wrong or was disabled: make a new one and update the provider',
    },
    {
      status: 400,
      pattern: /credit balance is too low/,
      code: 'anthropic_no_credit',
      advice: 'The account has no credit left: add some in its billing settings',
    },
    {
      status: 403,
      pattern: /permission_error/,
      code: 'anthropic_permission_error',
      advice: 'The workspace of the key may not do this: look at its permissions in the console',
    },
  ],
}
