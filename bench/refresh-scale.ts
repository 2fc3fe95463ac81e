// 100,000 credentials in SQLite: an idle minute of the gateway, what a turn of the refresh task asks
// of the store as providers grow, and mints a second against a fast pretend token endpoint.
// `npm run bench -- refresh-scale`
import { type SeededState, seedState } from './harness/credentials.ts'
import { median } from './harness/figures.ts'
import { type MeasuredGateway, startGateway } from './harness/gateway.ts'
import { readOptions } from './harness/options.ts'
import { cpuMs, pause, residentKb } from './harness/processes.ts'
import { type Budget, publish, type Table } from './harness/report.ts'
import { createStage } from './harness/stage.ts'
import { startTokenEndpoint } from './harness/upstream.ts'

const COUNTS = [1_000, 10_000, 100_000]
const LARGEST = Math.max(...COUNTS)
const TURNS = 2_000
const DUE_AT_A_TIME = 100
/** The gateway's start is not what an idle minute means. */
const SETTLE_MS = 10_000
const CLAIM_MS = 30_000
const FIRST_MINT_MS_MAX = 180_000

interface Turn {
  readonly providers: number
  readonly idleUs: number
  readonly dueUs: number
}

interface Minting {
  /** From the open port to the first request at the token endpoint. */
  readonly firstMs: number
  readonly perSecond: number
  readonly cpuUs: number | null
  readonly minted: number
  readonly stored: number
}

const options = readOptions({ all: [], quick: [] })
const [idleMs, mintMs] = options.isQuick ? [10_000, 10_000] : [60_000, 30_000]
await using cleanup = new AsyncDisposableStack()
const stage = createStage(options.release)
cleanup.defer(stage.remove)
const upstream = await startTokenEndpoint(stage, 43_200)
cleanup.defer(upstream.stop)
const tokenUrl = `http://127.0.0.1:${upstream.port}/token`

const turns: Turn[] = []
let largest: SeededState | null = null
for (const count of COUNTS) {
  const state = await seedState(`${stage.folder}/state-${count}`, { count, tokenUrl })
  turns.push(await measureTurns(state, count))
  if (count === LARGEST) largest = state
}
if (largest === null) throw new TypeError('There is a largest count')
largest.setDue('in hours')
const idle = await withGateway(largest, measureIdle)
largest.setDue('now')
const minting = await measureMinting(largest)

publish({
  bench: 'refresh-scale',
  ...options,
  tables: [
    turnTable(turns),
    {
      title: `${LARGEST.toLocaleString('en-US')} credentials`,
      columns: ['figure', 'value'],
      rows: [
        ['start until the port answers, ms', idle.startMs],
        ['idle, share of a core, %', idle.percent],
        ['resident memory at rest, MB', idle.residentMb],
        ['all due at once: from the open port to the first mint, ms', minting.firstMs],
        ['mints a second from then on', minting.perSecond],
        ['CPU of a mint, µs', minting.cpuUs],
        ['mints within a CPU second', minting.cpuUs === null ? null : 1e6 / minting.cpuUs],
        ['tokens minted / stored', `${minting.minted} / ${minting.stored}`],
      ],
    },
  ],
  notes: ['a claim of 100 takes the write of 100 rows with it, in one transaction'],
  budgets: budgets(),
})

function budgets(): readonly Budget[] {
  const first = turns[0]?.idleUs ?? Number.NaN
  const last = turns.at(-1)?.idleUs ?? Number.NaN
  return [
    {
      what: 'an idle minute, share of a core',
      unit: '%',
      bound: 'at most',
      limit: 1,
      value: idle.percent,
    },
    {
      what: 'a turn with nothing due, 100,000 providers / 1,000',
      unit: '×',
      bound: 'at most',
      limit: 1.5,
      value: last / first,
    },
    {
      what: 'mints sustained',
      unit: '/s',
      bound: 'at least',
      limit: 1_000,
      value: minting.perSecond,
    },
    {
      what: 'minted tokens that are not in the store',
      unit: '',
      bound: 'at most',
      limit: 0,
      value: minting.minted - minting.stored,
    },
  ]
}

