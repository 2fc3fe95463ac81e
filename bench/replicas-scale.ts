// One, two and three gateways over one PostgreSQL: mints a second, what the database has to do for
// them, and how long a change takes from one gateway to the routers of another.
// `npm run bench -- replicas-scale`
import { readFileSync } from 'node:fs'
import { type Crowd, changeToken, openCrowd } from './harness/crowd.ts'
import { median, quantile } from './harness/figures.ts'
import { allowsUpstream, type MeasuredGateway } from './harness/gateway.ts'
import { readOptions } from './harness/options.ts'
import {
  type DatabaseLoad,
  type MeasuredDatabase,
  startMeasuredPostgres,
} from './harness/postgres.ts'
import { cpuMs, pause } from './harness/processes.ts'
import {
  fillDatabase,
  loseNotifications,
  makeKeys,
  REPLICAS,
  renewedSince,
  setDue,
  startReplicas,
  stopAll,
} from './harness/replicas.ts'
import { type Budget, publish, type Table } from './harness/report.ts'
import { createStage } from './harness/stage.ts'
import { startTokenEndpoint } from './harness/upstream.ts'

const COUNTS = [1, 2, 3] as const
const LIFE_S = 3_600
/** A gateway's start, and what it reads then, is no part of a window. */
const SETTLE_MS = 5_000
/** Nor may what becomes due come before the gateways have started. */
const START_MS_MAX = 30_000
/** A lost notification is made good once a second; changes must find each phase of that alike. */
const CHECK_MS = 1_000
/** Multiples of it lie evenly between whole numbers. */
const GOLDEN = 0.618
/** What is promised for a change. */
const DELIVERY_MS_MAX = 2_000

const options = readOptions({ all: [], quick: [] })
const size = options.isQuick
  ? { providers: 6_000, mintMs: 5_000, idleMs: 20_000, refreshes: 30, changes: 20 }
  : { providers: 60_000, mintMs: 20_000, idleMs: 60_000, refreshes: 120, changes: 100 }

type Pick = (window: Window) => number

const statementsOf: Pick = ({ load }) => load.statements.values().reduce((sum, one) => sum + one, 0)
const FIGURES: readonly (readonly [string, Pick])[] = [
  ['statements', statementsOf],
  ['transactions', ({ load }) => load.transactions],
  ['WAL, KB', ({ load }) => load.walBytes / 1_024],
  ['PostgreSQL CPU, ms', ({ load }) => load.cpuMs],
  ['gateways CPU, ms', ({ gatewayMs }) => gatewayMs],
]

await using cleanup = new AsyncDisposableStack()
const stage = createStage(options.release)
cleanup.defer(stage.remove)
const upstream = await startTokenEndpoint(stage, LIFE_S)
cleanup.defer(upstream.stop)
const postgres = cleanup.use(await startMeasuredPostgres(REPLICAS))
const keys = makeKeys(stage)
const tokenUrl = `http://127.0.0.1:${upstream.port}/token`
const words = ['--allow-endpoint', `127.0.0.1:${upstream.port}`]

/** What happened in a window. */
interface Window {
  readonly seconds: number
  readonly mints: number
  /** Of all gateways. */
  readonly gatewayMs: number
  readonly load: DatabaseLoad
}

interface Minting extends Window {
  /** Of the replica that did least, in percent of an even share. */
  readonly leastPercent: number
  /** Over the whole run: tokens that the endpoint gave, and credentials that have a new one. */
  readonly minted: number
  readonly renewed: number
}

const mintings = new Map<number, Minting[]>(COUNTS.map(count => [count, []]))
const many = await postgres.createDatabase('many')
await fillDatabase(many, { count: size.providers, tokenUrl, keys })
for (let round = 0; round < options.rounds; round += 1) {
  for (const count of COUNTS) mintings.get(count)?.push(await measureMinting(count))
}
await many.drop()

const thousand = await postgres.createDatabase('thousand')
await fillDatabase(thousand, { count: 1_000, tokenUrl, keys })
const loads = [await measureLoad(1), await measureLoad(3)]

const refreshesAnHour = await readRefreshesAnHour()

const delivery = await measureDelivery()
publish({
  bench: 'replicas-scale',
  ...options,
  tables: [mintTable(), loadTable(), statementTable(), deliveryTable()],
  notes: [
    `PostgreSQL ${postgres.version} as it comes: fsync on, a commit waits for the disk; ${size.providers.toLocaleString('en-US')} credentials`,
    'gateways, PostgreSQL and token endpoint share the cores of this machine, so another replica adds no throughput beyond them; the CPU of 1,000 mints carries over to other machines',
    'in the flood claims run ahead of the mints: what is read for thousands that stand in line falls into the window, too',
    `an hour of 1,000 credentials is computed: ${refreshesAnHour.toFixed(2)} refreshes of each, every one as dear as those of the window, and the idle load of each replica`,
    'a change is counted from the administrator’s call at replica 1',
  ],
  budgets: budgets(),
})

