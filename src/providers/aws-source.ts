import { checkEndpoint, isLoopback } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import type { ProviderRecord } from '../core/provider.ts'
import type { SigningKeys } from '../core/sigv4.ts'
import { textOfFile } from '../oauth/mint.ts'
import type { Grant } from '../oauth/token-request.ts'
import { containerGrant, instanceGrant } from './aws-metadata.ts'
import { configOf, domainOf, regionOf, serviceUrl } from './aws-region.ts'
import { isWord } from './aws-session.ts'
import { type AwsRole, checkRole, exchangeGrant, webIdentityGrant } from './aws-sts.ts'
import type { ProviderRules, RefreshStrategy } from './provider-type.ts'

const INSTANCE_METADATA = 'http://169.254.169.254'
const CONTAINER_METADATA = 'http://169.254.170.2'

/** Addresses that only AWS answers on, without TLS: ECS, EKS, and EKS by IPv6. */
const CONTAINER_HOSTS = ['169.254.170.2', '169.254.170.23', '[fd00:ec2::23]']

/** The two addresses of the instance metadata service. */
const INSTANCE_HOSTS = ['169.254.169.254', '[fd00:ec2::254]']

/** Where session keys come from, by what is configured. */
type Source = 'access_key' | 'web_identity' | 'container' | 'instance'

/**
 * The grant for session keys. Exactly one source must be configured; without any it is the role of
 * the instance that the gateway runs on.
 *
 * @throws AppError when it could never work.
 */
export function sessionGrant(provider: ProviderRecord, nowMs: number, rules: ProviderRules): Grant {
  const source = sourceOf(provider)
  switch (source) {
    case 'access_key':
      return exchangeGrant(stsUrl(provider, rules), {
        role: roleOf(provider),
        keys: longLivedKeys(provider),
        region: regionOf(provider),
        nowMs,
      })
    case 'web_identity':
      return webIdentityGrant(stsUrl(provider, rules), {
        role: demandRole(provider),
        tokenFile: configOf(provider, 'AWS_WEB_IDENTITY_TOKEN_FILE'),
        folders: rules.subjectTokenDirs,
      })
    case 'container':
      return containerGrant(containerUrl(provider, rules), containerToken(provider, rules))
    case 'instance':
      return instanceGrant(instanceOrigin(provider, rules))
    default:
      return source satisfies never
  }
}

/** A role is assumed by access key or by web identity; other session keys are given, not asked for. */
export function sessionStrategy(provider: ProviderRecord): RefreshStrategy {
  const isAtSts = hasAny(provider, ['AWS_ACCESS_KEY_ID', 'AWS_WEB_IDENTITY_TOKEN_FILE'])
  return isAtSts && configOf(provider, 'AWS_ROLE_ARN') !== '' ? 'aws_sts_assume_role' : ''
}

