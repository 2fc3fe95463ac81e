import { checkEndpoint } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'
import { unreachable } from '../core/unreachable.ts'
import { textOfFile } from '../oauth/mint.ts'
import type { Grant } from '../oauth/token-request.ts'
import { azureScope, resolveAuthority, resolveAzureAddress } from './azure-address.ts'
import { parseClientCertificate } from './entra-certificate.ts'
import { certificateGrant, type EntraClient, federatedGrant, secretGrant } from './entra-client.ts'
import { appServiceGrant, arcGrant, IMDS_HOST, imdsGrant } from './entra-managed-identity.ts'
import type { ProviderRules, RefreshStrategy } from './provider-type.ts'

/** A directory takes some minutes to tell all its servers about a new application. */
const NEW_MS = 600_000

/** How a provider comes to its credential. Which one applies follows from the keys that it has. */
export type AzureSource =
  | 'api_key'
  | 'client_secret'
  | 'client_certificate'
  | 'federated_token'
  | 'app_service'
  | 'arc'
  | 'imds'

/** The keys that choose a source; a provider with none of them uses its machine's identity. */
const SOURCES: readonly (readonly [key: string, source: AzureSource])[] = [
  ['AZURE_OPENAI_API_KEY', 'api_key'],
  ['AZURE_CLIENT_SECRET', 'client_secret'],
  ['AZURE_CLIENT_CERTIFICATE', 'client_certificate'],
  ['AZURE_FEDERATED_TOKEN_FILE', 'federated_token'],
  ['IDENTITY_HEADER', 'app_service'],
  ['IMDS_ENDPOINT', 'arc'],
]

/** The sources of a client that the directory knows; the others are a machine's, or no grant. */
const CLIENT_SOURCES: readonly AzureSource[] = [
  'client_secret',
  'client_certificate',
  'federated_token',
]

/**
 * The source of a provider's credential.
 *
 * @throws AppError `invalid_config` when its keys contradict one another.
 */
export function azureSource(provider: ProviderRecord): AzureSource {
  const chosen = chosenSources(provider)
  if (chosen.length > 1) {
    const keys = chosen.map(([key]) => key).join(' and ')
    throw new AppError('invalid_config', `Cannot use ${keys} together`, {
      hint: `Keep one of them; 'openshell provider update ${provider.name} --credential KEY=' takes a key away`,
    })
  }
  const source = chosen[0]?.[1] ?? 'imds'
  if (source === 'imds') checkMachine(provider)
  return source
}

/** Whatever the client proves itself by, Entra's grant is that of client credentials. */
export function azureStrategy(provider: ProviderRecord): RefreshStrategy {
  const isClient = chosenSources(provider).some(([, source]) => CLIENT_SOURCES.includes(source))
  return isClient ? 'oauth2_client_credentials' : ''
}

function chosenSources(provider: ProviderRecord): typeof SOURCES {
  return SOURCES.filter(([key]) => provider.material.has(key) || configOf(provider, key) !== '')
}

/** A value of the configuration, trimmed; '' when it is not there. */
export function configOf(provider: ProviderRecord, key: string): string {
  return provider.config.get(key)?.trim() ?? ''
}

/** Whether the provider is served below `/openai/deployments`, by dated API versions. */
export function isClassic(provider: ProviderRecord): boolean {
  return /^\d/.test(configOf(provider, 'AZURE_OPENAI_API_VERSION'))
}

/**
 * The grant of a provider; null with a static key.
 *
 * @throws AppError when material or configuration could never bring a token.
 */
export function azureGrant(
  provider: ProviderRecord,
  nowMs: number,
  rules: ProviderRules,
): Grant | null {
  const source = azureSource(provider)
  switch (source) {
    case 'api_key':
      return null
    case 'client_secret': {
      const secret = checkSecret(materialOf(provider, 'AZURE_CLIENT_SECRET'))
      return secretGrant(clientOf(provider, nowMs, rules), secret)
    }
    case 'client_certificate': {
      const pem = materialOf(provider, 'AZURE_CLIENT_CERTIFICATE')
      const certificate = parseClientCertificate(pem, nowMs)
      return certificateGrant(clientOf(provider, nowMs, rules), certificate, nowMs)
    }
    case 'federated_token': {
      const file = checkFile(configOf(provider, 'AZURE_FEDERATED_TOKEN_FILE'))
      const client = clientOf(provider, nowMs, rules)
      return federatedGrant(client, textOfFile(file, rules.subjectTokenDirs))
    }
    case 'app_service':
    case 'arc':
    case 'imds':
      return machineGrant(provider, source, rules)
    default:
      return unreachable(source)
  }
}

function machineGrant(
  provider: ProviderRecord,
  source: 'app_service' | 'arc' | 'imds',
  rules: ProviderRules,
): Grant {
  const scope = scopeOf(provider, rules)
  const clientId = configOf(provider, 'AZURE_CLIENT_ID')
  const wish = { resource: scope.replace(/\/\.default$/, ''), clientId }
  if (source === 'imds') return imdsGrant(imdsHost(provider, rules), wish)
  const endpoint = identityEndpoint(provider, rules)
  if (source === 'app_service') {
    return appServiceGrant(endpoint, materialOf(provider, 'IDENTITY_HEADER'), wish)
  }
  if (clientId !== '') {
    throw new AppError('invalid_config', 'AZURE_CLIENT_ID cannot be used with Azure Arc', {
      hint: 'A machine that Azure Arc connects has one identity of its own: take AZURE_CLIENT_ID away',
    })
  }
  return arcGrant(endpoint, wish.resource)
}

