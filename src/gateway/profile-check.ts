import type { MessageInitShape } from '@bufbuild/protobuf'
import { isLoopback } from '../core/endpoint.ts'
import { knownProviderType } from '../providers/registry.ts'
import type {
  ProviderProfile,
  ProviderProfileCredential,
  ProviderProfileDiagnosticSchema,
} from '../wire/gen/openshell/v1/profile_pb.ts'
import { ProviderCredentialRefreshStrategy as Strategy } from '../wire/gen/openshell/v1/refresh_pb.ts'

const ID_CHARS_MAX = 64
const CREDENTIALS_MAX = 32
const ENDPOINTS_MAX = 256
const BINARIES_MAX = 256
const TEXT_CHARS_MAX = 4_096

const AUTH_STYLES = ['', 'basic', 'bearer', 'header', 'query', 'path']

/** Material that would send a secret to an address of the caller's choice. */
export const URL_MATERIAL: readonly string[] = ['token_url', 'token_uri', 'sts_endpoint_url']

/** What a mint by AWS STS brings besides the access key, and the only names that it may go by. */
const OUTPUTS: ReadonlyMap<string, string> = new Map([
  ['secret_access_key', 'AWS_SECRET_ACCESS_KEY'],
  ['session_token', 'AWS_SESSION_TOKEN'],
])

/** A profile that a caller hands in, with what the caller calls it. */
export interface ProfileItem {
  readonly profile?: ProviderProfile | undefined
  readonly source: string
}

type Diagnostic = MessageInitShape<typeof ProviderProfileDiagnosticSchema>

type Complain = (field: string, message: string) => void

/** Everything that is wrong with profiles, all at once; empty when they can be stored. */
export function checkProfiles(items: readonly ProfileItem[]): readonly Diagnostic[] {
  const seen = new Set<string>()
  return items.flatMap(({ profile, source }) => {
    const found: Diagnostic[] = []
    const profileId = profile?.id.slice(0, ID_CHARS_MAX) ?? ''
    const complain: Complain = (field, message) =>
      found.push({ source, profileId, field, message, severity: 'error' })
    if (profile === undefined) {
      complain('profile', 'The profile is missing')
      return found
    }
    checkIdentity(profile, complain)
    if (seen.has(profile.id)) complain('id', `"${profileId}" stands twice in this batch`)
    seen.add(profile.id)
    checkCredentials(profile, complain)
    checkDiscovery(profile, complain)
    checkNetwork(profile, complain)
    return found
  })
}

function checkIdentity({ id, displayName, description }: ProviderProfile, complain: Complain) {
  if (!/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(id) || id.length > ID_CHARS_MAX) {
    complain('id', `An id has lower-case letters, digits and dashes, at most ${ID_CHARS_MAX}`)
  } else if (knownProviderType(id) !== null) {
    complain('id', `"${id}" is a built-in type, which cannot be overwritten`)
  }
  if (displayName.trim() === '') complain('display_name', 'The display name is missing')
  if (displayName.length + description.length > TEXT_CHARS_MAX) {
    complain('description', `Names and descriptions have at most ${TEXT_CHARS_MAX} characters`)
  }
}

function checkCredentials(profile: ProviderProfile, complain: Complain): void {
  const { credentials } = profile
  if (credentials.length > CREDENTIALS_MAX) {
    complain('credentials', `A profile has at most ${CREDENTIALS_MAX} credentials`)
  }
  const names = new Set<string>()
  const variables = new Set<string>()
  for (const [at, credential] of credentials.entries()) {
    const field = `credentials[${at}]`
    const { name, envVars } = credential
    if (name === '') complain(`${field}.name`, 'The name is missing')
    if (names.has(name)) complain(`${field}.name`, `"${name}" stands twice`)
    names.add(name)
    for (const variable of envVars) {
      if (!/^[A-Za-z_][A-Za-z0-9_]{0,255}$/.test(variable)) {
        complain(`${field}.env_vars`, `"${variable.slice(0, 64)}" is no name of a variable`)
      } else if (variables.has(variable)) {
        complain(`${field}.env_vars`, `"${variable}" belongs to two credentials`)
      }
      variables.add(variable)
    }
    checkAuthStyle(credential, field, complain)
    checkRefresh(profile, credential, { field, complain })
    checkTokenGrant(credential, field, complain)
  }
}

function checkAuthStyle(
  { authStyle, headerName, queryParam, pathTemplate }: ProviderProfileCredential,
  field: string,
  complain: Complain,
): void {
  const style = authStyle.toLowerCase()
  if (!AUTH_STYLES.includes(style)) {
    complain(`${field}.auth_style`, 'Expected basic, bearer, header, query or path')
  }
  if (style === 'header' && headerName === '') {
    complain(`${field}.header_name`, 'auth_style "header" needs a header_name')
  }
  if (style === 'query' && queryParam === '') {
    complain(`${field}.query_param`, 'auth_style "query" needs a query_param')
  }
  if (style === 'path' && pathTemplate === '') {
    complain(`${field}.path_template`, 'auth_style "path" needs a path_template')
  }
}

