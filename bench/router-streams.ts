// 1,000 streams of server-sent events at once, 50 events of 200 bytes a second in each: CPU an event,
// how late events come, memory a stream, and whether any stream starves.
// `npm run bench -- router-streams`
import { withDataPath } from './harness/data-path.ts'
import { interleave, medianOf, type Rounds, ratioOf } from './harness/figures.ts'
import { readOptions } from './harness/options.ts'
import { residentKb } from './harness/processes.ts'
import { publish, type Table } from './harness/report.ts'
import { chatBody, requestTo, wantsEdits } from './harness/requests.ts'
import type { Subject } from './harness/subjects.ts'
import { attempt, notesOf } from './harness/trial.ts'

const STREAMS = 1_000
const EVENTS_PER_S = 50
const EVENT_BYTES = 200
const REQUEST_BYTES = 1_000
/** A stream that gets less of its events has starved. */
const SHARE_MIN = 0.95

interface Streamed {
  readonly cpuUs: number
  /** Share of one core. */
  readonly core: number
  readonly p50Us: number
  readonly p99Us: number
  readonly kbPerStream: number
  /** Events of the stream that got the fewest, as a share of what it should get. */
  readonly fewestShare: number
}

const options = readOptions({
  all: ['direct', 'nginx', 'haproxy', 'go', 'router'],
  quick: ['nginx', 'router'],
})
const [warmupS, windowS] = options.isQuick ? [1, 3] : [3, 10]
const setting = {
  isTlsToAgent: false,
  isTlsToUpstream: false,
  isStreaming: true,
  upstreamWords: () => [
    ...['--events', `${EVENTS_PER_S}`, '--event-bytes', `${EVENT_BYTES}`],
    ...wantsEdits,
  ],
}

await withDataPath(options, setting, async ({ stage, upstream, subjects, missing }) => {
  const body = chatBody(REQUEST_BYTES, { model: 'first', stream: true })
  const stream = async (subject: Subject): Promise<Streamed | null> => {
    const restKb = subject.pid === 0 ? 0 : residentKb(subject.pid)
    const run = await attempt({
      ...{ subject, upstream, program: stage.native('load'), bodyBytes: body.length },
      words: [
        ...['--request', stage.write('request', requestTo(subject, body)), '--streams'],
        ...['--connections', `${STREAMS}`, '--warmup', `${warmupS}`, '--seconds', `${windowS}`],
      ],
    })
    const { p50, p99 } = run?.load.latency ?? {}
    if (run === null || p50 === undefined || p99 === undefined) return null
    const windowMs = run.load.windowNs / 1e6
    return {
      cpuUs: (run.cpuMs * 1_000) / run.load.events,
      core: run.cpuMs / windowMs,
      p50Us: p50 / 1_000,
      p99Us: p99 / 1_000,
      kbPerStream: Math.max(0, run.residentKb - restKb) / STREAMS,
      fewestShare: run.load.fewest / ((EVENTS_PER_S * windowMs) / 1_000),
    }
  }
  const rounds = await interleave(subjects, options.rounds, stream)
  // Memory that is left over from the streams before serves the next: the first round's figure tells.
  const firstKb = rounds.get('router')?.find(one => one !== null)?.kbPerStream ?? null
  publish({
    bench: 'router-streams',
    ...options,
    tables: [tableOf(rounds)],
    notes: [...notesOf(missing, { 'of streams': rounds }), ...strain(rounds)],
    budgets: [
      {
        what: 'CPU per event, router / nginx',
        unit: '×',
        bound: 'at most',
        limit: 1.5,
        value: ratioOf(rounds, { of: 'router', to: 'nginx' }, one => one.cpuUs),
      },
      {
        what: 'delay of an event, p99',
        unit: 'ms',
        bound: 'at most',
        limit: 5,
        value: inMs(medianOf(rounds, 'router', one => one.p99Us)),
      },
      {
        what: 'memory per stream, first round',
        unit: 'KB',
        bound: 'at most',
        limit: 25,
        value: firstKb,
      },
      {
        what: 'events of the stream that got the fewest',
        unit: 'of its due',
        bound: 'at least',
        limit: SHARE_MIN,
        value: medianOf(rounds, 'router', one => one.fewestShare),
      },
    ],
  })
})

/** Without a proxy nothing may be late or missing; else the machine was too busy for this bench. */
function strain(rounds: Rounds<Streamed>): readonly string[] {
  const share = medianOf(rounds, 'direct', one => one.fewestShare)
  if (share === null || share >= SHARE_MIN) return []
  return ['without any proxy streams starved, too: the machine was busy, and delays say nothing']
}

function tableOf(rounds: Rounds<Streamed>): Table {
  return {
    title: `${STREAMS} streams, ${EVENTS_PER_S} events/s of ${EVENT_BYTES} bytes in each`,
    columns: [
      ...['subject', 'CPU µs/event', '× nginx', 'cores', 'delay p50 µs', 'delay p99 µs'],
      ...['KB/stream, first round', 'fewest events'],
    ],
    rows: [...rounds.keys()].map(name => {
      const isBetween = name !== 'direct'
      return [
        name,
        isBetween ? medianOf(rounds, name, one => one.cpuUs) : null,
        isBetween ? ratioOf(rounds, { of: name, to: 'nginx' }, one => one.cpuUs) : null,
        isBetween ? medianOf(rounds, name, one => one.core) : null,
        medianOf(rounds, name, one => one.p50Us),
        medianOf(rounds, name, one => one.p99Us),
        isBetween ? (rounds.get(name)?.find(one => one !== null)?.kbPerStream ?? null) : null,
        medianOf(rounds, name, one => one.fewestShare),
      ]
    }),
  }
}

function inMs(us: number | null): number | null {
  return us === null ? null : us / 1_000
}
