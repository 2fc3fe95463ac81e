/** What a scenario demands, and what the record of the lab says about it. */
export interface Demand {
  readonly text: string
  readonly isMet: boolean
  readonly found: string
}

/** What one system did in one scenario: a row of the table. */
export interface Row {
  /** Tells the variants of a scenario apart; '' when there is one. */
  readonly variant: string
  readonly system: 'openshell' | 'portkey'
  readonly requests: number
  /** Requests that were not answered with the vendor's own answer. */
  readonly failed: number
  /** Tokens that the vendor issued. */
  readonly mints: number
  /** Calls to a vendor's API that brought an expired token, or none of the vendor's. */
  readonly deadTokens: number
  /** From the end of the trouble to the first request that the vendor answered; null without. */
  readonly backMs: number | null
  /** What else is worth knowing, in a few words. */
  readonly note: string
  /** Empty for a system that stands beside ours for comparison. */
  readonly demands: readonly Demand[]
}

/** How a scenario is run. */
export interface RunOptions {
  /** Shorter and fewer, for a first look. */
  readonly isQuick: boolean
  /** Uniform in [0, 1), from the printed seed. */
  readonly fraction: () => number
  /** Whether another gateway stands beside ours. */
  readonly hasPortkey: boolean
}

/** One kind of trouble, done to the released programs. */
export interface Scenario {
  readonly name: string
  /** Whether others beside it would disturb its figures. */
  readonly isAlone: boolean
  readonly run: (options: RunOptions) => Promise<readonly Row[]>
}

/** A demand that a number is not above a limit. */
export function atMost(text: string, found: number, limit: number, unit = ''): Demand {
  const shown = `${Math.round(found * 100) / 100}${unit}`
  return { text: `${text}: at most ${limit}${unit}`, isMet: found <= limit, found: shown }
}

/** A demand that two numbers are the same. */
export function exactly(text: string, found: number, expected: number): Demand {
  return { text: `${text}: ${expected}`, isMet: found === expected, found: String(found) }
}

/** Waits, by this process's own timer. */
export function sleep(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, Math.max(0, ms)))
}

/**
 * Waits until something holds, and says so.
 *
 * @throws Error that names it, when it does not within the time.
 */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  limitMs = 30_000,
): Promise<void> {
  if (await isTrueWithin(limitMs, isSo)) return
  throw new Error(`Waited ${limitMs / 1_000} s in vain for ${what}`)
}

/** Waits until something holds; false when it does not within the time. */
export async function isTrueWithin(
  limitMs: number,
  isSo: () => boolean | Promise<boolean>,
): Promise<boolean> {
  const deadlineMs = Date.now() + limitMs
  while (!(await isSo())) {
    if (Date.now() > deadlineMs) return false
    await sleep(20)
  }
  return true
}
