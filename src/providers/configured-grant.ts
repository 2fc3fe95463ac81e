import type { ConfiguredGrant, GrantStrategy } from '../core/configured-grant.ts'
import { checkEndpoint } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import type { Secret } from '../core/secret.ts'
import type { ClientAuthentication } from '../oauth/client-authentication.ts'
import { clientCredentialsGrant } from '../oauth/client-credentials.ts'
import { normalizeRsaKey } from '../oauth/private-key.ts'
import { refreshTokenGrant } from '../oauth/refresh-token.ts'
import type { Grant, TokenRequest } from '../oauth/token-request.ts'
import { isWord } from './aws-session.ts'
import { checkRole, exchangeGrant } from './aws-sts.ts'
import { secretGrant } from './entra-client.ts'
import { serviceAccountGrant } from './google-service-account.ts'
import type { ProviderRules } from './provider-type.ts'
import type { GrantSource } from './refresher.ts'

/** The refresh token's name in the material; what a server rotates it to takes its place. */
const REFRESH_TOKEN = 'refresh_token'

const GOOGLE_HOST = 'oauth2.googleapis.com'
const ENTRA_HOST = 'login.microsoftonline.com'

/** Token endpoints that belong to a vendor; any other has to be allowed by the operator. */
const VENDOR_HOSTS = [GOOGLE_HOST, ENTRA_HOST, 'sts.amazonaws.com', '*.amazonaws.com']

/** Material without which a strategy can never work. */
const REQUIRED: Readonly<Record<GrantStrategy, readonly string[]>> = {
  google_service_account_jwt: ['client_email', 'private_key'],
  oauth2_refresh_token: ['client_id', REFRESH_TOKEN],
  oauth2_client_credentials: ['client_id', 'client_secret'],
  aws_sts_assume_role: ['role_arn', 'aws_access_key_id', 'aws_secret_access_key'],
}

/** The material that a configured grant lacks, as far as its strategy says. */
export function missingMaterial(
  strategy: GrantStrategy,
  material: ReadonlyMap<string, unknown>,
): readonly string[] {
  return REQUIRED[strategy].filter(name => !material.has(name))
}

/** A configured grant, as a refresher takes it. */
export function configuredSource(type: string, grant: ConfiguredGrant): GrantSource {
  return { type, grant: (_provider, nowMs, rules) => configuredGrant(grant, nowMs, rules) }
}

/**
 * The grant that a person configured for a key.
 *
 * @throws AppError when its material could never bring a token.
 */
export function configuredGrant(
  configured: ConfiguredGrant,
  nowMs: number,
  rules: ProviderRules,
): Grant {
  return within(configured, requestOf(configured, nowMs, rules))
}

function requestOf(configured: ConfiguredGrant, nowMs: number, rules: ProviderRules): TokenRequest {
  const missing = missingMaterial(configured.strategy, configured.material)
  if (missing.length > 0) throw incomplete(missing)
  switch (configured.strategy) {
    case 'google_service_account_jwt':
      return googleRequest(configured, nowMs, rules)
    case 'oauth2_refresh_token':
      return refreshRequest(configured, nowMs, rules)
    case 'oauth2_client_credentials':
      return clientRequest(configured, nowMs, rules)
    case 'aws_sts_assume_role':
      return awsRequest(configured, nowMs, rules)
  }
}

function googleRequest(configured: ConfiguredGrant, nowMs: number, rules: ProviderRules) {
  const scope = scopesOf(configured)
  if (scope === '') {
    throw new AppError('invalid_config', 'A service account needs at least one scope', {
      hint: 'Add --material scopes=https://www.googleapis.com/auth/cloud-platform',
    })
  }
  const account = {
    clientEmail: wordOf(configured, 'client_email'),
    privateKeyId: textOf(configured, 'private_key_id'),
    privateKey: normalizeRsaKey(secretOf(configured, 'private_key'), 'private_key'),
    tokenUrl: tokenUrlOf(configured, `https://${GOOGLE_HOST}/token`, rules),
  }
  const subject = textOf(configured, 'subject') || textOf(configured, 'sub')
  return serviceAccountGrant(account, nowMs, { scope, subject })
}

function refreshRequest(configured: ConfiguredGrant, nowMs: number, rules: ProviderRules) {
  const tokenUrl = tokenUrlOf(configured, '', rules)
  const refreshToken = secretOf(configured, REFRESH_TOKEN)
  const grant = refreshTokenGrant(
    { ...clientOf(configured), tokenUrl },
    { refreshToken, rotates: REFRESH_TOKEN },
    nowMs,
  )
  // Google's refresh tokens may be used again and again, so an unknown outcome costs nothing.
  return tokenUrl.hostname === GOOGLE_HOST ? { ...grant, singleUse: null } : grant
}

