// One vendor's token endpoint hangs for 20 s while many of its tokens fall due; another is under load.
import type { Asked } from './load.ts'
import { failuresOf, latencyMs, startLoad } from './load.ts'
import { addApplication, addServiceAccount, setRoute } from './providers.ts'
import { atMost, exactly, type Row, type RunOptions, type Scenario, sleep } from './scenario.ts'
import { createWorld, type Vendor } from './world.ts'

/** More than one token host has places for. */
const SICK_PROVIDERS = 24
const ADDED_AT_ONCE = 4
const SICK_LIFETIME_MS = 8_000
const LIFETIME_MS = 6_000
const PER_SECOND = 50
const LATE_MS_MAX = 500
const BACK_MS_MAX = 5_000
const P50_RATIO_MAX = 1.5
const P99_RATIO_MAX = 2
/** A tail of a few milliseconds is the scheduler's. */
const P99_SLACK_MS = 5
/** A window holds two hundred requests; the middle one of all windows' tails forgives the machine's hiccups. */
const WINDOW_MS = 4_000

/** The scenario, in one variant. */
export const hang: Scenario = {
  name: 'hang',
  isAlone: true,
  async run(options) {
    return [await runOpenshell(options)]
  },
}

async function runOpenshell({ isQuick }: RunOptions): Promise<Row> {
  const hangMs = isQuick ? 10_000 : 20_000
  const calmMs = hangMs / 2
  await using world = await createWorld(LIFETIME_MS)
  const sick = await world.addVendor(SICK_LIFETIME_MS)
  await world.startGateway()
  const place = { world, name: 'healthy' }
  await addApplication(place, 'secret')
  await setRoute(place, 'gpt-5.5')
  const names = Array.from({ length: SICK_PROVIDERS }, (_, at) => `sick-${at + 1}`)
  for (let at = 0; at < names.length; at += ADDED_AT_ONCE) {
    const some = names.slice(at, at + ADDED_AT_ONCE)
    await Promise.all(
      some.map(name => addServiceAccount({ world, lab: sick.lab, name }, emailOf(name))),
    )
  }
  const { baseUrl } = await world.startRouter('agent')
  const load = startLoad({ baseUrl, dialect: 'openai' }, PER_SECOND)
  await sleep(2_000)
  const calmAtMs = Date.now()
  await sleep(calmMs)
  const beganAtMs = Date.now()
  sick.lab.faults.set('google.token hang')
  await sleep(hangMs)
  sick.lab.faults.clear()
  const endedAtMs = Date.now()
  await sleep(calmMs)
  const asked = (await load.stop()).filter(one => one.sentAtMs >= calmAtMs)
  const during = asked.filter(one => one.sentAtMs >= beganAtMs && one.sentAtMs < endedAtMs)
  const calm = asked.filter(one => !during.includes(one))
  const { ledger } = world.vendor
  const ratio = (share: number) => latencyMs(during, share) / latencyMs(calm, share)
  const p99ExcessMs = tailMs(during) - P99_RATIO_MAX * tailMs(calm)
  const lateMs = latestMs(world.vendor, calmAtMs)
  const backMs = Math.max(...names.map(name => mintedAtMs(sick, name, endedAtMs) - endedAtMs))
  const hung = sick.ledger.tokenCalls().filter(({ status }) => status === 0).length
  return {
    ...{ variant: '', system: 'openshell', requests: asked.length },
    failed: failuresOf(asked).length,
    mints: ledger.mintsSince(calmAtMs),
    ...{ deadTokens: ledger.deadTokens().length, backMs },
    note: `${SICK_PROVIDERS} sick providers, ${hung} calls hung; p50 / p99 ms ${shown(calm)} calm, ${shown(during)} during`,
    demands: [
      exactly('requests that failed', failuresOf(asked).length, 0),
      exactly('expired tokens at the API', ledger.deadTokens().length, 0),
      atMost('latest refresh of the healthy provider', lateMs, LATE_MS_MAX, ' ms'),
      atMost('every sick provider minted after the hang', backMs, BACK_MS_MAX, ' ms'),
      atMost('p50 during the hang, times the calm one', ratio(0.5), P50_RATIO_MAX),
      atMost(`p99 beyond ${P99_RATIO_MAX} times the calm one`, p99ExcessMs, P99_SLACK_MS, ' ms'),
    ],
  }
}

function emailOf(name: string): string {
  return `${name}@demo-project.iam.gserviceaccount.com`
}

/** When a provider first minted since then. */
function mintedAtMs({ lab }: Vendor, name: string, sinceMs: number): number {
  const mints = lab.tokens().filter(({ subject }) => subject === emailOf(name))
  const first = mints.find(({ issuedAtMs }) => issuedAtMs >= sinceMs)
  return first?.issuedAtMs ?? Number.POSITIVE_INFINITY
}

/** How much later than due a token came, at worst: half its life is the latest due time. */
function latestMs({ lab }: Vendor, sinceMs: number): number {
  const issued = lab.tokens().map(({ issuedAtMs }) => issuedAtMs)
  const gaps = issued.slice(1).map((atMs, at) => ({ atMs, gapMs: atMs - (issued[at] ?? atMs) }))
  const late = gaps
    .filter(({ atMs }) => atMs >= sinceMs)
    .map(({ gapMs }) => gapMs - LIFETIME_MS / 2)
  return Math.max(...late)
}

/** The p99 of the middle one of all windows. */
function tailMs(asked: readonly Asked[]): number {
  const windows = Object.groupBy(asked, ({ sentAtMs }) => Math.floor(sentAtMs / WINDOW_MS))
  const tails = Object.values(windows).map((some = []) => latencyMs(some, 0.99))
  return tails.sort((a, b) => a - b)[Math.floor(tails.length / 2)] ?? 0
}

function shown(asked: readonly Asked[]): string {
  return `${latencyMs(asked, 0.5).toFixed(1)} / ${tailMs(asked).toFixed(1)}`
}
