import { checkEndpoint, type EndpointAllowList } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'

const DEFAULT_LOCATION = 'us-central1'

/** Where a Vertex AI project is served. */
export interface VertexAddress {
  /** Scheme, host and port. */
  readonly origin: string
  readonly project: string
  readonly location: string
}

/** What the configuration says, as far as it says it; '' where it does not. */
export interface VertexConfig {
  /** A host, or any prefix of the full path of a model. */
  readonly baseUrl: string
  readonly project: string
  readonly location: string
}

/**
 * Resolves project, location and host. A base URL may be as short as the host; what it leaves out
 * comes from the other keys. Location builds the host that receives a Google token, so it is held
 * to its pattern.
 *
 * @throws AppError `invalid_config` or `endpoint_forbidden`.
 */
export function resolveVertexAddress(
  config: VertexConfig,
  allowList: EndpointAllowList,
): VertexAddress {
  if (config.baseUrl === '') {
    const location = config.location === '' ? DEFAULT_LOCATION : checkLocation(config.location)
    return {
      origin: `https://${vertexHost(location)}`,
      project: checkProject(config.project),
      location,
    }
  }
  const url = parseBaseUrl(config.baseUrl, allowList)
  const path =
    /^(?:\/v1(?:beta1)?(?:\/projects(?:\/([^/]+)(?:\/locations(?:\/([^/]+)(?:\/.*)?)?)?)?)?)?\/?$/.exec(
      url.pathname,
    )
  if (path === null) {
    throw new AppError('invalid_config', `VERTEX_BASE_URL has an unknown path "${url.pathname}"`, {
      hint: 'Expected https://HOST or https://HOST/v1/projects/PROJECT/locations/LOCATION',
    })
  }
  const hostLocation = locationOfHost(url.hostname)
  const named = path[2] ?? config.location
  const location = named === '' ? (hostLocation ?? DEFAULT_LOCATION) : checkLocation(named)
  if (hostLocation !== null && hostLocation !== location) {
    throw new AppError(
      'invalid_config',
      `VERTEX_BASE_URL names host "${url.hostname}", but location "${location}" is served by "${vertexHost(location)}"`,
    )
  }
  return { origin: url.origin, project: checkProject(path[1] ?? config.project), location }
}

/** The host of a location: regional, multi-regional (`us`, `eu`) or `global`. */
export function vertexHost(location: string): string {
  if (location === 'global') return 'aiplatform.googleapis.com'
  if (location === 'us' || location === 'eu') return `aiplatform.${location}.rep.googleapis.com`
  return `${location}-aiplatform.googleapis.com`
}

function parseBaseUrl(text: string, allowList: EndpointAllowList): URL {
  const withScheme = /^[a-z]+:\/\//i.test(text) ? text : `https://${text}`
  const url = URL.parse(withScheme)
  const isVertex = url !== null && isVertexHost(url.hostname)
  const checked = checkEndpoint(withScheme, {
    label: 'VERTEX_BASE_URL',
    vendorHosts: isVertex ? [url.hostname] : [],
    allowList,
  })
  if (checked.search !== '') {
    throw new AppError('invalid_config', 'VERTEX_BASE_URL must not carry a query')
  }
  return checked
}

function locationOfHost(hostname: string): string | null {
  if (hostname === 'aiplatform.googleapis.com') return 'global'
  const match =
    /^([a-z]+-[a-z]+\d+)-aiplatform\.googleapis\.com$/.exec(hostname) ??
    /^aiplatform\.(us|eu)\.rep\.googleapis\.com$/.exec(hostname)
  return match?.[1] ?? null
}

/** Whether the host is one of Vertex AI's own. */
export function isVertexHost(hostname: string): boolean {
  return locationOfHost(hostname) !== null
}

/** Held to its pattern, for it becomes part of a host or a path. */
export function checkLocation(location: string): string {
  if (/^[a-z]+(-[a-z]+\d+)?$/.test(location)) return location
  throw new AppError('invalid_config', `"${location}" is not a Vertex AI location`, {
    hint: 'Locations look like us-east1, europe-west4, us, eu or global',
  })
}

/** Project ids, project numbers, and the old `domain.com:id` form. */
export function checkProject(project: string): string {
  if (project === '') {
    throw new AppError('invalid_config', 'The Google Cloud project is not configured', {
      hint: 'Add --config VERTEX_AI_PROJECT_ID=PROJECT, or a VERTEX_BASE_URL that holds it',
    })
  }
  const pattern = /^([a-z0-9.-]+(?::|%3A))?([a-z][a-z0-9-]{4,28}[a-z0-9]|\d{4,20})$/i
  if (pattern.test(project)) return project
  throw new AppError('invalid_config', `"${project}" is not a Google Cloud project id`)
}
