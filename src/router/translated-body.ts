import type { ResolvedRoute, Translation } from '../core/route.ts'
import { RouterError } from './errors.ts'
import type { Limits } from './limits.ts'
import { type RequestBody, readWhole, wholeBody } from './request-body.ts'
import { parseBody } from './translate/json.ts'
import type { AnswerTranslator } from './translate/translator.ts'
import { TRANSLATORS } from './translate/translators.ts'

/** A request's body in its upstream's dialect, and the way back for the answer. */
export interface TranslatedBody {
  readonly body: RequestBody
  /** Null where the answer passes as it is. */
  readonly translateAnswer: AnswerTranslator | null
}

/**
 * Reads a body whole and translates it.
 *
 * @throws RouterError `protocol_unsupported` for a translation that this router does not know,
 * `bad_request`, `body_too_large`.
 */
export async function readTranslatedBody(
  source: AsyncIterable<Uint8Array>,
  options: {
    readonly translation: Translation
    readonly route: ResolvedRoute
    readonly limits: Limits
  },
): Promise<TranslatedBody> {
  const { translation, route, limits } = options
  const translator = TRANSLATORS.get(translation.name)
  if (translator === undefined) {
    throw new RouterError(
      'protocol_unsupported',
      `This router does not know the translation "${translation.name}". Bring the sandbox to its gateway's version`,
    )
  }
  const translated = translator(parseBody(await readWhole(source, limits)), {
    modelId: route.modelId,
    options: translation.options,
  })
  const bytes = Buffer.from(JSON.stringify(translated.body))
  return {
    body: wholeBody([bytes], {
      isStream: translated.isStream,
      isKept: bytes.length <= limits.replayBytesMax,
    }),
    translateAnswer: translated.answer,
  }
}

/** The agent's headers, with what must be said otherwise of a body and an answer in another form. */
export function translatedHeaders(
  headers: readonly string[],
  { isStream }: { readonly isStream: boolean },
): readonly string[] {
  return [
    ...without(headers, ['content-type', 'accept', 'accept-encoding']),
    ...['content-type', 'application/json'],
    ...['accept', isStream ? 'text/event-stream' : 'application/json'],
    // What is compressed could not be read on its way.
    ...['accept-encoding', 'identity'],
  ]
}

/**
 * The agent's headers without its wishes for the form of the answer, for a body of the agent's own
 * whose answer is translated.
 */
export function withoutAccept(headers: readonly string[]): readonly string[] {
  return [...without(headers, ['accept', 'accept-encoding']), 'accept-encoding', 'identity']
}

function without(headers: readonly string[], dropped: readonly string[]): readonly string[] {
  const names = headers.filter((_, at) => at % 2 === 0)
  return names.flatMap((name, at) =>
    dropped.includes(name.toLowerCase()) ? [] : [name, headers[at * 2 + 1] ?? ''],
  )
}
