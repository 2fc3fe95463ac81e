import { Secret } from '../core/secret.ts'
import { TOKEN_REQUEST_DEFAULTS } from '../oauth/mint.ts'
import type { LocalGrant, RequestValue, TokenRequest } from '../oauth/token-request.ts'
import { ibmLeadMs, processPlatformAnswer } from './ibm-answers.ts'

/** How long a header that never expires is used before it is made anew. */
const ZEN_LIFETIME_MS = 86_400_000

/** Who signs in to Software Hub, with a password or with an API key. */
export interface PlatformUser {
  readonly name: string
  readonly secret: Secret
  readonly kind: 'password' | 'api_key'
}

/** The sign-in to Software Hub (Cloud Pak for Data) at its own address. */
export function platformGrant(user: PlatformUser, base: URL): TokenRequest {
  return jsonRequest(new URL('/icp4d-api/v1/authorize', base), [
    ['username', user.name],
    [user.kind, user.secret],
  ])
}

/** The exchange of an API key at the console of IBM's SaaS on AWS. */
export function consoleGrant(apiKey: Secret, base: URL): TokenRequest {
  return jsonRequest(new URL('/api/2.0/apikeys/token', base), [['apikey', apiKey]])
}

/** Software Hub's own scheme, `ZenApiKey base64(user:key)`, which needs no exchange. */
export function zenGrant(user: PlatformUser): LocalGrant {
  return {
    kind: 'local',
    mint: async () => ({
      kind: 'minted',
      token: new Secret(Buffer.from(`${user.name}:${user.secret.reveal()}`).toString('base64')),
      lifetimeMs: ZEN_LIFETIME_MS,
      refreshInMs: null,
      rotated: new Map(),
    }),
    leadMs: ibmLeadMs,
  }
}

function jsonRequest(
  url: URL,
  members: readonly (readonly [string, RequestValue])[],
): TokenRequest {
  return {
    ...TOKEN_REQUEST_DEFAULTS,
    url,
    body: { kind: 'json', members: new Map(members) },
    judge: processPlatformAnswer,
    leadMs: ibmLeadMs,
  }
}
