import type { IssuedToken } from '../../../src/lab/tokens.ts'
import type { Trouble } from './trouble.ts'

/** No token is renewed before this share of its life: the lead is at most half, its jitter a fifth of that. */
const EARLIEST_SHARE = 0.38
/** For so long after trouble a claim may be taken over, or a spent answer be fetched again. */
const AFTERMATH_MS = 45_000

/** How the vendor's tokens follow each other. */
export interface Mints {
  readonly count: number
  /** How many lives of tokens the run was long, over all providers. */
  readonly expected: number
  /** Tokens that were issued while the one before was too young to be renewed. */
  readonly early: number
  /** Those of them for which no trouble fell between the two, or shortly before. */
  readonly unexplained: number
}

/** Judges the tokens that were issued to some subjects since then. */
export function mintsOf(
  tokens: readonly IssuedToken[],
  options: {
    readonly subjects: readonly string[]
    readonly troubles: readonly Trouble[]
    readonly startedAtMs: number
  },
): Mints {
  const { subjects, troubles, startedAtMs } = options
  const wanted = new Set(subjects)
  const since = tokens.filter(one => wanted.has(one.subject) && one.issuedAtMs >= startedAtMs)
  const lives = [...Map.groupBy(since, ({ subject }) => subject).values()]
  const early = lives.flatMap(own =>
    own.filter((token, at) => {
      const before = own[at - 1]
      if (before === undefined) return false
      const lifeMs = before.expiresAtMs - before.issuedAtMs
      return token.issuedAtMs - before.issuedAtMs < EARLIEST_SHARE * lifeMs
    }),
  )
  const isExplained = ({ issuedAtMs }: IssuedToken) =>
    troubles.some(({ fromMs, toMs }) => fromMs <= issuedAtMs && issuedAtMs <= toMs + AFTERMATH_MS)
  const spans = since.map(({ issuedAtMs }) => issuedAtMs)
  const lifeMs = Math.max(1, ...since.map(one => one.expiresAtMs - one.issuedAtMs))
  const ranMs = spans.length === 0 ? 0 : Math.max(...spans) - startedAtMs
  return {
    count: since.length,
    expected: Math.round((ranMs / lifeMs) * lives.length),
    early: early.length,
    unexplained: early.filter(one => !isExplained(one)).length,
  }
}
