import type { FaultEffect } from './faults.ts'
import type { Issue, IssuedToken, TokenRegister } from './tokens.ts'

/** A token answer: the token, and the JSON text that announces it. */
export interface TokenAnswer {
  readonly token: IssuedToken
  readonly json: string
}

/** Issues a token and words the OAuth answer (RFC 6749 §5.1), bent as the fault wants it. */
export function issueToken(
  register: TokenRegister,
  issue: Issue,
  options: { readonly effect: FaultEffect; readonly nowMs: number },
): TokenAnswer {
  const { effect, nowMs } = options
  const previous = effect.isSameToken ? register.newest(issue.realm, issue.subject) : null
  const isKept =
    previous !== null && register.judge(previous.value.reveal(), issue.realm, nowMs) === 'valid'
  const lifetimeMs = effect.isExpired ? 0 : issue.lifetimeMs
  const token = isKept ? previous : register.issue({ ...issue, lifetimeMs })
  if (effect.isRevoked) register.revoke({ id: token.id })
  // The announced life of a token that is dead on arrival is the usual one: that is the lie.
  const announcedMs = effect.isExpired ? issue.lifetimeMs : token.expiresAtMs - nowMs
  const members: readonly (readonly [string, string])[] = [
    ['access_token', effect.accessToken ?? JSON.stringify(token.value.reveal())],
    ['expires_in', effect.expiresIn ?? String(Math.floor(announcedMs / 1_000))],
    ['token_type', effect.tokenType ?? '"Bearer"'],
  ]
  const json = members
    .filter(([, value]) => value !== 'missing')
    .map(([name, value]) => `${JSON.stringify(name)}:${value}`)
  return { token, json: `{${json.join(',')}}` }
}
