// How many polls of a bundle one core answers, each router on a connection of its own with a token of
// its own. `npm run bench -- gateway-polls`
import { interleave, medianOf } from './harness/figures.ts'
import { allowsUpstream, startGateway } from './harness/gateway.ts'
import { runLoad } from './harness/load.ts'
import { readOptions } from './harness/options.ts'
import { publish } from './harness/report.ts'
import { createStage } from './harness/stage.ts'

const CONNECTIONS = [4, 64, 512]
/** An empty gRPC message. */
const EMPTY_MESSAGE = Buffer.alloc(5)

interface Polled {
  readonly perSecond: number
  readonly cpuUs: number
  readonly p50Us: number
  readonly p99Us: number
  readonly residentMb: number
}

const options = readOptions({ all: [], quick: [] })
const [warmupS, windowS] = options.isQuick ? [1, 2] : [3, 5]
await using cleanup = new AsyncDisposableStack()
const stage = createStage(options.release)
cleanup.defer(stage.remove)
const gateway = await startGateway(stage, {
  stateDir: `${stage.folder}/state`,
  words: allowsUpstream,
})
cleanup.defer(gateway.stop)
await gateway.createProvider('bench-key')
const tokens = await gateway.createSandboxes(Math.max(...CONNECTIONS))
const body = stage.write('message', EMPTY_MESSAGE)
const subjects = CONNECTIONS.map(count => ({ name: `${count}`, count }))

const rounds = await interleave(subjects, options.rounds, async ({ count }) => {
  const run = await runLoad(stage.native('load2'), gateway.pid, [
    ...['--port', `${gateway.port}`, '--connections', `${count}`, '--tokens', tokens],
    ...['--path', '/openshell.inference.v1.Inference/GetInferenceBundle', '--body', body],
    ...['--field', 'content-type: application/grpc', '--field', 'te: trailers'],
    ...['--warmup', `${warmupS}`, '--seconds', `${windowS}`],
  ])
  const { answers, wrong, broken, windowNs, latency } = run.load
  if (wrong > 0 || broken > 0 || latency.p50 === undefined || latency.p99 === undefined) return null
  const polled: Polled = {
    perSecond: answers / (windowNs / 1e9),
    cpuUs: (run.cpuMs * 1_000) / answers,
    p50Us: latency.p50 / 1_000,
    p99Us: latency.p99 / 1_000,
    residentMb: run.residentKb / 1_024,
  }
  return polled
})

// On a shared machine what a poll costs says more than how many were answered meanwhile.
const perCore = medianOf(rounds, '64', one => 1e6 / one.cpuUs)
publish({
  bench: 'gateway-polls',
  ...options,
  tables: [
    {
      title: 'Polls of a bundle, one core',
      columns: [
        ...['connections', 'polls/s', 'CPU µs/poll', 'polls per CPU second'],
        ...['p50 µs', 'p99 µs', 'resident MB'],
      ],
      rows: CONNECTIONS.map(count => [
        count,
        medianOf(rounds, `${count}`, one => one.perSecond),
        medianOf(rounds, `${count}`, one => one.cpuUs),
        medianOf(rounds, `${count}`, one => 1e6 / one.cpuUs),
        medianOf(rounds, `${count}`, one => one.p50Us),
        medianOf(rounds, `${count}`, one => one.p99Us),
        medianOf(rounds, `${count}`, one => one.residentMb),
      ]),
    },
  ],
  notes: [],
  budgets: [
    {
      what: 'polls in a second of one core, 64 connections',
      unit: '/s',
      bound: 'at least',
      limit: 10_000,
      value: perCore,
    },
  ],
})
