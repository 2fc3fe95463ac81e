import type { ResolvedRoute } from '../core/route.ts'
import { RouterError, type WholeAnswer } from './errors.ts'

/**
 * The answer to model discovery for a route whose upstream has none: the one model that is served,
 * in a form that both OpenAI's and Anthropic's clients read.
 *
 * @throws RouterError `not_found` for another model.
 */
export function modelAnswer(route: ResolvedRoute, suffix: string): WholeAnswer {
  const { modelId, providerName } = route
  const model = {
    id: modelId,
    object: 'model',
    type: 'model',
    display_name: modelId,
    owned_by: providerName,
    // Both formats demand a date, and Anthropic's documents the epoch for an unknown one.
    created: 0,
    created_at: '1970-01-01T00:00:00Z',
  }
  const list = {
    object: 'list',
    data: [model],
    has_more: false,
    first_id: modelId,
    last_id: modelId,
  }
  if (suffix !== '' && decodeURIComponent(suffix.slice(1)) !== modelId) {
    throw new RouterError('not_found', `inference.local serves the model "${modelId}" and no other`)
  }
  const body = Buffer.from(JSON.stringify(suffix === '' ? list : model))
  const headers = ['content-type', 'application/json', 'content-length', String(body.length)]
  return { status: 200, headers, body }
}