/** What one turn of the refresh task asks of the store: claim what is due, then the earliest due. */
async function measureTurns(state: SeededState, providers: number): Promise<Turn> {
  const store = await state.open()
  const claimAt = (nowMs: number) => ({ owner: 'bench', nowMs, untilMs: nowMs + CLAIM_MS })
  const timeUs = async (turn: () => Promise<unknown>): Promise<number> => {
    const begunMs = performance.now()
    await turn()
    return (performance.now() - begunMs) * 1_000
  }
  const idleUs: number[] = []
  for (let turn = 0; turn < TURNS; turn += 1) {
    const claim = claimAt(Date.now())
    const tookUs = await timeUs(async () => {
      await store.claimDue(claim, DUE_AT_A_TIME)
      await store.earliestDueAtMs()
    })
    idleUs.push(tookUs)
  }
  // Seen from a day later everything is due, and each claim takes the next ones.
  const dueUs: number[] = []
  const tomorrowMs = Date.now() + 86_400_000
  for (let claimed = 0; claimed < Math.min(providers, 2_000); claimed += DUE_AT_A_TIME) {
    dueUs.push(await timeUs(() => store.claimDue(claimAt(tomorrowMs), DUE_AT_A_TIME)))
  }
  await store.close()
  state.setDue('in hours')
  return { providers, idleUs: median(idleUs) ?? 0, dueUs: median(dueUs) ?? 0 }
}

async function withGateway<T>(
  state: SeededState,
  measure: (gateway: MeasuredGateway, startMs: number) => Promise<T>,
): Promise<T> {
  const begunMs = performance.now()
  const gateway = await startGateway(stage, {
    stateDir: state.stateDir,
    words: ['--allow-endpoint', `127.0.0.1:${upstream.port}`],
  })
  try {
    return await measure(gateway, performance.now() - begunMs)
  } finally {
    await gateway.stop()
  }
}

async function measureIdle(gateway: MeasuredGateway, startMs: number) {
  await pause(SETTLE_MS)
  const beforeMs = cpuMs(gateway.pid)
  await pause(idleMs)
  const percent = ((cpuMs(gateway.pid) - beforeMs) / idleMs) * 100
  return { startMs, percent, residentMb: residentKb(gateway.pid) / 1_024 }
}

async function measureMinting(state: SeededState): Promise<Minting> {
  const before = await upstream.counts()
  const measured = await withGateway(state, async gateway => {
    const firstMs = await waitForFirstMint(before.requests)
    await pause(SETTLE_MS / 2)
    const begun = { mints: (await upstream.counts()).requests, cpuMs: cpuMs(gateway.pid) }
    await pause(mintMs)
    const mints = (await upstream.counts()).requests - begun.mints
    return {
      firstMs,
      perSecond: mints / (mintMs / 1_000),
      cpuUs: mints === 0 ? null : ((cpuMs(gateway.pid) - begun.cpuMs) * 1_000) / mints,
    }
  })
  // A gateway that is asked to stop writes what it has minted.
  const minted = (await upstream.counts()).requests - before.requests
  return { ...measured, minted, stored: state.minted() }
}

async function waitForFirstMint(before: number): Promise<number> {
  const begunMs = performance.now()
  while ((await upstream.counts()).requests === before) {
    if (performance.now() - begunMs > FIRST_MINT_MS_MAX) throw new Error('Nothing is minted')
    await pause(20)
  }
  return performance.now() - begunMs
}

function turnTable(measured: readonly Turn[]): Table {
  return {
    title: 'A turn of the refresh task, in the store',
    columns: ['providers', 'nothing due, µs', `claim ${DUE_AT_A_TIME} that are due, µs`],
    rows: measured.map(one => [one.providers, one.idleUs, one.dueUs]),
  }
}
