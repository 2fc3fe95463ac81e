import type { Operation, VersionRule } from '../core/route.ts'

/**
 * API versions of Claude on Vertex. The two differ in what they accept, so an agent's choice is
 * carried over and never raised or lowered; a version not in this table goes through as it is.
 */
const ANTHROPIC_VERSION: VersionRule = {
  byHeader: new Map([['2023-06-01', 'vertex-2023-10-16']]),
  fallback: 'vertex-2023-10-16',
}

/**
 * First-party names whose name on Vertex is not just theirs with `@` before the date. Newer names
 * carry no date and are the same everywhere.
 */
const CLAUDE_NAMES: ReadonlyMap<string, string> = new Map([
  ['claude-3-haiku', 'claude-3-haiku@20240307'],
  ['claude-3-opus', 'claude-3-opus@20240229'],
  ['claude-3-5-haiku', 'claude-3-5-haiku@20241022'],
  ['claude-3-5-sonnet', 'claude-3-5-sonnet@20240620'],
  ['claude-3-5-sonnet-v2', 'claude-3-5-sonnet-v2@20241022'],
  ['claude-3-5-sonnet-20241022', 'claude-3-5-sonnet-v2@20241022'],
  ['claude-3-7-sonnet', 'claude-3-7-sonnet@20250219'],
  ['claude-sonnet-4', 'claude-sonnet-4@20250514'],
  ['claude-opus-4', 'claude-opus-4@20250514'],
  ['claude-opus-4-1', 'claude-opus-4-1@20250805'],
  ['claude-sonnet-4-5', 'claude-sonnet-4-5@20250929'],
  ['claude-haiku-4-5', 'claude-haiku-4-5@20251001'],
  ['claude-opus-4-5', 'claude-opus-4-5@20251101'],
])

/** How Vertex AI serves Claude: in Anthropic's dialect, by verbs of its own below the model's name. */
export function claudeOperations(): readonly Operation[] {
  const operation = {
    version: ANTHROPIC_VERSION,
    baseUrl: '',
    dropQuery: ['beta'],
    keepQuery: [],
    hasBetas: true,
    defaultMembers: [],
    removeMembers: [],
    translation: null,
  }
  return [
    {
      ...operation,
      protocol: 'anthropic_messages',
      path: '/{model}:rawPredict',
      streamPath: '/{model}:streamRawPredict',
      model: 'remove',
    },
    {
      ...operation,
      protocol: 'anthropic_count_tokens',
      path: '/count-tokens:rawPredict',
      streamPath: '',
      model: 'replace',
    },
    // Vertex's own paths, for agents whose SDK was made for it.
    {
      ...operation,
      protocol: 'vertex_raw_predict',
      path: '/{model}:rawPredict',
      streamPath: '',
      model: 'keep',
    },
    {
      ...operation,
      protocol: 'vertex_stream_raw_predict',
      path: '/{model}:streamRawPredict',
      streamPath: '',
      model: 'keep',
    },
    {
      ...operation,
      protocol: 'vertex_count_tokens',
      path: '/count-tokens:rawPredict',
      streamPath: '',
      model: 'replace',
    },
  ]
}

/** Vertex writes the date of a model behind an `@` where the vendor's own API has a dash. */
export function claudeModel(name: string): string {
  return CLAUDE_NAMES.get(name) ?? name.replace(/-(\d{8})$/, '@$1')
}
