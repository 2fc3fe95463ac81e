import assert from 'node:assert/strict'
import type { UpstreamResponse } from '../../src/router/exchange.ts'
import { parseBody } from '../../src/router/translate/json.ts'
import type { Translated, Translator } from '../../src/router/translate/translator.ts'
import { answerOf } from './fake-exchange.ts'

/** What a translator makes of a body, as text or as a value. */
export function translate(
  translator: Translator,
  body: unknown,
  options: Readonly<Record<string, string>> = {},
): Translated {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return translator(parseBody(Buffer.from(text)), {
    modelId: 'the-model',
    options: new Map(Object.entries(options)),
  })
}

/** The bytes of a body, as text. @throws what breaks it. */
export async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks = await Array.fromAsync(body)
  return Buffer.concat(chunks).toString()
}

/** A JSON answer, translated back: its status and what it says. */
export async function answered(
  { answer }: Translated,
  said: unknown,
  status = 200,
): Promise<{ readonly status: number; readonly body: unknown }> {
  const text = typeof said === 'string' ? said : JSON.stringify(said)
  const head = ['content-type', 'application/json', 'content-length', String(text.length)]
  assert.ok(answer !== null)
  const { status: seen, body } = await answer(answerOf(status, head, [text]))
  return { status: seen, body: JSON.parse(await textOf(body)) }
}

/** An event stream in the given chunks, translated back. */
export function streamedBack(
  { answer }: Translated,
  chunks: Iterable<string | Uint8Array | Error>,
): Promise<UpstreamResponse> {
  assert.ok(answer !== null)
  return answer(answerOf(200, ['content-type', 'text/event-stream', 'x-more', '1'], chunks))
}
