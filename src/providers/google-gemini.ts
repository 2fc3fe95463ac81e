import type { MemberDefault, Operation, Protocol } from '../core/route.ts'
import { passThrough } from './static-key.ts'

/** Gemini's own verbs, which Vertex AI has under the same names. */
const VERBS: readonly (readonly [Protocol, string])[] = [
  ['gemini_generate_content', 'generateContent'],
  ['gemini_stream_generate_content', 'streamGenerateContent'],
  ['gemini_count_tokens', 'countTokens'],
]

/**
 * Members that the Gemini API takes and Vertex AI does not. `store` asks for a record of the request,
 * which Vertex keeps by the project's settings.
 */
const REFUSED = ['store']

/** The Gemini API takes who does not say who speaks for the user; Vertex AI does not. */
const ROLE: MemberDefault = { path: 'contents[].role', json: '"user"' }

/** The embedding verbs, with what their translator is told. */
const EMBEDDING_VERBS: readonly (readonly [Protocol, string])[] = [
  ['gemini_embed_content', 'one'],
  ['gemini_batch_embed_contents', 'batch'],
]

/**
 * How Vertex AI serves Gemini in its own dialect. `baseUrl` is where Google's models stand; there the
 * name has no publisher, so it cannot be the route's. Of the query only the form of a stream passes:
 * everything else in it is a key, or changes who pays.
 */
export function geminiOperations(baseUrl: string, model: string): readonly Operation[] {
  return VERBS.map(([protocol, verb]) => ({
    ...passThrough(protocol, `/${encodeURIComponent(model)}:${verb}`),
    baseUrl,
    // The path says it, and a body that says otherwise must not win.
    model: 'remove',
    removeMembers: REFUSED,
    defaultMembers: [ROLE],
    dropQuery: ['*'],
    keepQuery: ['alt'],
    hasBetas: false,
  }))
}

/**
 * Google's embedding models, in OpenAI's dialect and in Gemini's, of which Vertex AI takes neither, and
 * in its own.
 */
export function embedderOperations(): readonly Operation[] {
  const translated = (protocol: Protocol, name: string, form: string): Operation => ({
    ...passThrough(protocol, '/{model}:predict'),
    model: 'keep',
    dropQuery: ['*'],
    translation: { name, options: new Map(form === '' ? [] : [['form', form]]) },
  })
  return [
    translated('openai_embeddings', 'vertex_embeddings', ''),
    ...EMBEDDING_VERBS.map(([protocol, form]) => translated(protocol, 'gemini_embeddings', form)),
    { ...passThrough('gemini_predict', '/{model}:predict'), model: 'remove', dropQuery: ['*'] },
  ]
}
