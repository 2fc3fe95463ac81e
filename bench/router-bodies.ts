// Bodies of 100 KB to 10 MB, chat-shaped: CPU, memory while they pass, and whether the first byte is
// at the upstream before the agent's last one left. `npm run bench -- router-bodies`
import { withDataPath } from './harness/data-path.ts'
import { interleave, medianOf, type Rounds, ratioOf } from './harness/figures.ts'
import { readOptions } from './harness/options.ts'
import { resetPeak, residentKb } from './harness/processes.ts'
import { type Budget, publish, type Table } from './harness/report.ts'
import { answerOf, chatBody, completion, requestTo, wantsEdits } from './harness/requests.ts'
import type { Stage } from './harness/stage.ts'
import { ROUTE_MODEL, type Subject } from './harness/subjects.ts'
import { attempt, notesOf } from './harness/trial.ts'

interface Shape {
  readonly label: string
  readonly bytes: number
  readonly model: 'first' | 'last'
  readonly connections: number
  /** Of the router's CPU to nginx's; null promises nothing. */
  readonly ratioMax: number | null
}

const SHAPES: readonly Shape[] = [
  { label: '100 KB', bytes: 100_000, model: 'first', connections: 16, ratioMax: 3.5 },
  { label: '1 MB', bytes: 1_000_000, model: 'first', connections: 8, ratioMax: 3.5 },
  { label: '1 MB, model last', bytes: 1_000_000, model: 'last', connections: 8, ratioMax: null },
  { label: '10 MB', bytes: 10_000_000, model: 'first', connections: 4, ratioMax: 2 },
  { label: '30 MB', bytes: 30_000_000, model: 'first', connections: 4, ratioMax: null },
]

/** The agent sends half of a body, waits for this long, and sends the rest. */
const PAUSE_MS = 50
const LEAD_MS_MIN = 45
const ANSWER_BYTES = 1_000
const MEMBER_BYTES = `"model":"${ROUTE_MODEL}",`.length
const KB_PER_MB = 1_024

interface Passed {
  readonly cpuUs: number
  readonly perSecond: number
  /** Above what was resident before, for each request under way. */
  readonly memoryMb: number
  /** How long before the agent's last byte the first one was at the upstream. */
  readonly leadMs: number
}

const options = readOptions({
  all: ['direct', 'nginx', 'nginx unbuffered', 'haproxy', 'go', 'router'],
  quick: ['nginx', 'router'],
})
const [warmupS, windowS, pausedS] = options.isQuick ? [0.5, 2, 1] : [1, 4, 2]
const answer = completion(ANSWER_BYTES, { stamp: true })
const setting = {
  isTlsToAgent: false,
  isTlsToUpstream: false,
  isStreaming: false,
  upstreamWords: (stage: Stage) => [
    ...['--answer', stage.write('answer', answerOf(answer)), '--stamp', 'first-byte'],
    ...wantsEdits,
  ],
}

await withDataPath(options, setting, async ({ stage, upstream, subjects, missing }) => {
  const expected = stage.write('expected', answer)
  const pass = async (subject: Subject, shape: Shape): Promise<Passed | null> => {
    const body = chatBody(shape.bytes, shape)
    const request = requestTo(subject, body)
    const words = ['--request', stage.write('request', request), '--expect', expected]
    // A streamed body whose model stands last gets one in front; blanks take the place of its own.
    const added = subject.isEditing && shape.model === 'last' ? MEMBER_BYTES : 0
    const bodyBytes = body.length + added
    const trial = { subject, upstream, program: stage.native('load'), bodyBytes }
    const restKb = subject.pid === 0 ? 0 : residentKb(subject.pid)
    if (subject.pid !== 0) resetPeak(subject.pid)
    const full = await attempt({
      ...trial,
      words: [
        ...[...words, '--connections', `${shape.connections}`],
        ...['--warmup', `${warmupS}`, '--seconds', `${windowS}`],
      ],
    })
    const paused = await attempt({
      ...trial,
      words: [
        ...[...words, '--seconds', `${pausedS}`],
        ...['--split', `${Math.floor(request.length / 2)}`, '--pause-ms', `${PAUSE_MS}`],
      ],
    })
    const leadNs = paused?.load.lead.p50
    if (full === null || leadNs === undefined) return null
    return {
      cpuUs: (full.cpuMs * 1_000) / full.load.answers,
      perSecond: full.load.answers / (full.load.windowNs / 1e9),
      memoryMb: Math.max(0, full.peakKb - restKb) / KB_PER_MB / shape.connections,
      leadMs: leadNs / 1e6,
    }
  }
  const results: (readonly [Shape, Rounds<Passed>])[] = []
  for (const shape of SHAPES) {
    results.push([shape, await interleave(subjects, options.rounds, one => pass(one, shape))])
  }
  publish({
    bench: 'router-bodies',
    ...options,
    tables: results.map(([shape, rounds]) => tableOf(shape, rounds)),
    budgets: [...results.flatMap(([shape, rounds]) => budgetsOf(shape, rounds)), growth(results)],
    notes: [
      `lead: how long before the agent's last byte the first one was at the upstream, when the agent pauses for ${PAUSE_MS} ms in the middle`,
      ...notesOf(
        missing,
        Object.fromEntries(results.map(([{ label }, rounds]) => [`with ${label}`, rounds])),
      ),
    ],
  })
})

function tableOf(shape: Shape, rounds: Rounds<Passed>): Table {
  return {
    title: `${shape.label}, ${shape.connections} connections`,
    columns: [
      ...['subject', 'CPU µs/request', '× nginx', 'requests/s', 'MB each under way', 'lead ms'],
    ],
    rows: [...rounds.keys()].map(name => [
      name,
      name === 'direct' ? null : medianOf(rounds, name, one => one.cpuUs),
      name === 'direct' ? null : ratioOf(rounds, { of: name, to: 'nginx' }, one => one.cpuUs),
      medianOf(rounds, name, one => one.perSecond),
      name === 'direct' ? null : medianOf(rounds, name, one => one.memoryMb),
      medianOf(rounds, name, one => one.leadMs),
    ]),
  }
}

function budgetsOf(shape: Shape, rounds: Rounds<Passed>): readonly Budget[] {
  if (shape.ratioMax === null) return []
  return [
    {
      what: `CPU for ${shape.label}, router / nginx`,
      unit: '×',
      bound: 'at most',
      limit: shape.ratioMax,
      value: ratioOf(rounds, { of: 'router', to: 'nginx' }, one => one.cpuUs),
    },
    {
      what: `lead of the first byte of ${shape.label}, of ${PAUSE_MS} ms`,
      unit: 'ms',
      bound: 'at least',
      limit: LEAD_MS_MIN,
      value: medianOf(rounds, 'router', one => one.leadMs),
    },
  ]
}

/** Memory may hold the replay buffer of 4 MiB, and nothing that grows with the body beyond it. */
function growth(results: readonly (readonly [Shape, Rounds<Passed>])[]): Budget {
  const [at10, at30] = ['10 MB', '30 MB'].map(label => {
    const rounds = results.find(([shape]) => shape.label === label)?.[1] ?? new Map()
    return medianOf(rounds, 'router', (one: Passed) => one.memoryMb)
  })
  return {
    what: 'memory of a request under way, 30 MB compared to 10 MB',
    unit: 'MB more',
    bound: 'at most',
    limit: 1,
    value: typeof at10 === 'number' && typeof at30 === 'number' ? at30 - at10 : null,
  }
}
