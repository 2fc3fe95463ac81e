import type { TokenAnswer } from '../oauth/token-request.ts'

/** The members of an answer that is a JSON object. */
export type Fields = Readonly<Record<string, unknown>>

/** The members of an answer's body; null when it is no JSON object. */
export function fieldsOf({ body }: Pick<TokenAnswer, 'body'>): Fields | null {
  if (body === null) return null
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(body))
    return isFields(value) ? value : null
  } catch (error) {
    if (error instanceof SyntaxError) return null
    throw error
  }
}

/** The answer with these members in place of its own, for a vendor that words them its own way. */
export function withFields(answer: TokenAnswer, fields: Fields): TokenAnswer {
  return { ...answer, body: Buffer.from(JSON.stringify(fields)) }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
