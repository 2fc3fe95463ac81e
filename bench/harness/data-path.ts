// The stage of a bench of the data path, set up and taken down: mock upstream, then the subjects.
import type { BenchOptions } from './options.ts'
import { createStage, type Stage } from './stage.ts'
import { type Missing, type Subject, startSubjects } from './subjects.ts'
import { startUpstream, type Upstream } from './upstream.ts'

/** Where TLS is spoken, and what the upstream does. */
export interface DataPathSetting {
  readonly isTlsToAgent: boolean
  readonly isTlsToUpstream: boolean
  /** Whether answers are streams, which a proxy must not hold back. */
  readonly isStreaming: boolean
  /** The mock upstream's own options. */
  readonly upstreamWords: (stage: Stage) => readonly string[]
}

/** All that is at work. */
export interface DataPath {
  readonly stage: Stage
  readonly upstream: Upstream
  readonly subjects: readonly Subject[]
  readonly missing: readonly Missing[]
}

/** Starts what a bench needs, measures, and stops it, whatever happens. */
export async function withDataPath<T>(
  options: BenchOptions,
  setting: DataPathSetting,
  measure: (path: DataPath) => Promise<T>,
): Promise<T> {
  await using cleanup = new AsyncDisposableStack()
  const stage = createStage(options.release)
  cleanup.defer(stage.remove)
  const upstream = await startUpstream(stage, {
    isTls: setting.isTlsToUpstream,
    words: setting.upstreamWords(stage),
  })
  cleanup.defer(upstream.stop)
  const started = await startSubjects(options.subjects, { ...setting, stage, upstream })
  for (const subject of started.subjects) cleanup.defer(subject.stop)
  return await measure({ stage, upstream, ...started })
}