function sourceOf(provider: ProviderRecord): Source {
  if (provider.material.has('AWS_SESSION_TOKEN')) throw temporaryKeys('AWS_SESSION_TOKEN')
  const found: Source[] = []
  if (hasAny(provider, ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY'])) found.push('access_key')
  if (hasAny(provider, ['AWS_WEB_IDENTITY_TOKEN_FILE'])) found.push('web_identity')
  const container = ['AWS_CONTAINER_CREDENTIALS_FULL_URI', 'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI']
  if (hasAny(provider, container)) found.push('container')
  if (found.length > 1) {
    throw new AppError(
      'invalid_config',
      `The provider names more than one source of AWS keys: ${found.join(', ')}`,
      { hint: 'Take the keys of all but one away, by setting them to nothing' },
    )
  }
  return found[0] ?? 'instance'
}

function hasAny({ material, config }: ProviderRecord, names: readonly string[]): boolean {
  return names.some(name => material.has(name) || (config.get(name)?.trim() ?? '') !== '')
}

function stsUrl(provider: ProviderRecord, rules: ProviderRules): URL {
  const region = regionOf(provider)
  const domain = domainOf(region)
  return serviceUrl(provider, {
    label: 'AWS_ENDPOINT_URL_STS',
    hosts: [`sts.${region}.${domain}`, `sts-fips.${region}.${domain}`, 'sts.amazonaws.com'],
    rules,
  })
}

function roleOf(provider: ProviderRecord): AwsRole | null {
  const arn = configOf(provider, 'AWS_ROLE_ARN')
  if (arn === '') return null
  const sessionName =
    configOf(provider, 'AWS_ROLE_SESSION_NAME') || `openshell-${provider.name}`.slice(0, 64)
  return checkRole({ arn, sessionName, externalId: '' })
}

function demandRole(provider: ProviderRecord): AwsRole {
  const role = roleOf(provider)
  if (role !== null) return role
  throw new AppError('invalid_config', 'AWS_WEB_IDENTITY_TOKEN_FILE needs AWS_ROLE_ARN, too', {
    hint: 'Add --config AWS_ROLE_ARN=arn:aws:iam::ACCOUNT:role/NAME',
  })
}

/** Keys of an IAM user. They sign requests to STS alone: what reaches a router is a session. */
function longLivedKeys({ material }: ProviderRecord): SigningKeys {
  const accessKeyId = material.get('AWS_ACCESS_KEY_ID')?.reveal().trim() ?? ''
  const secretAccessKey = material.get('AWS_SECRET_ACCESS_KEY')
  if (accessKeyId.startsWith('ASIA')) throw temporaryKeys('AWS_ACCESS_KEY_ID')
  if (!/^[\w-]{4,128}$/.test(accessKeyId)) throw unusable('AWS_ACCESS_KEY_ID', 'AKIA…')
  if (secretAccessKey === undefined || !isWord(secretAccessKey.reveal())) {
    throw unusable('AWS_SECRET_ACCESS_KEY', 'the secret that belongs to it')
  }
  return { accessKeyId, secretAccessKey, sessionToken: null }
}

function containerUrl(provider: ProviderRecord, rules: ProviderRules): URL {
  const label = 'AWS_CONTAINER_CREDENTIALS_FULL_URI'
  const relative = configOf(provider, 'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI')
  if (relative !== '') {
    if (/^\/[\w/.~-]*$/.test(relative)) return new URL(`${CONTAINER_METADATA}${relative}`)
    throw new AppError('invalid_config', 'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is not a path')
  }
  const text = configOf(provider, label)
  const fixed = fixedUrl(text, CONTAINER_HOSTS)
  return fixed ?? checkEndpoint(text, { label, vendorHosts: [], allowList: rules.allowList })
}

function containerToken(provider: ProviderRecord, rules: ProviderRules) {
  const file = configOf(provider, 'AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE')
  if (file !== '') return textOfFile(file, rules.subjectTokenDirs)
  const token = provider.material.get('AWS_CONTAINER_AUTHORIZATION_TOKEN')
  if (token === undefined || isWord(token.reveal())) return token ?? null
  throw unusable('AWS_CONTAINER_AUTHORIZATION_TOKEN', 'one word')
}

function instanceOrigin(provider: ProviderRecord, rules: ProviderRules): string {
  const label = 'AWS_EC2_METADATA_SERVICE_ENDPOINT'
  const text = configOf(provider, label)
  if (text === '') return INSTANCE_METADATA
  const url =
    fixedUrl(text, INSTANCE_HOSTS) ??
    checkEndpoint(text, { label, vendorHosts: [], allowList: rules.allowList })
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '')
}

/** An address of AWS's own that has no TLS; null for any other. */
function fixedUrl(text: string, hosts: readonly string[]): URL | null {
  const url = URL.parse(text)
  if (url === null || isLoopback(url.hostname)) return null
  const isPlain = url.protocol === 'http:' && url.port === '' && url.username === ''
  return isPlain && hosts.includes(url.hostname) ? url : null
}

function temporaryKeys(name: string): AppError {
  return new AppError(
    'invalid_credential',
    `${name} belongs to temporary keys, which end within hours and cannot be renewed by the gateway`,
    { hint: 'Give the keys of an IAM user, a role by web identity, or no key on an AWS machine' },
  )
}

function unusable(name: string, expected: string): AppError {
  return new AppError('invalid_credential', `Cannot use ${name}: expected ${expected}`, {
    hint: `Add --credential ${name} to take it from the environment`,
  })
}
