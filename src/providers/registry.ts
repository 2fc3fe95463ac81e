import { AppError } from '../core/errors.ts'
import { anthropic } from './anthropic.ts'
import { awsBedrock } from './aws-bedrock.ts'
import { azureOpenai } from './azure-openai.ts'
import { deepinfra } from './deepinfra.ts'
import { generic } from './generic.ts'
import { googleVertexAi } from './google-vertex-ai.ts'
import { nvidia } from './nvidia.ts'
import { oauth2 } from './oauth2.ts'
import { openai } from './openai.ts'
import type { ProviderType } from './provider-type.ts'
import { watsonx } from './watsonx.ts'

/** Every provider type, one line each. */
export const providerTypes: readonly ProviderType[] = [
  googleVertexAi,
  watsonx,
  azureOpenai,
  awsBedrock,
  openai,
  anthropic,
  nvidia,
  deepinfra,
  oauth2,
  generic,
]

/**
 * Finds a provider type by its name or an alias.
 *
 * @throws AppError `unknown_provider_type`, naming those that exist.
 */
export function findProviderType(name: string): ProviderType {
  const wanted = name.trim().toLowerCase()
  const found = providerTypes.find(one => one.type === wanted || one.aliases.includes(wanted))
  if (found !== undefined) return found
  throw new AppError('unknown_provider_type', `Unknown provider type "${name}"`, {
    hint: `Known types: ${providerTypes.map(one => one.type).join(', ')}`,
  })
}
