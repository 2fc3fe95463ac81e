import { checkEndpoint } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { Secret } from '../core/secret.ts'
import { unreachable } from '../core/unreachable.ts'
import type { Grant } from '../oauth/token-request.ts'
import { apiKeyGrant, profileGrant, type TrustedProfile, vpcGrant } from './ibm-iam.ts'
import { consoleGrant, type PlatformUser, platformGrant, zenGrant } from './ibm-platform.ts'
import type { ProviderRules } from './provider-type.ts'
import { isOnAws, watsonxUrl } from './watsonx-address.ts'

/** The key of an IBM Cloud or Software Hub API key. */
export const IBM_API_KEY = 'IBM_CLOUD_API_KEY'
/** The key of a Software Hub user's password. */
export const IBM_PASSWORD = 'WATSONX_PASSWORD'

const IAM_URL = 'https://iam.cloud.ibm.com'
const IAM_HOSTS = ['iam.cloud.ibm.com', '*.iam.cloud.ibm.com', 'iam.test.cloud.ibm.com']
const CONSOLE_URL = 'https://account-iam.platform.saas.ibm.com'
const CONSOLE_HOSTS = [
  'account-iam.platform.saas.ibm.com',
  'account-iam.awsg.usge1.private.platform.ibmforusgov.com',
]
/** Fixed for every VPC instance; plain http, for it is the machine itself. */
const METADATA_URL = 'http://169.254.169.254'
const METADATA_HOSTS = ['api.metadata.cloud.ibm.com']

/**
 * How a token is got: `iam` an API key at IBM Cloud · `mcsp` an API key at the console of the SaaS on
 * AWS · `profile` a trusted profile · `vpc` a VPC instance's identity · `cp4d` a user of Software Hub ·
 * `zen` the same user without an exchange.
 */
const SOURCES = ['iam', 'mcsp', 'profile', 'vpc', 'cp4d', 'zen'] as const

/** One of the ways to a token. */
export type IbmSource = (typeof SOURCES)[number]

/** A configuration value; '' when it is not there. */
export function configOf(provider: ProviderRecord, name: string): string {
  return provider.config.get(name)?.trim() ?? ''
}

/** The way that was configured, or that follows from what was given. @throws AppError. */
export function ibmSource(provider: ProviderRecord, rules: ProviderRules): IbmSource {
  const named = configOf(provider, 'WATSONX_AUTH')
  const known = SOURCES.find(one => one === named)
  if (known !== undefined) return known
  if (named !== '') {
    throw new AppError('invalid_config', `WATSONX_AUTH names no way to sign in: "${named}"`, {
      hint: `Expected one of ${SOURCES.join(', ')}`,
    })
  }
  if (configOf(provider, 'WATSONX_USERNAME') !== '') return 'cp4d'
  if (provider.material.has(IBM_API_KEY))
    return isOnAws(watsonxUrl(provider, rules)) ? 'mcsp' : 'iam'
  return 'profile'
}

/**
 * The grant of a provider.
 *
 * @throws AppError `invalid_credential`, `invalid_config` or `endpoint_forbidden`.
 */
export function ibmGrant(provider: ProviderRecord, rules: ProviderRules): Grant {
  const source = ibmSource(provider, rules)
  const configuredAtMs = provider.updatedAtMs
  switch (source) {
    case 'iam':
      return apiKeyGrant(apiKey(provider), { iamUrl: iamUrl(provider, rules), configuredAtMs })
    case 'mcsp':
      return consoleGrant(apiKey(provider), consoleUrl(provider, rules))
    case 'profile':
      return profileGrant(demandProfile(provider), {
        iamUrl: iamUrl(provider, rules),
        configuredAtMs,
        tokenFile: configOf(provider, 'IBM_CR_TOKEN_FILE'),
        folders: rules.subjectTokenDirs,
      })
    case 'vpc':
      return vpcGrant(profileOf(provider), {
        metadataUrl: metadataUrl(provider, rules),
        configuredAtMs,
      })
    case 'cp4d':
      return platformGrant(platformUser(provider), watsonxUrl(provider, rules))
    case 'zen':
      return zenGrant(platformUser(provider))
    default:
      return unreachable(source)
  }
}

function apiKey(provider: ProviderRecord): Secret {
  const key = provider.material.get(IBM_API_KEY)
  if (key === undefined) throw missing(IBM_API_KEY)
  // The JSON file that the console offers for download is often given instead of the key in it.
  if (/^(?!\{)[\x21-\x7e]+$/.test(key.reveal())) return key
  throw new AppError('invalid_credential', `The credential ${IBM_API_KEY} is not an API key`, {
    hint: 'Give the value of "apikey" in the downloaded file, without quotes',
  })
}

function platformUser(provider: ProviderRecord): PlatformUser {
  const name = configOf(provider, 'WATSONX_USERNAME')
  if (name === '' || /[:\p{C}]/u.test(name)) {
    throw new AppError('invalid_config', 'WATSONX_USERNAME is missing or no user name', {
      hint: 'Add --config WATSONX_USERNAME=NAME',
    })
  }
  const password = provider.material.get(IBM_PASSWORD)
  if (password !== undefined) return { name, secret: password, kind: 'password' }
  return { name, secret: apiKey(provider), kind: 'api_key' }
}

function profileOf(provider: ProviderRecord): TrustedProfile {
  return {
    id: configOf(provider, 'IBM_PROFILE_ID'),
    name: configOf(provider, 'IBM_PROFILE_NAME'),
  }
}

function demandProfile(provider: ProviderRecord): TrustedProfile {
  const profile = profileOf(provider)
  if (profile.id !== '' || profile.name !== '') return profile
  throw new AppError('invalid_credential', 'There is neither an API key nor a trusted profile', {
    hint: `Add --credential ${IBM_API_KEY}, or --config IBM_PROFILE_ID=Profile-ID`,
  })
}

function iamUrl(provider: ProviderRecord, { allowList }: ProviderRules): URL {
  return checkEndpoint(configOf(provider, 'IBM_IAM_URL') || IAM_URL, {
    label: 'IBM_IAM_URL',
    vendorHosts: IAM_HOSTS,
    allowList,
  })
}

function consoleUrl(provider: ProviderRecord, { allowList }: ProviderRules): URL {
  return checkEndpoint(configOf(provider, 'IBM_IAM_URL') || CONSOLE_URL, {
    label: 'IBM_IAM_URL',
    vendorHosts: CONSOLE_HOSTS,
    allowList,
  })
}

function metadataUrl(provider: ProviderRecord, { allowList }: ProviderRules): URL {
  const configured = configOf(provider, 'IBM_VPC_METADATA_URL')
  if (configured === '' || configured === METADATA_URL) return new URL(METADATA_URL)
  return checkEndpoint(configured, {
    label: 'IBM_VPC_METADATA_URL',
    vendorHosts: METADATA_HOSTS,
    allowList,
  })
}

function missing(key: string): AppError {
  return new AppError('invalid_credential', `The credential ${key} is missing`, {
    hint: `Add --credential ${key} to take it from the environment`,
  })
}
