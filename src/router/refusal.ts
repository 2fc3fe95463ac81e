import {
  brotliDecompressSync,
  constants,
  gunzipSync,
  inflateSync,
  zstdDecompressSync,
} from 'node:zlib'
import type { DeadTokenRule, ResolvedRoute } from '../core/route.ts'
import type { Secret } from '../core/secret.ts'
import type { UpstreamResponse } from './exchange.ts'
import { refusalReason } from './refusal-reason.ts'
import { headerValue } from './rewrite.ts'

/** An upstream's refusal, judged. `answer` is the same answer, still whole. */
export interface JudgedRefusal {
  readonly isDead: boolean
  /** What was read of it, as text. */
  readonly text: string
  /** What it says, without the credential. */
  readonly reason: string
  readonly answer: UpstreamResponse
}

/** The rule by which an answer may mean a dead token. A static key is never refreshed: null. */
export function deadTokenRule(route: ResolvedRoute, status: number): DeadTokenRule | null {
  if (route.generation === 0) return null
  return route.deadToken.find(rule => rule.status === status) ?? null
}

/**
 * Reads at most `bytesMax` of a refusal and says whether the token is dead. An answer without a
 * readable body is judged by its status.
 */
export async function judgeRefusal(
  answer: UpstreamResponse,
  options: {
    readonly rule: DeadTokenRule
    readonly credential: Secret
    readonly bytesMax: number
  },
): Promise<JudgedRefusal> {
  const chunks = answer.body[Symbol.asyncIterator]()
  const read: Uint8Array[] = []
  let bytes = 0
  while (bytes < options.bytesMax) {
    const next = await chunks.next()
    if (next.done === true) break
    read.push(next.value)
    bytes += next.value.length
  }
  const head = Buffer.concat(read).subarray(0, options.bytesMax)
  const text = plainText(head, headerValue(answer.headers, 'content-encoding'))
  return {
    isDead: isMet(options.rule, text),
    text,
    reason: refusalReason(
      text.trim() === '' ? headerValue(answer.headers, 'www-authenticate') : text,
      options.credential,
    ),
    answer: { ...answer, body: rejoined(read, chunks) },
  }
}

function isMet({ when, unless }: DeadTokenRule, text: string): boolean {
  const isSaid = (words: string): boolean => text.includes(words)
  return (when.length === 0 || when.some(isSaid)) && !unless.some(isSaid)
}

async function* rejoined(
  read: readonly Uint8Array[],
  rest: AsyncIterator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* read
  for (;;) {
    const next = await rest.next()
    if (next.done === true) return
    yield next.value
  }
}

/**
 * A body's text, without the coding that the agent may have asked for. It may be cut off anywhere,
 * so the end of the compressed stream is not demanded, and what cannot be decoded is left as it is.
 */
function plainText(body: Buffer, encoding: string): string {
  const maxOutputLength = 1024 * 1024
  const flushed = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength }
  try {
    switch (encoding.trim().toLowerCase()) {
      case 'gzip':
      case 'x-gzip':
        return gunzipSync(body, flushed).toString()
      case 'deflate':
        return inflateSync(body, flushed).toString()
      case 'br':
        return brotliDecompressSync(body, {
          finishFlush: constants.BROTLI_OPERATION_FLUSH,
          maxOutputLength,
        }).toString()
      case 'zstd':
        return zstdDecompressSync(body, {
          finishFlush: constants.ZSTD_e_flush,
          maxOutputLength,
        }).toString()
      default:
        return body.toString()
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error) return body.toString()
    throw error
  }
}
