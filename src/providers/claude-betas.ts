import type { BetaMember, BetaRule } from '../core/route.ts'

/** Where agents mark what is to be cached. */
const CACHE_MARKS = [
  'cache_control',
  'system[].cache_control',
  'tools[].cache_control',
  'messages[].content[].cache_control',
  'messages[].content[].content[].cache_control',
]

/** What belongs to a beta, and is an unknown member to whoever does not know the beta. */
const MEMBERS: readonly BetaMember[] = [
  { path: 'context_management', betas: ['context-management-', 'compact-'] },
  { path: 'output_format', betas: ['structured-outputs-'] },
  ...CACHE_MARKS.map(mark => ({ path: `${mark}.scope`, betas: ['prompt-caching-scope-'] })),
]

/** How Anthropic's own code says that it refuses a value, wherever it runs. */
const REFUSALS = ['for the `anthropic-beta` header']

/** What every cloud is known to take. */
const EVERYWHERE = [
  'claude-code-20250219',
  'compact-2026-01-12',
  'computer-use-2025-01-24',
  'computer-use-2025-11-24',
  'context-1m-2025-08-07',
  'context-management-2025-06-27',
  'interleaved-thinking-2025-05-14',
]

/**
 * Vertex AI's. It takes `web-search-2025-03-05` with messages and has refused it with counts; of
 * `effort-`, `structured-outputs-`, `prompt-caching-scope-` and `oauth-` it knows nothing.
 */
export const VERTEX_BETAS: BetaRule = {
  allow: [...EVERYWHERE, 'tool-search-tool-2025-10-19', 'web-search-2025-03-05'],
  carrier: 'header',
  members: MEMBERS,
  refusals: REFUSALS,
}

/** Amazon Bedrock's, which go into the body. Its refusal names no value. */
export const BEDROCK_BETAS: BetaRule = {
  allow: [
    ...EVERYWHERE,
    'effort-2025-11-24',
    'tool-examples-2025-10-29',
    'tool-search-tool-2025-10-19',
  ],
  carrier: 'body',
  members: MEMBERS,
  refusals: ['invalid beta flag', ...REFUSALS],
}

/** Those of Microsoft Foundry, which runs nearly all that Anthropic itself does. */
export const FOUNDRY_BETAS: BetaRule = {
  allow: [
    ...EVERYWHERE.filter(value => !value.startsWith('compact-')),
    'code-execution-2025-08-25',
    'effort-2025-11-24',
    'files-api-2025-04-14',
    'mcp-client-2025-11-20',
    'prompt-caching-scope-2026-01-05',
    'skills-2025-10-02',
    'structured-outputs-2025-11-13',
    'web-fetch-2025-09-10',
    'web-search-2025-03-05',
  ],
  carrier: 'header',
  members: MEMBERS,
  refusals: REFUSALS,
}
