import type { ProviderRecord } from '../core/provider.ts'
import { vertexSource } from './google-vertex-source.ts'
import type { ProviderRules } from './provider-type.ts'
import { resolveVertexAddress } from './vertex-address.ts'

/**
 * Where agents with a Vertex client of their own find project and location, under the names that
 * OpenShell gives them. Throws `AppError` when the configuration cannot work.
 */
export function vertexAgentConfig(
  provider: ProviderRecord,
  rules: ProviderRules,
): ReadonlyMap<string, string> {
  const config = (name: string) => provider.config.get(name)?.trim() ?? ''
  const source = vertexSource(provider, rules)
  const { project, location } = resolveVertexAddress(
    {
      baseUrl: config('VERTEX_BASE_URL'),
      project: config('VERTEX_AI_PROJECT_ID') || source.projectId || source.quotaProjectId,
      location: config('VERTEX_AI_REGION'),
    },
    rules.allowList,
  )
  return new Map([
    ['GCP_PROJECT_ID', project],
    ['GOOGLE_CLOUD_PROJECT', project],
    ['ANTHROPIC_VERTEX_PROJECT_ID', project],
    ['CLOUD_ML_REGION', location],
    ['GCP_LOCATION', location],
    ['VERTEX_LOCATION', location],
    ['GOOSE_PROVIDER', 'gcp_vertex_ai'],
  ])
}