async function measureWindow(
  gateways: readonly MeasuredGateway[],
  database: MeasuredDatabase,
  ms: number,
): Promise<Window> {
  const spentMs = () => gateways.reduce((sum, { pid }) => sum + cpuMs(pid), 0)
  const finish = await database.measure()
  const before = { mints: (await upstream.counts()).requests, spentMs: spentMs() }
  const begunMs = performance.now()
  await pause(ms)
  return {
    seconds: (performance.now() - begunMs) / 1_000,
    mints: (await upstream.counts()).requests - before.mints,
    gatewayMs: spentMs() - before.spentMs,
    load: await finish(),
  }
}

/** Everything is due at once, and more than the window can mint. */
async function measureMinting(count: number): Promise<Minting> {
  const fromMs = Date.now()
  await setDue(many, { count: size.providers, fromMs, spreadMs: 0 })
  const before = (await upstream.counts()).requests
  const gateways = await startReplicas(stage, { count, database: many, keys, words })
  const window = await measuredThenStopped(gateways, async () => {
    await pause(SETTLE_MS)
    return measureWindow(gateways, many, size.mintMs)
  })
  // A gateway that is asked to stop writes what it has minted.
  const minted = (await upstream.counts()).requests - before
  if (minted >= size.providers) throw new Error('Too few providers: all was minted too soon')
  const { writes } = window.load
  const shares = REPLICAS.slice(0, count).map(replica => writes.get(replica) ?? 0)
  const evenShare = shares.reduce((sum, one) => sum + one, 0) / count
  return {
    ...window,
    leastPercent: (Math.min(...shares) / evenShare) * 100,
    ...{ minted, renewed: await renewedSince(many, fromMs) },
  }
}

async function measuredThenStopped<T>(
  gateways: readonly MeasuredGateway[],
  measure: () => Promise<T>,
): Promise<T> {
  try {
    return await measure()
  } finally {
    await stopAll(gateways)
  }
}

interface Load {
  readonly count: number
  readonly idle: Window
  /** As long as the credentials take that become due one a second. */
  readonly busy: Window
}

/** First nothing is due; then a few become due, one a second, as they do among a thousand. */
async function measureLoad(count: number): Promise<Load> {
  const spreadMs = size.refreshes * 1_000
  const fromMs = Date.now() + START_MS_MAX + SETTLE_MS + size.idleMs
  await setDue(thousand, { count: size.refreshes, fromMs, spreadMs })
  const gateways = await startReplicas(stage, { count, database: thousand, keys, words })
  return measuredThenStopped(gateways, async () => {
    const leftMs = fromMs - size.idleMs - Date.now()
    if (leftMs < SETTLE_MS) throw new Error('The gateways took too long to start')
    await pause(leftMs)
    const idle = await measureWindow(gateways, thousand, size.idleMs)
    const busy = await measureWindow(gateways, thousand, spreadMs + SETTLE_MS)
    const renewed = await renewedSince(thousand, fromMs - SETTLE_MS)
    if (busy.mints !== size.refreshes || renewed !== size.refreshes) {
      throw new Error(`${busy.mints} minted and ${renewed} renewed of ${size.refreshes}`)
    }
    return { count, idle, busy }
  })
}

/** Of one replica in a minute. */
function idleOf({ count, idle }: Load, pick: Pick): number {
  return (pick(idle) * 60) / idle.seconds / count
}

/** Of one refresh, what goes on anyhow left out. */
function refreshOf({ idle, busy }: Load, pick: Pick): number {
  return (pick(busy) - (pick(idle) * busy.seconds) / idle.seconds) / busy.mints
}

function hourOf(load: Load, pick: Pick): number {
  return 1_000 * refreshesAnHour * refreshOf(load, pick) + 60 * load.count * idleOf(load, pick)
}

/** How often a token that lives an hour is minted anew within one, as the gateways planned it. */
async function readRefreshesAnHour(): Promise<number> {
  const [row] = await thousand.query(
    `select avg(due_at_ms - token_issued_at_ms)::float8 as after from credentials
      where token_expires_at_ms - token_issued_at_ms <= $1`,
    [LIFE_S * 1_000],
  )
  return 3_600_000 / Number(row?.after)
}

interface Delivered {
  readonly where: string
  readonly tookMs: readonly number[]
}

/** A key changes at replica 1; routers watch there and at replica 3. */
async function measureDelivery(): Promise<readonly Delivered[]> {
  const database = await postgres.createDatabase('delivery')
  const gateways = await startReplicas(stage, { count: 3, database, keys, words: allowsUpstream })
  return measuredThenStopped(gateways, async () => {
    const [near, , far] = gateways
    if (near === undefined || far === undefined) throw new TypeError('There are three')
    await near.createProvider('bench-key')
    const tokens = readFileSync(await near.createSandboxes(2), 'utf8').split('\n')
    const crowds = [near, far].map(({ port }, at) => {
      const file = stage.write(`token-${at}`, tokens[at] ?? '')
      return openCrowd(stage, port, { routers: 1, tokens: file })
    })
    try {
      for (const crowd of crowds) await crowd.connected()
      await pause(SETTLE_MS)
      const [same = [], told = []] = await changeOften(near, crowds, 'told')
      await loseNotifications(database)
      const [, untold = []] = await changeOften(near, crowds, 'untold')
      return [
        { where: 'at the same replica', tookMs: same },
        { where: 'at another, notified', tookMs: told },
        { where: 'at another, the notification lost', tookMs: untold },
      ]
    } finally {
      for (const crowd of crowds) await crowd.close()
    }
  })
}

