import type { Standing } from './ledger.ts'
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

/** Looks at everything once: has what should have recovered done so, and is what waits bounded? */
export function audit(world: World): void {
  for (const standing of world.ledger.standing.values()) checkRecovered(world, standing)
  for (const router of world.routers) {
    router.checkAnswers()
    checkConverged(world, router)
    checkBounded(world, router)
  }
  checkGatewayBounded(world)
}

/** Whether a provider could be refreshed by itself, and since when. */
function checkRecovered(world: World, { record, credential, writtenAtMs }: Standing): void {
  const { ledger, weather, gateway, schedule } = world
  const account = ledger.accountOf(record.id)
  if (credential === null || account === undefined || credential.isDisabled) return
  const dealings = ledger.dealingsWith(account)
  const scopes = ['gateway', 'network', account.host, `account ${account.id}`]
  const boundMs = dealings.heard?.means === 'Q' ? PROBE_MS : RECOVERY_MS
  const calmMs = Math.min(weather.calmForMs(...scopes), schedule.nowMs - gateway.disturbedAtMs)
  const isHopeless = credential.failure !== null && credential.dueAtMs === null
  if (calmMs < boundMs || isHopeless || schedule.nowMs - writtenAtMs < boundMs) return
  const nowMs = gateway.machine.nowMs()
  const { token } = credential
  if (token !== null && token.expiresAtMs > nowMs) return
  ledger.violate(
    'the gateway recovers',
    `"${record.name}" has no good token though all was well for ${calmMs} ms (due ${credential.dueAtMs}, now ${nowMs})`,
  )
}

/** A router that had time to do so serves what the store says. */
function checkConverged(world: World, router: RouterHost): void {
  const { ledger, weather, gateway, schedule } = world
  const { machine, workspace } = router
  if (!router.isRunning || gateway.listening === null) return
  const calmMs = Math.min(
    weather.calmForMs('gateway', 'network', machine.name),
    schedule.nowMs - gateway.disturbedAtMs,
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
  { ledger, gateway, schedule }: World,
  workspace: string,
  name: string,
): { readonly value: string; readonly sinceMs: number } | null {
  const route = ledger.routesOf(workspace).find(one => one.name === name)
  if (route === undefined) return { value: '', sinceMs: 0 }
  const standing = ledger.named(workspace, route.providerName)
  if (standing === undefined) return { value: '', sinceMs: ledger.lastDeletionMs }
  const { credential, writtenAtMs, mintedAtMs } = standing
  const token = credential?.token ?? null
  if (gateway.machine.setBackAtMs >= mintedAtMs) return null
  if (credential === null || token === null || credential.isDisabled) {
    return { value: '', sinceMs: writtenAtMs }
  }
  const leftMs = token.expiresAtMs - gateway.machine.nowMs()
  if (leftMs > 0) return { value: token.value.reveal(), sinceMs: writtenAtMs }
  return { value: '', sinceMs: Math.max(writtenAtMs, schedule.nowMs + leftMs) }
}

function checkBounded({ ledger }: World, { machine, requests }: RouterHost): void {
  const boundMax = SLEEPERS_AT_REST + SLEEPERS_EACH * requests
  if (machine.sleepers <= boundMax) return
  ledger.violate('what waits is bounded', `${machine.sleepers} sleep on ${machine.name}`)
}

function checkGatewayBounded({ ledger, gateway, network, routers }: World): void {
  let askings = 0
  let commands = 0
  for (const dealings of ledger.allDealings) {
    askings += dealings.underWay.size
    commands += dealings.commands.size
  }
  const boundMax =
    2 * SLEEPERS_AT_REST + SLEEPERS_EACH * (askings + commands + ledger.standing.size)
  if (gateway.machine.sleepers > boundMax) {
    ledger.violate('what waits is bounded', `${gateway.machine.sleepers} sleep on the gateway`)
  }
  if (network.listeners > routers.length) {
    ledger.violate(
      'what waits is bounded',
      `${network.listeners} streams of ${routers.length} routers`,
    )
  }
}
