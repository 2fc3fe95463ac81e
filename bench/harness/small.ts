// The run that `router-small` and `router-tls` share: the same small request over kept connections.
import { withDataPath } from './data-path.ts'
import { differenceOf, interleave, medianOf, type Rounds, ratioOf } from './figures.ts'
import type { BenchOptions } from './options.ts'
import type { Table } from './report.ts'
import {
  answerOf,
  chatBody,
  completion,
  requestTo,
  requestWordsOverHttp2,
  wantsEdits,
} from './requests.ts'
import type { Stage } from './stage.ts'
import type { Subject, SubjectName } from './subjects.ts'
import { attempt, notesOf, type Trial } from './trial.ts'

const SMALL_BYTES = 1_000
/** Of the agents; a proxy needs as many towards its upstream, at most. */
export const CONNECTIONS = 64
const RATE_PER_S = 200
/** The subjects that are set up for it. */
const SPEAKS_HTTP2: readonly SubjectName[] = ['nginx', 'haproxy', 'router']

/** Where TLS is spoken. */
export interface Sides {
  readonly isTlsToAgent: boolean
  readonly isTlsToUpstream: boolean
}

/** One window at saturation. */
export interface Saturated {
  readonly cpuUs: number
  readonly perSecond: number
  readonly residentMb: number
  /** TLS handshakes at the upstream within the run, its beginning included. */
  readonly handshakes: number
}

/** One window at a fixed rate. */
interface Paced {
  readonly p50Us: number
  readonly p99Us: number
}

/** What one setting brought. */
export interface SmallResults {
  readonly saturated: Rounds<Saturated>
  readonly paced: Rounds<Paced>
  readonly tables: readonly Table[]
  readonly notes: readonly string[]
}

/** Measures all subjects in one setting. */
export async function measureSmall(
  options: BenchOptions,
  sides: Sides,
  title: string,
): Promise<SmallResults> {
  const answer = completion(SMALL_BYTES)
  const setting = {
    ...sides,
    isStreaming: false,
    upstreamWords: (stage: Stage) => [
      ...['--answer', stage.write('answer', answerOf(answer))],
      ...wantsEdits,
    ],
  }
  const [warmupS, saturatedS, pacedS] = options.isQuick ? [1, 2, 3] : [2, 4, 10]
  return withDataPath(options, setting, async ({ stage, upstream, subjects, missing }) => {
    const body = chatBody(SMALL_BYTES)
    const expected = stage.write('expected', answer)
    const trialOf = (subject: Subject, words: readonly string[]): Trial => ({
      ...{ subject, upstream, program: stage.native('load'), bodyBytes: body.length },
      words: [
        ...['--request', stage.write(`request-${subject.name}`, requestTo(subject, body))],
        ...['--expect', expected, '--connections', `${CONNECTIONS}`, '--warmup', `${warmupS}`],
        ...words,
      ],
    })
    const saturated = await interleave(subjects, options.rounds, subject =>
      saturate(trialOf(subject, ['--seconds', `${saturatedS}`])),
    )
    const paced = await interleave(subjects, options.rounds, subject =>
      pace(trialOf(subject, ['--seconds', `${pacedS}`, '--rate', `${RATE_PER_S}`])),
    )
    const names = subjects.map(({ name }) => name)
    return {
      ...{ saturated, paced, tables: [smallTable(title, names, { saturated, paced })] },
      notes: notesOf(missing, { 'at saturation': saturated, 'at a fixed rate': paced }),
    }
  })
}

/** The small request over HTTP/2 towards the agent, which costs more and few agents speak. */
export async function measureHttp2(
  options: BenchOptions,
): Promise<Pick<SmallResults, 'saturated' | 'tables' | 'notes'>> {
  const answer = completion(SMALL_BYTES)
  const setting = {
    ...{ isTlsToAgent: true, isTlsToUpstream: true, isStreaming: false },
    upstreamWords: (stage: Stage) => [
      ...['--answer', stage.write('answer', answerOf(answer))],
      ...wantsEdits,
    ],
  }
  const subjects = options.subjects.filter(name => SPEAKS_HTTP2.includes(name))
  const [warmupS, windowS] = options.isQuick ? [1, 2] : [2, 4]
  return withDataPath({ ...options, subjects }, setting, async path => {
    const { stage, upstream, missing } = path
    const body = chatBody(SMALL_BYTES)
    const file = stage.write('body', body)
    const saturated = await interleave(path.subjects, options.rounds, subject =>
      saturate({
        ...{ subject, upstream, program: stage.native('load2'), bodyBytes: body.length },
        words: [
          ...requestWordsOverHttp2(subject, file, { expectedBytes: answer.length }),
          ...['--connections', `${CONNECTIONS}`],
          ...['--warmup', `${warmupS}`, '--seconds', `${windowS}`],
        ],
      }),
    )
    const rows = path.subjects.map(({ name }) => [
      name,
      medianOf(saturated, name, one => one.cpuUs),
      ratioOf(saturated, { of: name, to: 'nginx' }, one => one.cpuUs),
      medianOf(saturated, name, one => one.perSecond),
      medianOf(saturated, name, one => one.residentMb),
    ])
    const table = {
      title: `Small request, HTTP/2 and TLS towards the agent, HTTP/1.1 and TLS behind: ${CONNECTIONS} connections`,
      columns: ['subject', 'CPU µs/request', '× nginx', 'requests/s', 'resident MB'],
      rows,
    }
    const notes = notesOf(missing, { 'over HTTP/2': saturated })
    return { saturated, tables: [table], notes }
  })
}

async function saturate(trial: Trial): Promise<Saturated | null> {
  const run = await attempt(trial)
  if (run === null) return null
  const { load, cpuMs, residentKb, seen } = run
  return {
    cpuUs: (cpuMs * 1_000) / load.answers,
    perSecond: load.answers / (load.windowNs / 1e9),
    residentMb: residentKb / 1_024,
    handshakes: seen.handshakes,
  }
}

async function pace(trial: Trial): Promise<Paced | null> {
  const { p50, p99 } = (await attempt(trial))?.load.latency ?? {}
  if (p50 === undefined || p99 === undefined) return null
  return { p50Us: p50 / 1_000, p99Us: p99 / 1_000 }
}

function smallTable(
  title: string,
  names: readonly string[],
  { saturated, paced }: Pick<SmallResults, 'saturated' | 'paced'>,
): Table {
  const cpu = (one: Saturated) => one.cpuUs
  const p50 = (one: Paced) => one.p50Us
  const p99 = (one: Paced) => one.p99Us
  return {
    title: `Small request, ${title}: ${CONNECTIONS} connections; latency at ${RATE_PER_S} requests/s`,
    columns: [
      ...['subject', 'CPU µs/request', '× nginx', 'requests/s', 'p50 µs', 'p99 µs'],
      ...['added p50', 'added p99', 'resident MB'],
    ],
    rows: names.map(name => [
      name,
      name === 'direct' ? null : medianOf(saturated, name, cpu),
      name === 'direct' ? null : ratioOf(saturated, { of: name, to: 'nginx' }, cpu),
      medianOf(saturated, name, one => one.perSecond),
      medianOf(paced, name, p50),
      medianOf(paced, name, p99),
      name === 'direct' ? null : differenceOf(paced, { of: name, to: 'direct' }, p50),
      name === 'direct' ? null : differenceOf(paced, { of: name, to: 'direct' }, p99),
      name === 'direct' ? null : medianOf(saturated, name, one => one.residentMb),
    ]),
  }
}
