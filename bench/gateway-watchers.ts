// Routers that watch one gateway, each on a connection of its own: memory each, and how long a changed
// token takes to be in all of them. `npm run bench -- gateway-watchers`
import { type Arrivals, changeToken, openCrowd } from './harness/crowd.ts'
import { median } from './harness/figures.ts'
import { allowsUpstream, startGateway } from './harness/gateway.ts'
import { readOptions } from './harness/options.ts'
import { cpuMs, pause, residentKb } from './harness/processes.ts'
import { publish, type Table } from './harness/report.ts'
import { createStage, type Stage } from './harness/stage.ts'

/** After a change, and after the routers have come, the gateway gets its breath back. */
const SETTLE_MS = 1_500

interface Watched {
  readonly routers: number
  readonly restMb: number
  readonly kbEach: number
  readonly connectMs: number
  /** From the call that changes the token to its arrival; medians over the changes. */
  readonly p50Ms: number | null
  readonly p99Ms: number | null
  readonly maxMs: number | null
  readonly cpuMsEach: number | null
}

const options = readOptions({ all: [], quick: [] })
const changes = options.isQuick ? 3 : 5 * options.rounds
const results: Watched[] = []
for (const routers of [1_000, 10_000]) results.push(await watchWith(routers))
publish({
  bench: 'gateway-watchers',
  ...options,
  tables: [tableOf(results)],
  notes: [`medians over ${changes} changes of the token; arrival is counted from the call`],
  budgets: [
    {
      what: 'memory of a watching router, 10,000',
      unit: 'KB',
      bound: 'at most',
      limit: 80,
      value: at(10_000, one => one.kbEach),
    },
    {
      what: 'a changed token is in all of 1,000 routers',
      unit: 'ms',
      bound: 'at most',
      limit: 100,
      value: at(1_000, one => one.maxMs),
    },
    {
      what: 'a changed token is in all of 10,000 routers',
      unit: 'ms',
      bound: 'at most',
      limit: 1_000,
      value: at(10_000, one => one.maxMs),
    },
  ],
})

async function watchWith(routers: number): Promise<Watched> {
  await using cleanup = new AsyncDisposableStack()
  const stage = createStage(options.release)
  cleanup.defer(stage.remove)
  const stateDir = `${stage.folder}/state`
  // Another gateway prepares the store, so that this one holds nothing of that work.
  const tokens = await prepare(stage, { stateDir, routers })
  const gateway = await startGateway(stage, { stateDir, words: allowsUpstream })
  cleanup.defer(gateway.stop)
  await pause(SETTLE_MS)
  const restKb = residentKb(gateway.pid)
  const begunMs = performance.now()
  const crowd = openCrowd(stage, gateway.port, { routers, tokens })
  cleanup.defer(crowd.close)
  await crowd.connected()
  const connectMs = performance.now() - begunMs
  await pause(SETTLE_MS)
  const kbEach = (residentKb(gateway.pid) - restKb) / routers
  const seen: { readonly arrivals: Arrivals; readonly cpuMs: number }[] = []
  for (let change = 1; change <= changes; change += 1) {
    const before = cpuMs(gateway.pid)
    const [arrivals] = await changeToken([crowd], gateway, `bench-key-${change}`)
    await pause(SETTLE_MS)
    if (arrivals !== undefined) seen.push({ arrivals, cpuMs: cpuMs(gateway.pid) - before })
  }
  return {
    ...{ routers, restMb: restKb / 1_024, kbEach, connectMs },
    p50Ms: median(seen.map(one => one.arrivals.p50Ms)),
    p99Ms: median(seen.map(one => one.arrivals.p99Ms)),
    maxMs: median(seen.map(one => one.arrivals.maxMs)),
    cpuMsEach: median(seen.map(one => one.cpuMs)),
  }
}

async function prepare(
  stage: Stage,
  { stateDir, routers }: { readonly stateDir: string; readonly routers: number },
): Promise<string> {
  const gateway = await startGateway(stage, { stateDir, words: allowsUpstream })
  try {
    await gateway.createProvider('bench-key')
    return await gateway.createSandboxes(routers)
  } finally {
    await gateway.stop()
  }
}

function at(routers: number, pick: (one: Watched) => number | null): number | null {
  const found = results.find(one => one.routers === routers)
  return found === undefined ? null : pick(found)
}

function tableOf(watched: readonly Watched[]): Table {
  return {
    title: 'Routers that watch one gateway; a token changes',
    columns: [
      ...['routers', 'gateway at rest MB', 'KB each', 'all connected ms', 'p50 ms', 'p99 ms'],
      ...['in all ms', 'gateway CPU ms a change'],
    ],
    rows: watched.map(one => [
      ...[one.routers, one.restMb, one.kbEach, one.connectMs, one.p50Ms, one.p99Ms],
      ...[one.maxMs, one.cpuMsEach],
    ]),
  }
}
