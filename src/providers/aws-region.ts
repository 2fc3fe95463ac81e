import { checkEndpoint } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { ProviderRules } from './provider-type.ts'

/** One key of a provider's configuration; '' when it is not there. */
export function configOf(provider: ProviderRecord, name: string): string {
  return provider.config.get(name)?.trim() ?? ''
}

/**
 * The region, which builds hosts that receive signatures and is therefore held to its pattern.
 *
 * @throws AppError `invalid_config`.
 */
export function regionOf(provider: ProviderRecord): string {
  const region = configOf(provider, 'AWS_REGION')
  if (/^[a-z]{2}(-[a-z]{2,12}){1,2}-\d{1,2}$/.test(region)) return region
  const what = region === '' ? 'AWS_REGION is missing' : `"${region}" is not an AWS region`
  throw new AppError('invalid_config', what, { hint: 'Add --config AWS_REGION=us-east-1' })
}

/** What all hosts of a region end in. */
export function domainOf(region: string): string {
  return region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com'
}

/**
 * The address of a service: AWS's own in the region, or the one that the configuration names.
 *
 * @throws AppError `invalid_config` or `endpoint_forbidden`.
 */
export function serviceUrl(
  provider: ProviderRecord,
  options: {
    /** The configuration key that names another. */
    readonly label: string
    /** The first is AWS's own. */
    readonly hosts: readonly [string, ...string[]]
    readonly rules: ProviderRules
  },
): URL {
  const { label, hosts, rules } = options
  const configured = configOf(provider, label)
  if (configured === '') return new URL(`https://${hosts[0]}/`)
  const url = checkEndpoint(configured, { label, vendorHosts: hosts, allowList: rules.allowList })
  if (url.search === '') return url
  throw new AppError('invalid_config', `${label} must not carry a query`)
}
