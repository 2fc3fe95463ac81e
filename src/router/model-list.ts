import type { Protocol, ResolvedRoute } from '../core/route.ts'
import { RouterError, type WholeAnswer } from './errors.ts'
import type { Match } from './match.ts'

/** The methods by which Gemini's clients tell what a model can, where the route serves them. */
const GEMINI_METHODS: readonly (readonly [Protocol, string])[] = [
  ['gemini_generate_content', 'generateContent'],
  ['gemini_count_tokens', 'countTokens'],
  ['gemini_embed_content', 'embedContent'],
  ['gemini_batch_embed_contents', 'batchEmbedContents'],
]

/** Whether the agent asks for a list of models, which the router has where the upstream has none. */
export function isModelList({ protocol }: Pick<Match, 'protocol'>): boolean {
  return protocol === 'model_discovery' || protocol === 'gemini_model_discovery'
}

/**
 * The answer to model discovery for a route whose upstream has none: the one model that is served.
 *
 * @throws RouterError `not_found` for another model.
 */
export function modelAnswer(
  route: ResolvedRoute,
  { protocol, suffix }: Pick<Match, 'protocol' | 'suffix'>,
): WholeAnswer {
  const isGemini = protocol === 'gemini_model_discovery'
  // Gemini's names have no publisher.
  const id = isGemini ? route.modelId.slice(route.modelId.lastIndexOf('/') + 1) : route.modelId
  if (suffix !== '' && ![id, route.modelId].includes(decodeURIComponent(suffix.slice(1)))) {
    throw new RouterError('not_found', `inference.local serves the model "${id}" and no other`)
  }
  const model = isGemini ? geminiModel(route, id) : plainModel(route)
  const list = isGemini ? { models: [model] } : plainList(model, id)
  const body = Buffer.from(JSON.stringify(suffix === '' ? list : model))
  const headers = ['content-type', 'application/json', 'content-length', String(body.length)]
  return { status: 200, headers, body }
}

/** In a form that both OpenAI's and Anthropic's clients read. */
function plainModel({ modelId, providerName }: ResolvedRoute): object {
  return {
    id: modelId,
    object: 'model',
    type: 'model',
    display_name: modelId,
    owned_by: providerName,
    // Both formats demand a date, and Anthropic's documents the epoch for an unknown one.
    created: 0,
    created_at: '1970-01-01T00:00:00Z',
  }
}

function plainList(model: object, id: string): object {
  return { object: 'list', data: [model], has_more: false, first_id: id, last_id: id }
}

function geminiModel({ operations, providerName }: ResolvedRoute, id: string): object {
  const served = operations.map(({ protocol }) => protocol)
  return {
    name: `models/${id}`,
    displayName: id,
    description: `Served by ${providerName}`,
    supportedGenerationMethods: GEMINI_METHODS.filter(([one]) => served.includes(one)).map(
      ([, method]) => method,
    ),
  }
}
