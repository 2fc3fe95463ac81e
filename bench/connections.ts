// A new connection for each request: what one costs, plain, with a full TLS 1.3 handshake, and with
// the session of the one before. Handshakes are counted on both sides of the proxy.
// `npm run bench -- connections`
import { withDataPath } from './harness/data-path.ts'
import { interleave, medianOf, type Rounds, ratioOf } from './harness/figures.ts'
import { hasOpenssl, stopWithout } from './harness/native.ts'
import { readOptions } from './harness/options.ts'
import { publish, type Table } from './harness/report.ts'
import { answerOf, chatBody, completion, requestTo, wantsEdits } from './harness/requests.ts'
import type { Stage } from './harness/stage.ts'
import type { Subject } from './harness/subjects.ts'
import { attempt, notesOf } from './harness/trial.ts'

const AT_ONCE = 16
const BYTES = 1_000

interface Kind {
  readonly label: string
  readonly isTls: boolean
  readonly words: readonly string[]
}

const PLAIN: Kind = { label: 'plain', isTls: false, words: [] }
const FULL: Kind = { label: 'TLS, each session new', isTls: true, words: [] }
const RESUMED: Kind = { label: 'TLS, session offered again', isTls: true, words: ['--resume'] }

interface Connected {
  readonly cpuUs: number
  readonly perSecond: number
  /** Of the agent's handshakes; 0 without TLS. */
  readonly resumedShare: number
  /** Connections that the proxy opened to the upstream for each of the agent's. */
  readonly upstreamShare: number
}

const options = readOptions({
  all: ['direct', 'nginx', 'haproxy', 'go', 'router'],
  quick: ['nginx', 'router'],
})
if (!hasOpenssl) stopWithout('TLS needs the headers of OpenSSL (libssl-dev)')
const [warmupS, windowS] = options.isQuick ? [1, 2] : [2, 4]
const answer = completion(BYTES)

const results: (readonly [Kind, Rounds<Connected>])[] = []
const notes: string[] = []
for (const kinds of [[PLAIN], [FULL, RESUMED]]) {
  const isTls = kinds.includes(FULL)
  const setting = {
    isTlsToAgent: isTls,
    isTlsToUpstream: isTls,
    isStreaming: false,
    upstreamWords: (stage: Stage) => [
      ...['--answer', stage.write('answer', answerOf(answer))],
      ...wantsEdits,
    ],
  }
  await withDataPath(options, setting, async ({ stage, upstream, subjects, missing }) => {
    const body = chatBody(BYTES)
    const expected = stage.write('expected', answer)
    const connect = async (subject: Subject, kind: Kind): Promise<Connected | null> => {
      const run = await attempt({
        ...{ subject, upstream, program: stage.native('load'), bodyBytes: body.length },
        words: [
          ...['--request', stage.write('request', requestTo(subject, body))],
          ...['--expect', expected, '--fresh', '--connections', `${AT_ONCE}`],
          ...['--warmup', `${warmupS}`, '--seconds', `${windowS}`, ...kind.words],
        ],
      })
      if (run === null) return null
      const { answers, handshakes, resumed, windowNs } = run.load
      return {
        cpuUs: (run.cpuMs * 1_000) / answers,
        perSecond: answers / (windowNs / 1e9),
        resumedShare: handshakes === 0 ? 0 : resumed / handshakes,
        upstreamShare: run.seen.connections / run.seen.requests,
      }
    }
    for (const kind of kinds) {
      const rounds = await interleave(subjects, options.rounds, one => connect(one, kind))
      results.push([kind, rounds])
      notes.push(...notesOf([], { [kind.label]: rounds }))
    }
    notes.push(...notesOf(missing, {}))
  })
}

publish({
  bench: 'connections',
  ...options,
  tables: results.map(([kind, rounds]) => tableOf(kind, rounds)),
  notes: [...new Set(notes)],
  budgets: [
    {
      what: "the agent's sessions resumed, of those offered",
      unit: '',
      bound: 'at least',
      limit: 0.95,
      value: medianOf(roundsOf(RESUMED), 'router', one => one.resumedShare),
    },
    {
      what: "upstream connections for each of the agent's, TLS",
      unit: '',
      bound: 'at most',
      limit: 0.05,
      value: medianOf(roundsOf(RESUMED), 'router', one => one.upstreamShare),
    },
  ],
})

function roundsOf(kind: Kind): Rounds<Connected> {
  return results.find(([one]) => one === kind)?.[1] ?? new Map()
}

function tableOf({ label }: Kind, rounds: Rounds<Connected>): Table {
  return {
    title: `A connection for each request, ${label}`,
    columns: [
      ...['subject', 'CPU µs/connection', '× nginx', 'connections/s', 'resumed'],
      'upstream connections each',
    ],
    rows: [...rounds.keys()].map(name => {
      const isBetween = name !== 'direct'
      return [
        name,
        isBetween ? medianOf(rounds, name, one => one.cpuUs) : null,
        isBetween ? ratioOf(rounds, { of: name, to: 'nginx' }, one => one.cpuUs) : null,
        medianOf(rounds, name, one => one.perSecond),
        medianOf(rounds, name, one => one.resumedShare),
        isBetween ? medianOf(rounds, name, one => one.upstreamShare) : null,
      ]
    }),
  }
}
