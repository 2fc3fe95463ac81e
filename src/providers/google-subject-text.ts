import type { Failure } from '../core/failure.ts'
import { Secret } from '../core/secret.ts'
import { TOKEN_REQUEST_DEFAULTS } from '../oauth/mint.ts'
import { serverTroubleFailure } from '../oauth/refusal.ts'
import type { Minted, Refused, TokenAnswer, TokenRequest } from '../oauth/token-request.ts'

const TEXT_CHARS_MAX = 65_536

/** What an `external_account` file says about whose token it exchanges. */
export interface SubjectTokenSetting {
  readonly audience: string
  readonly tokenType: string
  /** The service account that is impersonated afterwards; '' without one. */
  readonly impersonatedEmail: string
}

/** A request whose whole answer is the token, as metadata services have it. */
export function plainTextRequest(
  url: URL,
  options: Pick<TokenRequest, 'method' | 'headers' | 'timeoutMs'>,
): TokenRequest {
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    ...options,
    url,
    body: { kind: 'none' },
    judge: answer => processPlainText(url, answer),
    leadMs: () => 0,
  }
}

function processPlainText(url: URL, answer: TokenAnswer): Minted | Refused {
  const { status, body } = answer
  if (status === 408 || status === 429 || status >= 500) {
    return { kind: 'failed', failure: serverTroubleFailure(status) }
  }
  const text = new TextDecoder().decode(body ?? undefined).trim()
  if (status !== 200 || text === '' || text.length > TEXT_CHARS_MAX) {
    const what = status === 200 ? 'without a token' : `with ${status}`
    return subjectRefusal('P', `"${url.origin}" answered ${what}`)
  }
  const token = new Secret(text)
  return { kind: 'minted', token, lifetimeMs: 1_000, refreshInMs: null, rotated: new Map() }
}

/** The members of a JSON object; none when the text is something else. */
export function parseMembers(text: string): ReadonlyMap<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return new Map(typeof value === 'object' && value !== null ? Object.entries(value) : [])
  } catch (error) {
    // The parser's message quotes the text, which may hold a token.
    if (error instanceof SyntaxError) return new Map()
    throw error
  }
}

/** No subject token could be had from where the file says. */
export function subjectRefusal(failureClass: Failure['class'], reason: string): Refused {
  const failure: Failure = {
    class: failureClass,
    code: 'google_subject_token_unreadable',
    message: `Cannot get the subject token: ${reason}`,
    advice: 'Check "credential_source" in the credential file, and what it names',
    recoveryAction: 'fix_configuration',
    retryAfterMs: 0,
  }
  return { kind: 'failed', failure }
}
