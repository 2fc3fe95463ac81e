import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { DeadTokenRule, Operation, Protocol, RouteAuth, RouteShape } from '../core/route.ts'
import { type AzureAddress, resolveAzureAddress } from './azure-address.ts'
import { azureGrant, azureSource, azureStrategy, configOf, isClassic } from './azure-source.ts'
import { FOUNDRY_BETAS } from './claude-betas.ts'
import type { ProbeRule, ProviderRoute, ProviderRules, ProviderType } from './provider-type.ts'
import { familyShape } from './static-key.ts'

const API_KEY = 'AZURE_OPENAI_API_KEY'

/** A dated version, or what stands for the v1 API with or without its preview. */
const API_VERSION = /^(\d{4}-\d\d-\d\d(-preview)?|v1|preview|latest)$/

/** Where the classic API serves each protocol; `responses` and `models` know no deployment. */
const CLASSIC_PATHS: readonly (readonly [Protocol, string])[] = [
  ['openai_chat_completions', '/deployments/{model}/chat/completions'],
  ['openai_completions', '/deployments/{model}/completions'],
  ['openai_embeddings', '/deployments/{model}/embeddings'],
  ['openai_responses', '/responses'],
  ['model_discovery', '/models'],
]

/**
 * A 401 of Azure means a dead token, a missing role or a wrong key. One text serves for a token that
 * expired and for one of the wrong audience, so the latter costs a refresh now and then.
 */
const DEAD_TOKEN: readonly DeadTokenRule[] = [
  {
    status: 401,
    when: [],
    unless: ['PermissionDenied', 'lacks the required data action', 'invalid subscription key'],
  },
]

const PROBE_RULES: readonly ProbeRule[] = [
  {
    status: 401,
    pattern: /PermissionDenied|lacks the required data action/,
    code: 'azure_role_missing',
    advice:
      'Give the identity the role "Cognitive Services OpenAI User" on the resource; it takes some 5 minutes to work',
  },
  {
    status: 401,
    pattern: /invalid subscription key/,
    code: 'azure_wrong_key',
    advice: 'Copy the key and the endpoint from the same resource, under "Keys and Endpoint"',
  },
  {
    status: 401,
    pattern: /audience is incorrect/,
    code: 'azure_audience_refused',
    advice: 'Set AZURE_OPENAI_SCOPE to the audience in the message, followed by /.default',
  },
  {
    status: 403,
    pattern: /AuthenticationTypeDisabled/,
    code: 'azure_keys_disabled',
    advice: 'The resource takes no keys: use an identity of Entra ID instead',
  },
  {
    status: 403,
    pattern: /firewall|virtual network|public access/i,
    code: 'azure_network_refused',
    advice: "Allow the gateway's network in the resource's firewall, or use its private endpoint",
  },
  {
    status: 404,
    pattern: /DeploymentNotFound/,
    code: 'azure_deployment_not_found',
    advice: 'Name the deployment, not the model; a new deployment takes some 5 minutes to appear',
  },
  {
    status: 404,
    pattern: null,
    code: 'azure_path_not_found',
    advice: 'Check AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_VERSION',
  },
]

/** Azure OpenAI and Microsoft Foundry: OpenAI's protocols, and Claude as Anthropic Messages. */
export const azureOpenai: ProviderType = {
  type: 'azure-openai',
  aliases: ['azure', 'azure-foundry'],
  displayName: 'Azure OpenAI and Microsoft Foundry',
  description: 'OpenAI models and Claude on Azure, with an identity of Entra ID or an API key',
  credentialKeys: [
    {
      name: 'AZURE_CLIENT_SECRET',
      aliases: [],
      description: 'A client secret of the app registration AZURE_CLIENT_ID',
    },
    {
      name: 'AZURE_CLIENT_CERTIFICATE',
      aliases: [],
      description: 'Instead: a PEM file with an RSA private key and its certificate',
    },
    {
      name: 'IDENTITY_HEADER',
      aliases: [],
      description: 'Instead, in App Service: what the variable of that name holds',
    },
    { name: API_KEY, aliases: [], description: 'Instead: a static key of the resource' },
  ],
  configKeys: [
    {
      name: 'AZURE_OPENAI_ENDPOINT',
      description: 'https://RESOURCE.openai.azure.com, or a Foundry address',
      isRequired: true,
    },
    ...[
      ['AZURE_TENANT_ID', 'Directory of the app registration'],
      ['AZURE_CLIENT_ID', 'The app registration, or one of several user-assigned identities'],
      ['AZURE_FEDERATED_TOKEN_FILE', 'Instead of a secret: a token file that the app trusts'],
      ['AZURE_AUTHORITY_HOST', 'Entra ID of another cloud (default: login.microsoftonline.com)'],
      ['AZURE_OPENAI_SCOPE', 'The scope of the token (default: by cloud and endpoint)'],
      ['AZURE_OPENAI_API_VERSION', 'A dated version for the deployment paths (default: v1)'],
      ['AZURE_OPENAI_DEPLOYMENT', 'The deployment (default: the name of the model)'],
      ['AZURE_POD_IDENTITY_AUTHORITY_HOST', 'What stands in for the metadata service'],
      ['IDENTITY_ENDPOINT', 'Where App Service or the Azure Arc agent gives tokens'],
      ['IMDS_ENDPOINT', 'Says, beside IDENTITY_ENDPOINT, that it is the Azure Arc agent'],
    ].map(([name = '', description = '']) => ({ name, description, isRequired: false })),
  ],
  example:
    'openshell provider add --type azure-openai --name my-azure --credential AZURE_CLIENT_SECRET --config AZURE_TENANT_ID=TENANT --config AZURE_CLIENT_ID=CLIENT --config AZURE_OPENAI_ENDPOINT=https://RESOURCE.openai.azure.com',
  tokenKey: 'AZURE_OPENAI_TOKEN',
  strategyOf: azureStrategy,
  grant: azureGrant,
  route: azureRoute,
  probeRules: PROBE_RULES,
}