/** Answers for each crowd how long each change took. */
async function changeOften(
  gateway: MeasuredGateway,
  crowds: readonly Crowd[],
  name: string,
): Promise<readonly (readonly number[])[]> {
  const tookMs: number[][] = crowds.map(() => [])
  for (let change = 1; change <= size.changes; change += 1) {
    const arrivals = await changeToken(crowds, gateway, `bench-key-${name}-${change}`)
    for (const [at, { maxMs }] of arrivals.entries()) tookMs[at]?.push(maxMs)
    // The arrival is bound to the comparison before; this is not.
    await pause(CHECK_MS * (1 + ((change * GOLDEN) % 1)))
  }
  return tookMs
}

function mintTable(): Table {
  return {
    title: 'Mints, as many as go',
    columns: [
      ...['replicas', 'mints/s', 'gateways, CPU s per 1,000', 'PostgreSQL, CPU s per 1,000'],
      ...[
        'statements each',
        'WAL KB each',
        'least busy replica, % of its share',
        'minted / credentials renewed',
      ],
    ],
    rows: [...mintings].map(([count, runs]) => {
      const of = (pick: (run: Minting) => number) => median(runs.map(pick))
      const total = (pick: (run: Minting) => number) =>
        runs.reduce((sum, run) => sum + pick(run), 0)
      return [
        count,
        of(run => run.mints / run.seconds),
        of(run => run.gatewayMs / run.mints),
        of(run => run.load.cpuMs / run.mints),
        of(run => statementsOf(run) / run.mints),
        of(run => run.load.walBytes / 1_024 / run.mints),
        of(run => run.leastPercent),
        `${total(run => run.minted)} / ${total(run => run.renewed)}`,
      ]
    }),
  }
}

function loadTable(): Table {
  const rows = (title: string, figure: (load: Load, pick: Pick) => number) =>
    FIGURES.map(([name, pick]) => [`${title}: ${name}`, ...loads.map(load => figure(load, pick))])
  return {
    title: 'What the database has to do',
    columns: [
      'figure',
      ...loads.map(({ count }) => `${count} ${count === 1 ? 'replica' : 'replicas'}`),
    ],
    rows: [
      ...rows('a replica’s idle minute', idleOf),
      ...rows('a refresh', refreshOf),
      ...rows('1,000 credentials for an hour', hourOf),
    ],
  }
}

function statementTable(): Table {
  const kinds = new Set(
    [...[...mintings.values()].flat(), ...loads.flatMap(({ idle, busy }) => [idle, busy])].flatMap(
      ({ load }) => [...load.statements.keys()],
    ),
  )
  const rows = [...kinds].map((kind): readonly [string, ...number[]] => {
    const pick: Pick = ({ load }) => load.statements.get(kind) ?? 0
    return [
      kind,
      ...loads.map(load => idleOf(load, pick)),
      ...loads.map(load => refreshOf(load, pick)),
      ...[...mintings.values()].map(runs => median(runs.map(run => pick(run) / run.mints)) ?? 0),
    ]
  })
  const weight = ([, ...figures]: readonly [string, ...number[]]) => Math.max(...figures)
  return {
    title: 'Its statements, by kind',
    columns: [
      ...['statement', 'idle minute, 1 replica', 'idle minute, each of 3'],
      ...['a refresh, 1', 'a refresh, 3', ...COUNTS.map(count => `a mint of many, ${count}`)],
    ],
    rows: rows.sort((one, other) => weight(other) - weight(one)),
  }
}

function deliveryTable(): Table {
  return {
    title: 'A change at one replica, until a router has it',
    columns: ['router', 'changes', 'median ms', 'p99 ms', 'longest ms'],
    rows: delivery.map(({ where, tookMs }) => [
      ...[where, tookMs.length, median(tookMs), quantile(tookMs, 0.99), Math.max(...tookMs)],
    ]),
  }
}

function budgets(): readonly Budget[] {
  const runs = [...mintings.values()].flat()
  return [
    {
      what: 'tokens that were minted twice, or are not in the database',
      ...{ unit: '', bound: 'at most', limit: 0 },
      value: runs.reduce((sum, { minted, renewed }) => sum + minted - renewed, 0),
    },
    ...delivery.slice(1).map(
      ({ where, tookMs }): Budget => ({
        what: `a change is in a router ${where}`,
        ...{ unit: 'ms', bound: 'at most', limit: DELIVERY_MS_MAX },
        value: Math.max(...tookMs),
      }),
    ),
  ]
}
