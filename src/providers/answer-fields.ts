import type { Fields } from '../oauth/token-answer.ts'
import type { TokenAnswer } from '../oauth/token-request.ts'

/** The answer with these members in place of its own, for a vendor that words them its own way. */
export function withFields(answer: TokenAnswer, fields: Fields): TokenAnswer {
  return { ...answer, body: Buffer.from(JSON.stringify(fields)) }
}
