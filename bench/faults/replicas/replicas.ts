// Three gateways over one PostgreSQL: gateways, database and the wires between them are killed,
// stopped, cut, slowed and left half open at random, under load from fifty routers.
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { mostSpent, spendings } from '../family.ts'
import { type Asked, causesOf, failuresOf, type Load, startLoad } from '../load.ts'
import { addClient, addServiceAccount, setRoute, signInAgain } from '../providers.ts'
import {
  atMost,
  type Demand,
  exactly,
  isTrueWithin,
  type Row,
  type RunOptions,
  type Scenario,
  sleep,
} from '../scenario.ts'
import { createWorld, type World } from '../world.ts'
import { type Change, startChanging, type Target, undisturbed } from './changes.ts'
import { startCluster } from './cluster.ts'
import { type Mints, mintsOf } from './mints.ts'
import { openPostgresServer } from './postgres-server.ts'
import { makeTrouble, type Trouble } from './trouble.ts'

const LIFETIME_MS = 20_000
const GATEWAYS = 3
const PER_SECOND = 1
/** Routers and providers, and how long; `--quick` has fewer and less. */
const FULL = { routers: 50, accounts: 20, families: 2, forMs: 600_000 }
const QUICK = { routers: 6, accounts: 4, families: 2, forMs: 60_000 }
const DELIVERY_MS_MAX = 2_000
/** Longer than any claim or backoff: what has not minted by then is lost. */
const PATIENCE_MS = 60_000
/** The vendor forgives one repetition of a refresh token within this span. */
const GRACE_MS = 60_000
/** Programs that start at the same time on two cores. */
const AT_ONCE = 4

/** The scenario, in one variant. */
export const replicas: Scenario = {
  name: 'replicas',
  isAlone: true,
  async run(options) {
    return [await runOpenshell(options)]
  },
}

interface Provider {
  readonly name: string
  readonly workspace: string
  /** Subjects of its tokens at the vendor, the newest last. */
  readonly subjects: string[]
  readonly isFamily: boolean
}

async function runOpenshell({ isQuick, fraction }: RunOptions): Promise<Row> {
  const size = isQuick ? QUICK : FULL
  await using database = await openPostgresServer()
  await using world = await createWorld(LIFETIME_MS)
  const { lab, ledger } = world.vendor
  const allowEndpoints = [new URL(lab.origin).host]
  await using cluster = await startCluster(world.place, {
    ...{ count: GATEWAYS, database, allowEndpoints },
  })
  world.use({
    OPENSHELL_GATEWAY_ENDPOINT: cluster.endpoints,
    OPENSHELL_TOKEN_FILE: path.join(world.place.folder, 'admin.token'),
  })
  const providers = await configure(world, size)
  const { loads, targets } = await startRouters(world, { providers, count: size.routers })
  const changing = startChanging(cluster.replicas, targets, fraction)

  const startedAtMs = Date.now()
  const troubles = await makeTrouble(cluster, database, { forMs: size.forMs, fraction })
  const endedAtMs = Date.now()
  const changes = await changing.stop()
  const families = providers.filter(({ isFamily }) => isFamily)
  const signIns = await restored(world, families)
  const silent = () =>
    providers.filter(
      ({ subjects }) =>
        !lab.tokens().some(one => subjects.includes(one.subject) && one.issuedAtMs >= endedAtMs),
    )
  await isTrueWithin(PATIENCE_MS, () => silent().length === 0)
  const asked = (await Promise.all(loads.map(load => load.stop()))).flat()
  await sleep(LIFETIME_MS / 4)

  const failed = failuresOf(asked)
  const mints = mintsOf(lab.tokens(), {
    subjects: providers.flatMap(({ subjects }) => subjects),
    ...{ troubles, startedAtMs },
  })
  const clean = undisturbed(changes, troubles)
  const twice = spendings(ledger).filter(({ calls }) => calls.length > 1)
  const unexplained = twice.filter(({ calls }) => !isDisturbed(troubles, calls[0]?.atMs ?? 0))
  const hopeless = failed.filter(one => !isDisturbed(troubles, one.sentAtMs))
  keep(world, { troubles, changes, failed })
  return {
    ...{ variant: '', system: 'openshell', requests: asked.length, failed: failed.length },
    ...{ mints: mints.count, deadTokens: ledger.deadTokens().length, backMs: null },
    note: [
      `${GATEWAYS} gateways, ${size.routers} routers, ${providers.length} providers`,
      `${troubles.length} troubles, ${troubles.filter(one => one.isDatabase).length} of them the database's`,
      describeMints(mints),
      `${twice.length} of ${spendings(ledger).length} refresh tokens spent twice, ${signIns} new sign-ins`,
      describeChanges(changes, clean),
      causesOf(failed),
      `lab held up for ${ledger.longestStallMs()} ms`,
    ].join('; '),
    demands: [
      exactly('expired tokens at the API', ledger.deadTokens().length, 0),
      exactly('providers that never minted again', silent().length, 0),
      exactly('early mints that no trouble explains', mints.unexplained, 0),
      atMost('times that one refresh token was spent', mostSpent(ledger), 2),
      exactly('refresh tokens spent twice that no trouble explains', unexplained.length, 0),
      ...deliveryDemands(clean),
      exactly('requests that failed though nothing was the matter', hopeless.length, 0),
    ],
  }
}

