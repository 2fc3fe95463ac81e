import type { Credential } from '../core/credential.ts'

/** An attempt under way. */
export interface Work<Outcome> {
  /** The credential as it was last claimed: what the attempt's result will be written over. */
  claimed: Credential
  /** When its request left, on the monotonic clock; null while it stands in line. */
  sentAtMs: number | null
  /** Whether a refusal of the standing token was reported since. */
  isSuspect: boolean
  readonly outcome: Promise<Outcome>
}

/** What tells one credential from another. */
type Place = Pick<Credential, 'providerId' | 'key'>

/** The attempts under way: one for each credential, as it stands. */
export interface InFlight<Outcome> {
  readonly size: number
  of(credential: Place): Work<Outcome> | undefined
  /** Starts an attempt; it is reached by `of` before this returns. */
  start(
    credential: Credential,
    attempt: (work: Omit<Work<Outcome>, 'outcome'>) => Promise<Outcome>,
  ): Promise<Outcome>
  /** Resolves when all that were under way have ended. */
  settled(): Promise<void>
}

/** Keeps the attempts under way; `onEnd` is told the outcome of each, or null when it broke. */
export function createInFlight<Outcome>(
  onEnd: (outcome: Outcome | null) => void,
): InFlight<Outcome> {
  // Of a provider that was edited during an attempt, the old and the new one are under way.
  const underWay = new Set<Promise<Outcome>>()
  const newest = new Map<string, Work<Outcome>>()

  return {
    get size() {
      return underWay.size
    },
    of: credential => newest.get(placeOf(credential)),
    start(credential, attempt) {
      const place = placeOf(credential)
      const { promise, resolve } = Promise.withResolvers<Outcome>()
      const work: Work<Outcome> = {
        claimed: credential,
        sentAtMs: null,
        isSuspect: false,
        outcome: promise,
      }
      underWay.add(promise)
      newest.set(place, work)
      const end = (outcome: Outcome | null): void => {
        underWay.delete(promise)
        if (newest.get(place) === work) newest.delete(place)
        onEnd(outcome)
      }
      const whole = attempt(work).then(
        outcome => {
          end(outcome)
          return outcome
        },
        (error: unknown) => {
          end(null)
          throw error
        },
      )
      resolve(whole)
      return promise
    },
    async settled() {
      await Promise.allSettled(underWay)
    },
  }
}

function placeOf(credential: Place): string {
  return `${credential.providerId} ${credential.key}`
}
