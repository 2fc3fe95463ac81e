import type { Chance } from './chance.ts'

/** What an answer says of a token's life, and what is true. */
interface LifeStatement {
  /** The member of the JSON object, '' when it says nothing. */
  readonly text: string
  /** What a client may read out of it. */
  readonly statedMs: number
  readonly lifeMs: number
  /** When it advises to refresh; null when it does not. */
  readonly hintMs: number | null
}

/** RFC 6749 §5.1 only recommends `expires_in`; a client may take an hour for granted. */
const UNSTATED_MS = 3_600_000

/** 200 and no token: proxies, captive portals and broken servers. */
export const JUNK: readonly string[] = [
  '<html><body>Please sign in to the wireless network</body></html>',
  '{"access_token":"","expires_in":3600}',
  '{"access_token":"undefined","expires_in":3600}',
  '{"access_token":null,"expires_in":3600}',
  '{"access_token":{"a":1},"expires_in":3600}',
  '{"access_token":"a\\r\\nX-Evil: 1","expires_in":3600}',
  '{"access_token":"token","token_type":"mac","expires_in":3600}',
  '{"access_token":"token","expires_in":0}',
  '{"access_token":"token","expires_in":-1}',
  '{"access_token":"token","expires_in":"1e3"}',
  '{"access_token":"token","expires_in":[3600]}',
  '{"access_token":"token","expires_in":true}',
  '[]',
  '',
]

/** One of the forms in which servers state a life; the plain one without chance. */
export function lifeStatement(chance: Chance | null, lifeMs: number): LifeStatement {
  const seconds = Math.floor(lifeMs / 1_000)
  const honest = { statedMs: seconds * 1_000, lifeMs: seconds * 1_000, hintMs: null }
  switch (chance?.whole(0, 19)) {
    case 0:
      return { ...honest, text: `"expires_in":"${seconds}"` }
    case 1:
      return { ...honest, text: `"expires_in":${seconds}.9` }
    case 2:
      return {
        ...honest,
        text: `"expires_in":${seconds},"refresh_in":${Math.ceil(seconds / 2)}`,
        hintMs: Math.ceil(seconds / 2) * 1_000,
      }
    case 3:
      // Says nothing: an hour is taken for granted, and it may be less.
      return {
        ...{ text: '', statedMs: UNSTATED_MS, hintMs: null },
        lifeMs: Math.min(lifeMs, UNSTATED_MS),
      }
    case 4:
      // A number that no calendar holds; the API will refuse the token long before.
      return { text: '"expires_in":1e309', statedMs: 100_800_000, lifeMs, hintMs: null }
    default:
      return { ...honest, text: `"expires_in":${seconds}` }
  }
}