function checkRefresh(
  profile: ProviderProfile,
  credential: ProviderProfileCredential,
  { field, complain }: { readonly field: string; readonly complain: Complain },
): void {
  const { refresh } = credential
  if (refresh === undefined) return
  const place = `${field}.refresh`
  if (refresh.strategy === Strategy.UNSPECIFIED) {
    complain(`${place}.strategy`, 'The strategy is missing')
  }
  const isMinted = refresh.strategy > Strategy.EXTERNAL
  if (isMinted && credential.envVars.length === 0) {
    complain(`${field}.env_vars`, 'What is refreshed needs a key to stand under')
  }
  if (refresh.tokenUrl !== '' && !isTokenUrl(refresh.tokenUrl)) {
    complain(`${place}.token_url`, 'Expected https, or http to a loopback address')
  }
  const needsUrl = refresh.strategy === Strategy.OAUTH2_REFRESH_TOKEN
  if (needsUrl && refresh.tokenUrl === '')
    complain(`${place}.token_url`, 'The token_url is missing')
  if (refresh.refreshBeforeSeconds < 0n) {
    complain(`${place}.refresh_before_seconds`, 'A time cannot be negative')
  }
  if (refresh.maxLifetimeSeconds < 0n) {
    complain(`${place}.max_lifetime_seconds`, 'A time cannot be negative')
  }
  const names = refresh.material.map(one => one.name)
  for (const name of names) {
    if (name === '') complain(`${place}.material`, 'The name of a material is missing')
    if (URL_MATERIAL.includes(name)) {
      complain(`${place}.material`, `"${name}" is no material: addresses stand in token_url`)
    }
  }
  if (new Set(names).size < names.length) complain(`${place}.material`, 'A material stands twice')
  checkOutputs(profile, credential, { place, complain })
}

function checkOutputs(
  { credentials }: ProviderProfile,
  { refresh, name }: ProviderProfileCredential,
  { place, complain }: { readonly place: string; readonly complain: Complain },
): void {
  for (const [at, { output, credential }] of (refresh?.additionalOutputs ?? []).entries()) {
    const field = `${place}.additional_outputs[${at}]`
    const variable = OUTPUTS.get(output)
    if (variable === undefined || refresh?.strategy !== Strategy.AWS_STS_ASSUME_ROLE) {
      complain(`${field}.output`, `This strategy brings no "${output.slice(0, 64)}"`)
      continue
    }
    const target = credentials.find(one => one.name === credential && one.name !== name)
    if (target === undefined) {
      complain(`${field}.credential`, `There is no other credential "${credential.slice(0, 64)}"`)
    } else if (target.refresh !== undefined) {
      complain(`${field}.credential`, `"${credential}" has a refresh of its own`)
    } else if (!target.envVars.includes(variable)) {
      complain(`${field}.credential`, `"${credential}" must stand under ${variable}`)
    }
  }
}

function checkTokenGrant(
  { tokenGrant }: ProviderProfileCredential,
  field: string,
  complain: Complain,
): void {
  if (tokenGrant === undefined || isTokenUrl(tokenGrant.tokenEndpoint, '.svc.cluster.local')) return
  complain(
    `${field}.token_grant.token_endpoint`,
    'Expected https, or http to a loopback or in-cluster address',
  )
}

function checkDiscovery({ credentials, discovery }: ProviderProfile, complain: Complain): void {
  for (const name of discovery?.credentials ?? []) {
    if (credentials.some(one => one.name === name)) continue
    complain('discovery.credentials', `There is no credential "${name.slice(0, 64)}"`)
  }
}

function checkNetwork({ endpoints, binaries }: ProviderProfile, complain: Complain): void {
  if (endpoints.length > ENDPOINTS_MAX) {
    complain('endpoints', `A profile has at most ${ENDPOINTS_MAX} endpoints`)
  }
  for (const [at, { host, port, ports }] of endpoints.entries()) {
    if (!/^[a-z0-9*_[]([a-z0-9._*:\]-]*[a-z0-9*\]])?$/i.test(host)) {
      complain(`endpoints[${at}].host`, 'Expected a host, or a pattern with *')
    }
    const all = port === 0 ? ports : [port, ...ports]
    if (all.some(one => one === 0 || one > 65_535)) {
      complain(`endpoints[${at}].port`, 'Expected a port from 1 to 65535')
    }
  }
  if (binaries.length > BINARIES_MAX) {
    complain('binaries', `A profile has at most ${BINARIES_MAX} binaries`)
  }
  for (const [at, { path }] of binaries.entries()) {
    if (!path.startsWith('/')) complain(`binaries[${at}].path`, 'Expected an absolute path')
  }
}

function isTokenUrl(text: string, plainSuffix = ''): boolean {
  const url = URL.parse(text)
  if (url === null || url.username !== '' || url.password !== '' || url.hash !== '') return false
  if (url.protocol === 'https:') return url.hostname !== ''
  const isInside = plainSuffix !== '' && url.hostname.endsWith(plainSuffix)
  return url.protocol === 'http:' && (isLoopback(url.hostname) || isInside)
}
