import type { UpstreamResponse } from '../exchange.ts'
import type { JsonObject } from './json.ts'

/** What a translator is told besides the body. */
export interface TranslationContext {
  /** Shown to the agent where its dialect wants a model's name. */
  readonly modelId: string
  /** The route's own settings for this translator. */
  readonly options: ReadonlyMap<string, string>
}

/**
 * Puts the upstream's answer into the agent's dialect, an error with the status that it has. A stream
 * is translated as it comes; one that breaks stays broken.
 *
 * @throws RouterError `upstream_broken` when the answer is not what the upstream promises.
 */
export type AnswerTranslator = (answer: UpstreamResponse) => Promise<UpstreamResponse>

/** A request in the upstream's dialect, and the way back for its answer. */
export interface Translated {
  readonly body: JsonObject
  readonly isStream: boolean
  /** Null where the answer passes as it is, in the form that the agent asked for. */
  readonly answer: AnswerTranslator | null
}

/**
 * Puts a request into the dialect of an upstream.
 *
 * @throws RouterError `bad_request` for what the upstream cannot be asked.
 */
export type Translator = (body: JsonObject, context: TranslationContext) => Translated
