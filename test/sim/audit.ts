import type { Standing } from './ledger.ts'
import type { Machine } from './machine.ts'
import type { RouterHost } from './router-host.ts'
import type { World } from './world.ts'

/**
 * How long a gateway may take to get a token once nothing is in its way: the vendor's `Retry-After`
 * of 120 s, the backoff of 60 s, a claim of 30 s, the attempt itself.
 */
const RECOVERY_MS = 240_000

/** A permission that is granted is noticed by the next probe, a quarter of an hour later. */
const PROBE_MS = 1_100_000

/** A router has its gateway back after a keepalive, a backoff of 5 s and a slow retry of 30 s. */
const RECONNECT_MS = 75_000

/** From a write in the store to the routers that are connected. */
const DELIVERY_MS = 3_000

/** What a process has waiting at rest, and what each thing under way adds to it. */
const SLEEPERS_AT_REST = 8
const SLEEPERS_EACH = 6

/** A statement that hangs is given up, and the change feed begins anew after a backoff. */
const DATABASE_MS = 15_000

/** Looks at everything once: has what should have recovered done so, and is what waits bounded? */
export function audit(world: World): void {
  noteDisagreement(world)
  for (const standing of world.ledger.standing.values()) checkRecovered(world, standing)
  for (const router of world.routers) {
    router.checkAnswers()
    checkConverged(world, router)
    checkBounded(world, router)
  }
  for (const { machine } of world.gateways) checkGatewayBounded(world, machine)
}

/** How long all gateways, and what they share, have been well. */
function calmOfGatewaysMs({ weather, gateways, schedule }: World): number {
  const names = gateways.map(({ machine }) => machine.name)
  const disturbedAtMs = Math.max(...gateways.map(gateway => gateway.disturbedAtMs))
  return Math.min(
    weather.calmForMs(...names, 'database', 'network'),
    schedule.nowMs - disturbedAtMs,
  )
}

/** How long any of the gateways, and what they share, has been well: one is enough to mint. */
function calmOfOneGatewayMs({ weather, gateways, schedule }: World): number {
  const calms = gateways.map(({ machine, disturbedAtMs }) =>
    Math.min(weather.calmForMs(machine.name), schedule.nowMs - disturbedAtMs),
  )
  return Math.min(weather.calmForMs('database', 'network'), Math.max(...calms))
}

/** Gateways that are well ask the database for the time; on the way the answer grows older. */
function noteDisagreement(world: World): void {
  const { database, gateways, ledger, schedule, weather } = world
  if (database === null) return
  for (const gateway of gateways) {
    const { machine, disturbedAtMs } = gateway
    const calmMs = Math.min(
      weather.calmForMs(machine.name, 'database'),
      schedule.nowMs - Math.max(machine.disturbedAtMs, disturbedAtMs),
    )
    if (calmMs < DATABASE_MS || gateway.listening === null) continue
    const apartMs = Math.abs(gateway.nowMs() - database.machine.nowMs())
    ledger.disagreementMs = Math.max(ledger.disagreementMs, 2 * apartMs)
  }
}

/** Whether a provider could be refreshed by itself, and since when. */
function checkRecovered(world: World, { record, credential, writtenAtMs }: Standing): void {
  const { ledger, weather, schedule } = world
  const account = ledger.accountOf(record.id)
  if (credential === null || account === undefined || credential.isDisabled) return
  const dealings = ledger.dealingsWith(account)
  const scopes = [account.host, `account ${account.id}`]
  const boundMs = dealings.heard?.means === 'Q' ? PROBE_MS : RECOVERY_MS
  const calmMs = Math.min(weather.calmForMs(...scopes), calmOfOneGatewayMs(world))
  const isHopeless = credential.failure !== null && credential.dueAtMs === null
  if (calmMs < boundMs || isHopeless || schedule.nowMs - writtenAtMs < boundMs) return
  const nowMs = world.stampingMachine.nowMs()
  const { token } = credential
  if (token !== null && token.expiresAtMs > nowMs) return
  ledger.violate(
    'the gateway recovers',
    `"${record.name}" has no good token though all was well for ${calmMs} ms (due ${credential.dueAtMs}, now ${nowMs})`,
  )
}

/** A router that had time to do so serves what the store says. */
function checkConverged(world: World, router: RouterHost): void {
  const { ledger, weather, gateways, schedule } = world
  const { machine, workspace } = router
  if (!router.isRunning || gateways.some(gateway => gateway.listening === null)) return
  const calmMs = Math.min(
    weather.calmForMs(machine.name),
    calmOfGatewaysMs(world),
    schedule.nowMs - router.startedAtMs,
  )
  if (calmMs < RECONNECT_MS) return
  for (const name of ['inference.local', 'sandbox-system'] as const) {
    const wanted = wantedToken(world, workspace, name)
    if (wanted === null) continue
    const changedAtMs = Math.max(wanted.sinceMs, ledger.routesWrittenAtMs(workspace))
    if (schedule.nowMs - changedAtMs < DELIVERY_MS) continue
    const route = router.bundle?.routes.find(one => one.name === name)
    const served = route?.credential.reveal() ?? ''
    if (served === wanted.value) continue
    ledger.violate(
      'routers converge',
      `${machine.name} serves "${served}" as ${name}, the store has "${wanted.value}" since ${changedAtMs}`,
    )
  }
}

/**
 * What a route's token is by the store; '' when it has none that is good. Null when nobody can say,
 * because the clock by which its end was written has been set back since.
 */
function wantedToken(
  { ledger, stampingMachine, schedule }: World,
  workspace: string,
  name: string,
): { readonly value: string; readonly sinceMs: number } | null {
  const route = ledger.routesOf(workspace).find(one => one.name === name)
  if (route === undefined) return { value: '', sinceMs: 0 }
  const standing = ledger.named(workspace, route.providerName)
  if (standing === undefined) return { value: '', sinceMs: ledger.lastDeletionMs }
  const { credential, writtenAtMs, mintedAtMs } = standing
  const token = credential?.token ?? null
  if (stampingMachine.setBackAtMs >= mintedAtMs) return null
  if (credential === null || token === null || credential.isDisabled) {
    return { value: '', sinceMs: writtenAtMs }
  }
  const leftMs = token.expiresAtMs - stampingMachine.nowMs()
  if (Math.abs(leftMs) <= ledger.disagreementMs) return null
  if (leftMs > 0) return { value: token.value.reveal(), sinceMs: writtenAtMs }
  return { value: '', sinceMs: Math.max(writtenAtMs, schedule.nowMs + leftMs) }
}

function checkBounded({ ledger }: World, { machine, requests }: RouterHost): void {
  const boundMax = SLEEPERS_AT_REST + SLEEPERS_EACH * requests
  if (machine.sleepers <= boundMax) return
  ledger.violate('what waits is bounded', `${machine.sleepers} sleep on ${machine.name}`)
}

function checkGatewayBounded(
  { ledger, network, routers, database }: World,
  machine: Machine,
): void {
  let askings = 0
  let commands = 0
  for (const dealings of ledger.allDealings) {
    askings += dealings.underWay.size
    commands += dealings.commands.size
  }
  const boundMax =
    2 * SLEEPERS_AT_REST + SLEEPERS_EACH * (askings + commands + ledger.standing.size)
  if (machine.sleepers > boundMax) {
    ledger.violate('what waits is bounded', `${machine.sleepers} sleep on ${machine.name}`)
  }
  if (network.listeners > routers.length + (database === null ? 0 : 1)) {
    ledger.violate(
      'what waits is bounded',
      `${network.listeners} streams of ${routers.length} routers`,
    )
  }
}
