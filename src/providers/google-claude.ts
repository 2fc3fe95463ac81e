import { checkEndpoint } from '../core/endpoint.ts'
import { AppError } from '../core/errors.ts'
import type { RouteShape } from '../core/route.ts'
import type { ProviderRules } from './provider-type.ts'
import { familyShape } from './static-key.ts'
import { checkLocation, checkProject } from './vertex-address.ts'

/** Where Anthropic's own offering on Google Cloud is served. */
export const CLAUDE_HOST = 'claude.googleapis.com'

const LOCATION_DEFAULT = 'global'

/** Whether a base URL, with or without its scheme, is at that offering. */
export function isClaudeHost(baseUrl: string): boolean {
  return URL.parse(withScheme(baseUrl))?.hostname === CLAUDE_HOST
}

/** A workspace of that offering; '' for what is not configured. */
export interface ClaudeWorkspace {
  /** The host, or any prefix of the workspace's full URL. */
  readonly baseUrl: string
  readonly project: string
  readonly location: string
  readonly workspaceId: string
}

/**
 * Claude managed by Anthropic on Google Cloud: Anthropic's API as it is, model and version included,
 * below the workspace's URL, and with a Google token.
 *
 * @throws AppError `invalid_config` or `endpoint_forbidden`.
 */
export function claudeWorkspaceShape(
  workspace: ClaudeWorkspace,
  modelId: string,
  rules: ProviderRules,
): RouteShape {
  const label = 'VERTEX_BASE_URL'
  const { allowList } = rules
  const url = checkEndpoint(withScheme(workspace.baseUrl), {
    label,
    vendorHosts: [CLAUDE_HOST],
    allowList,
  })
  const pattern =
    /^(?:\/v1(?:\/projects(?:\/([^/]+)(?:\/locations(?:\/([^/]+)(?:\/workspaces(?:\/([^/]+)(?:\/invoke(?:\/v1)?)?)?)?)?)?)?)?)?\/?$/
  const path = pattern.exec(url.pathname)
  if (path === null || url.search !== '') {
    throw new AppError('invalid_config', `${label} has an unknown path "${url.pathname}"`, {
      hint: `Expected https://${CLAUDE_HOST}/v1/projects/PROJECT/locations/global/workspaces/WORKSPACE`,
    })
  }
  const project = checkProject(path[1] ?? workspace.project)
  const location = checkLocation(path[2] ?? (workspace.location || LOCATION_DEFAULT))
  const workspaceId = checkWorkspaceId(path[3] ?? workspace.workspaceId)
  const place = `projects/${project}/locations/${location}/workspaces/${workspaceId}`
  const baseUrl = `${url.origin}/v1/${place}/invoke/v1`
  return familyShape('anthropic', { baseUrl, modelId, allowHeaders: [] })
}

function withScheme(text: string): string {
  return text.includes('://') ? text : `https://${text}`
}

function checkWorkspaceId(id: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/.test(id)) return id
  throw new AppError('invalid_config', 'The Claude workspace is not configured or not one', {
    hint: 'Add --config ANTHROPIC_GOOGLE_CLOUD_WORKSPACE_ID=wrkspc_…',
  })
}
