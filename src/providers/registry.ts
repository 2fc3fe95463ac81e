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
import { toolTypes } from './tool-types.ts'
import { watsonx } from './watsonx.ts'

/** Every provider type that serves models, one line each. */
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

const allTypes: readonly ProviderType[] = [...providerTypes, ...toolTypes]

/** Finds a provider type that this program knows by its name or an alias; null without one. */
export function knownProviderType(name: string): ProviderType | null {
  const wanted = name.trim().toLowerCase()
  return allTypes.find(one => one.type === wanted || one.aliases.includes(wanted)) ?? null
}

/**
 * Finds a provider type as {@link knownProviderType} does.
 *
 * @throws AppError `unknown_provider_type`, naming those that exist.
 */
export function findProviderType(name: string): ProviderType {
  const found = knownProviderType(name)
  if (found !== null) return found
  throw new AppError('unknown_provider_type', `Unknown provider type "${name}"`, {
    hint: `Known types: ${providerTypes.map(one => one.type).join(', ')}`,
  })
}