function clientRequest(configured: ConfiguredGrant, nowMs: number, rules: ProviderRules) {
  const tenant = textOf(configured, 'tenant_id')
  if (tenant === '') {
    const tokenUrl = tokenUrlOf(configured, '', rules)
    return clientCredentialsGrant({ ...clientOf(configured), tokenUrl }, nowMs)
  }
  if (!/^[0-9a-z][0-9a-z.-]*$/i.test(tenant)) {
    throw new AppError('invalid_config', 'tenant_id is not a directory')
  }
  const entra = `https://${ENTRA_HOST}/${tenant}/oauth2/v2.0/token`
  const client = {
    tokenUrl: tokenUrlOf(configured, entra, rules),
    clientId: clientIdOf(configured),
    scope: scopesOf(configured),
    isNew: false,
  }
  return secretGrant(client, secretOf(configured, 'client_secret'))
}

function awsRequest(configured: ConfiguredGrant, nowMs: number, rules: ProviderRules) {
  const region = textOf(configured, 'aws_region') || 'us-east-1'
  if (!/^[a-z]{2}(-[a-z]{2,12}){1,2}-\d{1,2}$/.test(region)) {
    throw new AppError('invalid_config', `aws_region "${region.slice(0, 32)}" is not an AWS region`)
  }
  const domain = region.startsWith('cn-') ? 'amazonaws.com.cn' : 'amazonaws.com'
  const sessionToken = configured.material.get('aws_session_token') ?? null
  const secretAccessKey = secretOf(configured, 'aws_secret_access_key')
  if (!isWord(secretAccessKey.reveal()) || sessionToken?.isEmpty === true) {
    throw new AppError('invalid_credential', 'aws_secret_access_key is not a secret access key')
  }
  return exchangeGrant(tokenUrlOf(configured, `https://sts.${region}.${domain}/`, rules), {
    role: checkRole({
      arn: textOf(configured, 'role_arn'),
      sessionName: textOf(configured, 'session_name') || 'openshell-sandbox',
      externalId: textOf(configured, 'external_id'),
    }),
    keys: { accessKeyId: wordOf(configured, 'aws_access_key_id'), secretAccessKey, sessionToken },
    region,
    nowMs,
  })
}

/** Holds a grant to what the profile, or the person, says of lead and life. */
function within(configured: ConfiguredGrant, request: TokenRequest): TokenRequest {
  const { refreshBeforeSeconds, maxLifetimeSeconds } = configured
  const { judge } = request
  return {
    ...request,
    ...(refreshBeforeSeconds === 0
      ? {}
      : { leadMs: lifetimeMs => Math.min(refreshBeforeSeconds * 1_000, lifetimeMs / 2) }),
    judge(answer, nowMs) {
      const result = judge(answer, nowMs)
      if (result.kind === 'failed' || maxLifetimeSeconds === 0) return result
      const lifetimeMs = Math.min(result.lifetimeMs, maxLifetimeSeconds * 1_000)
      return { ...result, lifetimeMs }
    },
  }
}

function clientOf(configured: ConfiguredGrant) {
  const clientId = clientIdOf(configured)
  const clientSecret = configured.material.get('client_secret')
  const authentication: ClientAuthentication =
    clientSecret === undefined
      ? { kind: 'none', clientId }
      : { kind: 'post', clientId, clientSecret }
  return { authentication, scopes: scopesOf(configured), audience: '' }
}

function tokenUrlOf(configured: ConfiguredGrant, fallback: string, rules: ProviderRules): URL {
  const text = configured.tokenUrl === '' ? fallback : configured.tokenUrl
  if (text === '') {
    throw new AppError('invalid_config', 'Nothing says where the token comes from', {
      hint: 'Describe the provider in a profile whose refresh names a token_url, or give tenant_id',
    })
  }
  const { allowList } = rules
  return checkEndpoint(text, { label: 'token_url', vendorHosts: VENDOR_HOSTS, allowList })
}

/** The person's own scopes, else those of the profile; separated by spaces. */
function scopesOf(configured: ConfiguredGrant): string {
  const own = textOf(configured, 'scopes') || textOf(configured, 'scope')
  return own === '' ? configured.scopes.join(' ') : own.split(/[\s,]+/).join(' ')
}

function textOf({ material }: ConfiguredGrant, name: string): string {
  return material.get(name)?.reveal().trim() ?? ''
}

/** Authorization servers hand out whatever they like, spaces and colons included. */
function clientIdOf(configured: ConfiguredGrant): string {
  const text = textOf(configured, 'client_id')
  if (/^\P{C}{1,512}$/u.test(text)) return text
  throw new AppError('invalid_credential', 'client_id is not the id of a client')
}

function wordOf(configured: ConfiguredGrant, name: string): string {
  const text = textOf(configured, name)
  if (/^[\x21-\x7e]{1,512}$/.test(text)) return text
  throw new AppError('invalid_credential', `${name} is not one word of printable characters`)
}

function secretOf({ material }: ConfiguredGrant, name: string): Secret {
  const secret = material.get(name)
  if (secret !== undefined) return secret
  throw incomplete([name])
}

function incomplete(names: readonly string[]): AppError {
  return new AppError('invalid_credential', `The refresh lacks ${names.join(', ')}`, {
    hint: "Give it with 'openshell provider refresh configure', as --material or --secret-material-env",
  })
}
