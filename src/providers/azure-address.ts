import { checkEndpoint, type EndpointAllowList } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'

/** Hosts of Azure OpenAI, Foundry and Azure AI services, in Azure's public and national clouds. */
const HOSTS = [
  '*.openai.azure.com',
  '*.services.ai.azure.com',
  '*.cognitiveservices.azure.com',
  '*.openai.azure.us',
  '*.services.ai.azure.us',
  '*.cognitiveservices.azure.us',
  '*.openai.azure.cn',
  '*.cognitiveservices.azure.cn',
]

/** Hosts of Entra ID, by cloud. */
const AUTHORITIES = [
  'login.microsoftonline.com',
  'login.windows.net',
  'login.microsoft.com',
  'sts.windows.net',
  'login.microsoftonline.us',
  'login.usgovcloudapi.net',
  'login.chinacloudapi.cn',
  'login.partner.microsoftonline.cn',
  'login.sovcloud-identity.fr',
  'login.sovcloud-identity.de',
  'login.sovcloud-identity.sg',
]

/** What may stand before `/openai` on Azure's own hosts: nothing, or a Foundry project. */
const VENDOR_PREFIX = /^(\/api\/projects\/[\w.-]+)?$/

/** Where an Azure resource is served. */
export interface AzureAddress {
  /** Scheme, host, and the path before `/openai` or `/anthropic`. */
  readonly baseUrl: string
  /** Where the same resource serves Claude: the same without the offering's path, on its own host. */
  readonly claudeBaseUrl: string
  /** Whether the endpoint itself was given as that of Claude. */
  readonly isClaude: boolean
  readonly hostname: string
}

/**
 * Reads `AZURE_OPENAI_ENDPOINT`: the resource's address as the portal shows it, or the base URL of
 * one of its APIs.
 *
 * @throws AppError `invalid_config` or `endpoint_forbidden`.
 */
export function resolveAzureAddress(endpoint: string, allowList: EndpointAllowList): AzureAddress {
  const label = 'AZURE_OPENAI_ENDPOINT'
  if (endpoint === '') {
    throw new AppError('invalid_config', `${label} is not configured`, {
      hint: `Add --config ${label}=https://RESOURCE.openai.azure.com`,
    })
  }
  const url = checkEndpoint(withScheme(endpoint), { label, vendorHosts: HOSTS, allowList })
  const path = /^(.*?)(\/openai(?:\/v1)?|\/anthropic(?:\/v1)?)?\/*$/.exec(url.pathname)
  const [, prefix = '', api = ''] = path ?? []
  const isVendor = /\.azure\.(com|us|cn)$/.test(url.hostname)
  if (url.search !== '' || (isVendor && !VENDOR_PREFIX.test(prefix))) {
    throw new AppError('invalid_config', `${label} has an unknown path "${url.pathname}"`, {
      hint: 'Give the address of the resource alone; a deployment goes into AZURE_OPENAI_DEPLOYMENT, its api-version into AZURE_OPENAI_API_VERSION',
    })
  }
  const claudeHost = url.host.replace(
    /\.(openai|cognitiveservices)\.azure\.com$/,
    '.services.ai.azure.com',
  )
  return {
    baseUrl: `${url.origin}${prefix}`,
    claudeBaseUrl: `${url.protocol}//${claudeHost}${isVendor ? '' : prefix}`,
    isClaude: api.startsWith('/anthropic'),
    hostname: url.hostname,
  }
}

/**
 * Reads `AZURE_AUTHORITY_HOST`; '' means the public cloud.
 *
 * @throws AppError `invalid_config` or `endpoint_forbidden`.
 */
export function resolveAuthority(host: string, allowList: EndpointAllowList): URL {
  const label = 'AZURE_AUTHORITY_HOST'
  const text = withScheme(host === '' ? 'login.microsoftonline.com' : host)
  const url = checkEndpoint(text, { label, vendorHosts: AUTHORITIES, allowList })
  if (url.pathname === '/' && url.search === '') return url
  throw new AppError('invalid_config', `${label} must be a host without a path`, {
    hint: 'The tenant goes into AZURE_TENANT_ID',
  })
}

/**
 * The scope that the resource wants. The v1 API and Foundry belong to Azure AI, the classic paths to
 * Cognitive Services, which China's cloud knows alone; each cloud has its own name for both.
 */
export function azureScope(
  address: AzureAddress,
  options: { readonly authority: URL; readonly isClassic: boolean },
): string {
  const cloud = cloudOf(address.hostname) ?? cloudOf(options.authority.hostname) ?? 'com'
  const isFoundry = /\.services\.ai\.azure\.\w+$/.test(address.hostname)
  const isAi = cloud !== 'cn' && (isFoundry || !options.isClassic)
  return `https://${isAi ? 'ai' : 'cognitiveservices'}.azure.${cloud}/.default`
}

function cloudOf(hostname: string): 'com' | 'us' | 'cn' | null {
  if (/\.azure\.com$/.test(hostname)) return 'com'
  if (/\.azure\.us$|\.microsoftonline\.us$|\.usgovcloudapi\.net$/.test(hostname)) return 'us'
  return /\.cn$/.test(hostname) ? 'cn' : null
}

function withScheme(text: string): string {
  return /^[a-z]+:\/\//i.test(text) ? text : `https://${text}`
}