function deliveryDemands(clean: readonly Change[]): readonly Demand[] {
  const slowestMs = Math.max(0, ...clean.map(({ tookMs }) => tookMs))
  const text = 'slowest change to all routers without trouble'
  return [
    { text: 'changes without trouble', isMet: clean.length > 0, found: String(clean.length) },
    atMost(text, slowestMs, DELIVERY_MS_MAX, ' ms'),
  ]
}

/** Adds the providers, each with a workspace and a route of its own. */
async function configure(world: World, size: typeof FULL): Promise<readonly Provider[]> {
  const accounts = Array.from({ length: size.accounts }, (_, at) => `account-${at + 1}`)
  const families = Array.from({ length: size.families }, (_, at) => `family-${at + 1}`)
  return inTurn([...accounts, ...families], async name => {
    const place = { world, name, workspace: name }
    const isFamily = name.startsWith('family')
    await world.command(['workspace', 'create', name])
    const subject = isFamily ? '' : `${name}@demo-project.iam.gserviceaccount.com`
    if (!isFamily) await addServiceAccount(place, subject)
    const subjects = isFamily
      ? [await addClient(place, { method: 'post', graceMs: GRACE_MS, hasRefreshToken: true })]
      : [subject]
    await setRoute(place, isFamily ? 'gpt-5.5' : 'claude-3-7-sonnet')
    return { name, workspace: name, subjects, isFamily }
  })
}

async function startRouters(
  world: World,
  { providers, count }: { readonly providers: readonly Provider[]; readonly count: number },
): Promise<{ readonly loads: readonly Load[]; readonly targets: readonly Target[] }> {
  const places = Array.from({ length: count }, (_, at) => at).flatMap(at => {
    const provider = providers[at % providers.length]
    return provider === undefined ? [] : [{ name: `router-${at + 1}`, provider }]
  })
  const routers = await inTurn(places, async ({ name, provider }) => {
    const { baseUrl } = await world.startRouter(name, provider.workspace)
    return { provider, baseUrl }
  })
  const loads = routers.map(({ provider, baseUrl }) =>
    startLoad({ baseUrl, dialect: provider.isFamily ? 'openai' : 'anthropic' }, PER_SECOND),
  )
  const targets = providers
    .filter(({ isFamily }) => !isFamily)
    .map(({ name, workspace }) => ({
      ...{ workspace, provider: name },
      routers: routers.filter(one => one.provider.name === name).map(({ baseUrl }) => baseUrl),
    }))
  return { loads, targets: targets.filter(target => target.routers.length > 0) }
}

/** Signs in again where the gateways say that a person must; answers how often. */
async function restored(world: World, families: readonly Provider[]): Promise<number> {
  let signIns = 0
  for (const { name, workspace, subjects } of families) {
    const command = ['provider', 'refresh', 'status', '--workspace', workspace, '-o', 'json']
    const [status] = JSON.parse(await world.command(command))
    if (status.state !== 'failed') continue
    signIns += 1
    const options = { method: 'post', graceMs: GRACE_MS } as const
    subjects.push(await signInAgain({ world, name, workspace }, options))
  }
  return signIns
}

/** A trouble shows for as long as a claim holds, and a dead wire goes unnoticed. */
const AFTERMATH_MS = 45_000

function isDisturbed(troubles: readonly Trouble[], atMs: number): boolean {
  return troubles.some(({ fromMs, toMs }) => fromMs - 1_000 <= atMs && atMs <= toMs + AFTERMATH_MS)
}

function describeMints({ count, early, expected }: Mints): string {
  return `${count} mints, ${expected} lives of tokens, ${early} of the mints early`
}

function describeChanges(changes: readonly Change[], clean: readonly Change[]): string {
  const sorted = clean.map(({ tookMs }) => tookMs).sort((a, b) => a - b)
  const middle = sorted[Math.floor(sorted.length / 2)] ?? 0
  const slowest = Math.max(0, ...changes.map(({ tookMs }) => tookMs))
  return `${changes.length} changes, ${clean.length} without trouble (median ${middle} ms), the slowest of all ${slowest} ms`
}

/** What a reader wants to see when a demand is not met. */
function keep(
  world: World,
  record: {
    readonly troubles: readonly Trouble[]
    readonly changes: readonly Change[]
    readonly failed: readonly Asked[]
  },
): void {
  const file = path.join(path.dirname(world.place.folder), 'openshell-faults-replicas.json')
  writeFileSync(file, JSON.stringify(record, null, 1))
  console.log(`  what happened stands in ${file}`)
}

/** Does work for each thing, a few at a time, and keeps their order. */
async function inTurn<T, R>(things: readonly T[], work: (thing: T) => Promise<R>): Promise<R[]> {
  const results = new Map<number, R>()
  const queue = things.entries()
  const next = async (): Promise<void> => {
    for (const [at, thing] of queue) results.set(at, await work(thing))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, next))
  return [...results].sort(([a], [b]) => a - b).map(([, result]) => result)
}
