// One run against one subject, and whether it counts.
import { discarded, type Rounds } from './figures.ts'
import { type Run, runLoad } from './load.ts'
import type { Missing, Subject } from './subjects.ts'
import type { Upstream, UpstreamCounts } from './upstream.ts'

/** Who is measured, and how. */
export interface Trial {
  readonly subject: Subject
  readonly upstream: Upstream
  /** The load generator. */
  readonly program: string
  readonly words: readonly string[]
  /** Of each request, at the upstream; an edit replaces as many bytes as it takes. */
  readonly bodyBytes: number
}

/** A run without any error. */
export interface CleanRun extends Run {
  /** What the upstream saw of it, its beginning included. */
  readonly seen: UpstreamCounts
}

/**
 * Runs the load generator. Null, which discards the round, when any answer was wrong, a connection
 * broke, or the upstream did not get what it should.
 */
export async function attempt(trial: Trial): Promise<CleanRun | null> {
  const { subject, upstream } = trial
  const before = await upstream.counts()
  const run = await runLoad(trial.program, subject.pid, [
    ...['--port', `${subject.port}`, ...subject.words, ...trial.words],
  ])
  const seen = difference(await upstream.counts(), before)
  const { wrong, broken, answers, events } = run.load
  const isWhole = seen.bytes === seen.requests * trial.bodyBytes
  const isEdited = !subject.isEditing || seen.wrong === 0
  const isClean = wrong === 0 && broken === 0 && answers + events > 0
  if (isClean && isWhole && isEdited) return { ...run, seen }
  const trouble = { subject: subject.name, wrong, broken, answers, events, seen }
  process.stderr.write(`discarded: ${JSON.stringify(trouble)}\n`)
  return null
}

function difference(after: UpstreamCounts, before: UpstreamCounts): UpstreamCounts {
  return {
    connections: after.connections - before.connections,
    handshakes: after.handshakes - before.handshakes,
    resumed: after.resumed - before.resumed,
    requests: after.requests - before.requests,
    bytes: after.bytes - before.bytes,
    wrong: after.wrong - before.wrong,
    withheld: after.withheld - before.withheld,
  }
}

/** What a reader must know of what is not in the tables. */
export function notesOf(
  missing: readonly Missing[],
  rounds: Readonly<Record<string, Rounds<unknown>>>,
): readonly string[] {
  return [
    ...missing.map(({ name, reason }) => `${name} is not measured: ${reason}`),
    ...Object.entries(rounds).flatMap(([when, results]) =>
      Object.entries(discarded(results)).map(
        ([name, count]) => `${count} rounds of ${name} ${when} were discarded for errors`,
      ),
    ),
  ]
}
