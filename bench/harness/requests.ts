// The requests that agents send, prepared byte for byte, and the answer that must come back.
import { PLACEHOLDER_MODEL, ROUTE_KEY, ROUTE_MODEL, type Subject } from './subjects.ts'

const PATH = '/v1/chat/completions'
const PROSE = 'The router beside each agent injects the current token, and nothing else changes. '

/** A chat request of about `bytes` bytes: long strings, with the model first or last. */
export function chatBody(
  bytes: number,
  options: { readonly model: 'first' | 'last'; readonly stream?: boolean } = { model: 'first' },
): Buffer {
  const member = `"model":"${PLACEHOLDER_MODEL}"`
  const messages: string[] = []
  const each = Math.min(24_000, Math.max(1, bytes - 90))
  for (let left = bytes - 60; left > 0; left -= each) {
    const role = messages.length % 2 === 0 ? 'user' : 'assistant'
    const length = Math.max(1, Math.min(each, left) - 32)
    const content = PROSE.repeat(Math.ceil(length / PROSE.length)).slice(0, length)
    messages.push(`{"role":"${role}","content":"${content}"}`)
  }
  const stream = options.stream === true ? ',"stream":true' : ''
  const rest = `"messages":[${messages.join(',')}]${stream}`
  return Buffer.from(options.model === 'first' ? `{${member},${rest}}` : `{${rest},${member}}`)
}

/** A whole request to a subject. */
export function requestTo(subject: Subject, body: Buffer): Buffer {
  const host = subject.words.includes('--connect') ? 'inference.local' : '127.0.0.1'
  const lines = [
    `POST ${PATH} HTTP/1.1`,
    `host: ${host}`,
    'accept: application/json',
    'content-type: application/json',
    'user-agent: bench/1.0',
    ...(subject.headers.some(line => line.startsWith('authorization:'))
      ? []
      : ['authorization: Bearer placeholder']),
    ...subject.headers,
    `content-length: ${body.length}`,
  ]
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), body])
}

/** The same request as options of the load generator for HTTP/2. */
export function requestWordsOverHttp2(
  subject: Subject,
  bodyFile: string,
  options: { readonly expectedBytes: number },
): readonly string[] {
  const host = subject.words.includes('--connect') ? 'inference.local' : '127.0.0.1'
  const fields = [
    ...['accept: application/json', 'content-type: application/json', 'user-agent: bench/1.0'],
    'authorization: Bearer placeholder',
  ]
  return [
    ...['--path', PATH, '--host', host, '--body', bodyFile],
    ...['--expect-bytes', `${options.expectedBytes}`],
    ...fields.flatMap(field => ['--field', field]),
  ]
}

/** A chat completion of about `bytes` bytes; with `stamp`, a number goes where its blank is. */
export function completion(
  bytes: number,
  options: { readonly stamp: boolean } = { stamp: false },
): Buffer {
  const message = { role: 'assistant', content: '' }
  const answer = {
    id: options.stamp ? '@'.repeat(20) : 'chatcmpl-1',
    object: 'chat.completion',
    created: 1_700_000_000,
    model: ROUTE_MODEL,
    choices: [{ index: 0, message, finish_reason: 'stop' }],
    usage: { prompt_tokens: 9, completion_tokens: 12, total_tokens: 21 },
  }
  const missing = Math.max(0, bytes - JSON.stringify(answer).length)
  message.content = PROSE.repeat(Math.ceil(missing / PROSE.length)).slice(0, missing)
  return Buffer.from(JSON.stringify(answer))
}

/** An answer as the mock upstream writes it. */
export function answerOf(body: Buffer): Buffer {
  const head = `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`
  return Buffer.concat([Buffer.from(head), body])
}

/** The mock upstream's options that make it want what the router puts into a request. */
export const wantsEdits: readonly string[] = [
  ...['--want-header', `authorization: Bearer ${ROUTE_KEY}`],
  ...['--want-body', `"model":"${ROUTE_MODEL}"`],
]