function clientOf(provider: ProviderRecord, nowMs: number, rules: ProviderRules): EntraClient {
  const tenant = checkTenant(required(provider, 'AZURE_TENANT_ID'))
  const clientId = required(provider, 'AZURE_CLIENT_ID')
  if (!/^[\w.-]{1,128}$/.test(clientId)) {
    throw new AppError('invalid_config', 'AZURE_CLIENT_ID is not the id of an application')
  }
  const authority = resolveAuthority(configOf(provider, 'AZURE_AUTHORITY_HOST'), rules.allowList)
  return {
    tokenUrl: new URL(`/${tenant}/oauth2/v2.0/token`, authority),
    clientId,
    scope: scopeOf(provider, rules),
    isNew: nowMs - provider.updatedAtMs < NEW_MS,
  }
}

function scopeOf(provider: ProviderRecord, rules: ProviderRules): string {
  const configured = configOf(provider, 'AZURE_OPENAI_SCOPE')
  if (configured === '') {
    const { allowList } = rules
    const address = resolveAzureAddress(configOf(provider, 'AZURE_OPENAI_ENDPOINT'), allowList)
    const authority = resolveAuthority(configOf(provider, 'AZURE_AUTHORITY_HOST'), allowList)
    return azureScope(address, { authority, isClassic: isClassic(provider) })
  }
  if (/^[a-z]+:\/\/[^\s/]+(\/[^\s/]+)*\/\.default$/.test(configured)) return configured
  throw new AppError('invalid_config', 'AZURE_OPENAI_SCOPE is not one resource and /.default', {
    hint: 'For example https://cognitiveservices.azure.com/.default',
  })
}

function imdsHost(provider: ProviderRecord, rules: ProviderRules): URL {
  const label = 'AZURE_POD_IDENTITY_AUTHORITY_HOST'
  const configured = configOf(provider, label)
  if (configured === '') return new URL(IMDS_HOST)
  return checkEndpoint(configured, { label, vendorHosts: [], allowList: rules.allowList })
}

/**
 * The endpoint that receives the app's secret header. App Service has it on a link-local address and
 * plain http, which never leaves the machine; the operator must have allowed exactly that one.
 */
function identityEndpoint(provider: ProviderRecord, rules: ProviderRules): URL {
  const label = 'IDENTITY_ENDPOINT'
  const text = required(provider, label)
  const isLinkLocal = /^http:\/\/169\.254\.\d+\.\d+:\d+\//.test(text)
  const checked = checkEndpoint(isLinkLocal ? text.replace('http:', 'https:') : text, {
    label,
    vendorHosts: [],
    allowList: rules.allowList,
  })
  if (isLinkLocal) checked.protocol = 'http:'
  return checked
}

/** What says most likely that a key was forgotten, rather than that the machine has an identity. */
function checkMachine(provider: ProviderRecord): void {
  if (configOf(provider, 'AZURE_TENANT_ID') !== '') {
    throw new AppError(
      'invalid_credential',
      'AZURE_TENANT_ID is configured, but nothing proves the application to it',
      {
        hint: 'Add --credential AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE, or --config AZURE_FEDERATED_TOKEN_FILE=PATH; for a managed identity take AZURE_TENANT_ID away',
      },
    )
  }
  if (configOf(provider, 'IDENTITY_ENDPOINT') === '') return
  throw new AppError('invalid_config', 'IDENTITY_ENDPOINT is configured without its companion', {
    hint: 'App Service needs --credential IDENTITY_HEADER beside it, Azure Arc --config IMDS_ENDPOINT',
  })
}

/** `common` and the like stand for users of any tenant; an application signs in to its own. */
function checkTenant(tenant: string): string {
  const isAny = ['common', 'organizations', 'consumers'].includes(tenant.toLowerCase())
  if (!isAny && /^[0-9a-z](?:[0-9a-z-]|\.(?=[0-9a-z]))*$/i.test(tenant)) return tenant
  throw new AppError('invalid_config', `AZURE_TENANT_ID "${tenant.slice(0, 64)}" is not a tenant`, {
    hint: "Use the directory (tenant) id of the app registration, or the tenant's domain",
  })
}

function checkSecret(secret: Secret): Secret {
  if (/^[^\s\p{C}]+$/u.test(secret.reveal())) return secret
  throw new AppError(
    'invalid_credential',
    'AZURE_CLIENT_SECRET is not a client secret: expected characters without spaces',
    { hint: 'Look for a line end, quotes or a whole file in it' },
  )
}

function checkFile(file: string): string {
  if (file.startsWith('/')) return file
  throw new AppError('invalid_config', 'AZURE_FEDERATED_TOKEN_FILE is not an absolute path')
}

function materialOf(provider: ProviderRecord, key: string): Secret {
  const secret = provider.material.get(key)
  if (secret !== undefined) return secret
  throw new AppError('invalid_credential', `The credential ${key} is missing`, {
    hint: `Add --credential ${key} to take it from the environment`,
  })
}

function required(provider: ProviderRecord, key: string): string {
  const value = configOf(provider, key)
  if (value !== '') return value
  throw new AppError('invalid_config', `${key} is not configured`, {
    hint: `Add --config ${key}=…`,
  })
}
