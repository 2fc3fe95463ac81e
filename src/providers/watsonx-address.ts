import { checkEndpoint } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { ProviderRules } from './provider-type.ts'

const DEFAULT_URL = 'https://us-south.ml.cloud.ibm.com'

/** Regional and private hosts of IBM Cloud, then the SaaS on AWS and its twin for the government. */
const VENDOR_HOSTS = ['*.ml.cloud.ibm.com', '*.aws.wxai.ibm.com', '*.wxai.ibmforusgov.com']

/**
 * Where a provider's watsonx.ai is: scheme, host and port alone.
 *
 * @throws AppError `invalid_config` or `endpoint_forbidden`.
 */
export function watsonxUrl(provider: ProviderRecord, { allowList }: ProviderRules): URL {
  const configured = provider.config.get('WATSONX_URL')?.trim() ?? ''
  const url = checkEndpoint(configured === '' ? DEFAULT_URL : configured, {
    label: 'WATSONX_URL',
    vendorHosts: VENDOR_HOSTS,
    allowList,
  })
  if (/^\/(ml(\/v1)?\/?)?$/.test(url.pathname) && url.search === '') return new URL(url.origin)
  throw new AppError('invalid_config', `WATSONX_URL has an unknown path "${url.pathname}"`, {
    hint: 'Expected https://HOST, for example https://us-south.ml.cloud.ibm.com',
  })
}

/** Whether this is a SaaS whose API keys belong to its own console and not to IBM Cloud. */
export function isOnAws({ hostname }: URL): boolean {
  return hostname.endsWith('.aws.wxai.ibm.com') || hostname.endsWith('.wxai.ibmforusgov.com')
}
