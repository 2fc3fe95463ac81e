import { Secret } from '../core/secret.ts'
import { presignedPost } from '../oauth/aws-signature.ts'
import type { Grant, LocalGrant } from '../oauth/token-request.ts'
import { sessionKeys } from './aws-session.ts'

const URL_TO_SIGN = 'https://bedrock.amazonaws.com/?Action=CallWithBearerToken'

/** Twelve hours: the longest that Bedrock takes. */
const EXPIRES_SECONDS = 43_200

/**
 * A short-term Bedrock API key: a presigned call that is never sent, made here from session keys. It
 * dies with the session that signed it, so it is renewed, session and all, at half of its life.
 */
export function bedrockKeyGrant(session: Grant, region: string): LocalGrant {
  return {
    kind: 'local',
    leadMs: lifetimeMs => lifetimeMs / 2,
    async mint(io) {
      const minted = await io.mint(session)
      if (minted.kind === 'failed') return minted
      const presigned = presignedPost(new URL(URL_TO_SIGN), {
        keys: sessionKeys(minted.token),
        scope: { service: 'bedrock', region, nowMs: io.vendorNowMs },
        expiresSeconds: EXPIRES_SECONDS,
      })
      const text = Buffer.from(`${presigned.reveal()}&Version=1`).toString('base64')
      return {
        ...minted,
        token: new Secret(`bedrock-api-key-${text}`),
        lifetimeMs: Math.min(minted.lifetimeMs, EXPIRES_SECONDS * 1_000),
      }
    },
  }
}
