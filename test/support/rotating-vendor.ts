import type { FetchRequest } from '../../src/system/fetch.ts'
import { freshToken } from './refresh-world.ts'
import { formOf, type Script } from './scripted-fetch.ts'

/**
 * What the vendor does with a call: answers, takes the refresh token and lets the answer get lost,
 * says something else instead, or is silent.
 */
export type Deed = 'answer' | 'lose' | Script

/** An authorization server that rotates: each refresh token works once (RFC 9700 §4.14). */
export interface RotatingVendor {
  /** The refresh tokens that arrived, in order, also those that the vendor never looked at. */
  readonly arrived: readonly string[]
  /** How often a refresh token came that had been taken already. */
  readonly replays: number
  /** The refresh token that works now. */
  readonly current: string
  answerOf(request: FetchRequest): Script
}

/** Builds one that knows the refresh tokens `old-0` and `new-0`, each the first of its family. */
export function rotatingVendor(
  options: {
    readonly deedOf?: (index: number, refreshToken: string) => Deed
    /** Whether the token before the current one still works: what is said twice is answered twice. */
    readonly isTolerant?: boolean
    /** A family's token stays the same for ever. */
    readonly isRotating?: boolean
  } = {},
): RotatingVendor {
  const { deedOf = () => 'answer', isTolerant = false, isRotating = true } = options
  const taken = new Set<string>()
  const dead = new Set<string>()
  const arrived: string[] = []
  let replays = 0
  let current = ''

  const redeem = (refreshToken: string): Script => {
    const [, family = '', count = ''] = /^(old|new)-(\d+)$/.exec(refreshToken) ?? []
    const isReplay = taken.has(refreshToken)
    if (isReplay) replays += 1
    const isKnown = family !== '' && !dead.has(family)
    if (!isKnown || (isReplay && !isTolerant)) {
      dead.add(family)
      return { status: 400, body: { error: 'invalid_grant', error_description: 'Revoked' } }
    }
    if (isRotating) taken.add(refreshToken)
    current = isRotating ? `${family}-${Number(count) + 1}` : refreshToken
    const rotated = isRotating ? { refresh_token: current } : {}
    const access = { access_token: `access-${arrived.length}-of-${refreshToken}` }
    return { body: { ...access, token_type: 'Bearer', expires_in: 3_600, ...rotated } }
  }

  return {
    arrived,
    get replays() {
      return replays
    },
    get current() {
      return current
    },
    answerOf(request) {
      const refreshToken = formOf(request).get('refresh_token')
      if (refreshToken === null) return freshToken(arrived.length)
      arrived.push(refreshToken)
      const deed = deedOf(arrived.length - 1, refreshToken)
      if (deed === 'answer') return redeem(refreshToken)
      if (deed !== 'lose') return deed
      redeem(refreshToken)
      return Object.assign(new Error('connection reset'), { code: 'ECONNRESET' })
    },
  }
}
