// Medians of interleaved rounds, and ratios within each round.

/** What each subject's rounds brought; null is a round that was discarded. */
export type Rounds<T> = ReadonlyMap<string, readonly (T | null)[]>

/** Measures every subject in turn, A B C, A B C, so that a change of the machine hits all alike. */
export async function interleave<S extends { readonly name: string }, T>(
  subjects: readonly S[],
  rounds: number,
  measure: (subject: S) => Promise<T | null>,
): Promise<Rounds<T>> {
  const results = new Map<string, (T | null)[]>(subjects.map(({ name }) => [name, []]))
  for (let round = 0; round < rounds; round += 1) {
    for (const subject of subjects) results.get(subject.name)?.push(await measure(subject))
  }
  return results
}

/** The median; null without a value. */
export function median(values: readonly (number | null)[]): number | null {
  const sorted = values.filter(value => value !== null).sort((a, b) => a - b)
  const middle = sorted.length / 2
  const upper = sorted[Math.floor(middle)]
  const lower = sorted[Math.ceil(middle) - 1]
  return upper === undefined || lower === undefined ? null : (upper + lower) / 2
}

/** The value that a share of all do not exceed; null without a value. */
export function quantile(values: readonly number[], share: number): number | null {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null
}

/** The median over a subject's rounds of what `pick` takes from each. */
export function medianOf<T>(
  rounds: Rounds<T>,
  name: string,
  pick: (one: T) => number | null,
): number | null {
  return median((rounds.get(name) ?? []).map(one => (one === null ? null : pick(one))))
}

/** The median of the ratios to another subject in the same round. */
export function ratioOf<T>(
  rounds: Rounds<T>,
  names: { readonly of: string; readonly to: string },
  pick: (one: T) => number | null,
): number | null {
  return compare(rounds, names, (mine, base) => mine / base, pick)
}

/** The median of the differences to another subject in the same round. */
export function differenceOf<T>(
  rounds: Rounds<T>,
  names: { readonly of: string; readonly to: string },
  pick: (one: T) => number | null,
): number | null {
  return compare(rounds, names, (mine, base) => mine - base, pick)
}

function compare<T>(
  rounds: Rounds<T>,
  names: { readonly of: string; readonly to: string },
  combine: (mine: number, base: number) => number,
  pick: (one: T) => number | null,
): number | null {
  const bases = rounds.get(names.to) ?? []
  return median(
    (rounds.get(names.of) ?? []).map((one, round) => {
      const base = bases[round] ?? null
      const mine = one === null ? null : pick(one)
      const theirs = base === null ? null : pick(base)
      return mine === null || theirs === null ? null : combine(mine, theirs)
    }),
  )
}

/** How many rounds were discarded, by subject; those without any are left out. */
export function discarded<T>(rounds: Rounds<T>): Readonly<Record<string, number>> {
  const counted = [...rounds].map(
    ([name, results]) => [name, results.filter(one => one === null).length] as const,
  )
  return Object.fromEntries(counted.filter(([, count]) => count > 0))
}

/** Rounds to three significant digits, which is more than a shared machine gives. */
export function significant(value: number | null): number | null {
  return value === null || value === 0 ? value : Number(value.toPrecision(3))
}