function azureRoute(
  provider: ProviderRecord,
  modelId: string,
  rules: ProviderRules,
): ProviderRoute {
  const hasKey = azureSource(provider) === 'api_key'
  if (hasKey) checkKey(provider)
  const endpoint = configOf(provider, 'AZURE_OPENAI_ENDPOINT')
  const address = resolveAzureAddress(endpoint, rules.allowList)
  const isClaude = address.isClaude || modelId.startsWith('claude-')
  const shape = isClaude ? claudeShape(address, modelId) : openaiShape(provider, address, modelId)
  const keyHeader = isClaude ? 'x-api-key' : 'api-key'
  const auth: RouteAuth = hasKey
    ? { kind: 'header', header: keyHeader, prefix: '' }
    : { kind: 'header', header: 'authorization', prefix: 'Bearer ' }
  return {
    shape: { ...shape, auth, deadToken: hasKey ? [] : DEAD_TOKEN },
    credential: hasKey ? { kind: 'material', key: API_KEY } : { kind: 'token' },
  }
}

/** Foundry serves Messages as Anthropic does, but lists no models and has fewer betas. */
function claudeShape(address: AzureAddress, modelId: string): RouteShape {
  const baseUrl = `${address.claudeBaseUrl}/anthropic/v1`
  const shape = familyShape('anthropic', { baseUrl, modelId, allowHeaders: [] })
  const operations = shape.operations
    .filter(one => one.protocol !== 'model_discovery')
    .map(operation => ({ ...operation, hasBetas: true }))
  return { ...shape, operations, betas: FOUNDRY_BETAS }
}

function openaiShape(provider: ProviderRecord, address: AzureAddress, modelId: string): RouteShape {
  const version = configOf(provider, 'AZURE_OPENAI_API_VERSION')
  if (version !== '' && !API_VERSION.test(version)) {
    throw new AppError('invalid_config', 'AZURE_OPENAI_API_VERSION is not an API version', {
      hint: 'Versions look like 2024-10-21; for the v1 API leave it out, or say preview',
    })
  }
  const deployment = checkDeployment(configOf(provider, 'AZURE_OPENAI_DEPLOYMENT') || modelId)
  const baseUrl = `${address.baseUrl}/openai${isClassic(provider) ? '' : '/v1'}`
  const shape = familyShape('openai', { baseUrl, modelId: deployment, allowHeaders: [] })
  const isPlain = version === '' || version === 'v1'
  const query = isPlain ? '' : `?api-version=${version === 'latest' ? 'preview' : version}`
  const classicPath = isClassic(provider) ? new Map(CLASSIC_PATHS) : null
  const operations = shape.operations.map((operation): Operation => {
    const path = classicPath?.get(operation.protocol) ?? operation.path
    return { ...operation, path: `${path}${query}`, dropQuery: ['api-version'] }
  })
  return { ...shape, operations }
}

/** The name of a deployment becomes part of a path: nothing in it may move the request elsewhere. */
function checkDeployment(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name)) return name
  throw new AppError('invalid_argument', `"${name.slice(0, 128)}" is not an Azure deployment`, {
    hint: 'Name the deployment as the portal lists it',
  })
}

function checkKey(provider: ProviderRecord): void {
  if (/^[\x21-\x7e]+$/.test(provider.material.get(API_KEY)?.reveal() ?? '')) return
  throw new AppError(
    'invalid_credential',
    `The credential ${API_KEY} is not an API key: expected printable characters without spaces`,
    { hint: 'Look for a line end, quotes or a whole file in it' },
  )
}
