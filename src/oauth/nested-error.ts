import { parseFields } from './token-answer.ts'
import type { TokenAnswer } from './token-request.ts'

/**
 * The answer of a token endpoint that refuses in the words of its vendor's API, `{"error": {"type",
 * "code", "message"}}`, put as OAuth has it (RFC 6749 §5.2). Any other answer stays as it is.
 */
export function withFlatError(answer: TokenAnswer): TokenAnswer {
  const error = parseFields(answer.body)?.error
  if (typeof error !== 'object' || error === null) return answer
  const { code, type, message } = { code: null, type: null, message: '', ...error }
  const name = [code, type].find(one => typeof one === 'string' && one !== '')
  const flat = { error: name ?? 'unknown_error', error_description: message }
  return { ...answer, body: Buffer.from(JSON.stringify(flat)) }
}
