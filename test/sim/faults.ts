import type { Chance } from './chance.ts'
import type { Machine } from './machine.ts'
import { materialOf, type Plan } from './operator.ts'
import type { Mood } from './vendor.ts'
import type { World } from './world.ts'

/** Trouble that has begun: where, for how long, and how it ends. */
interface Trouble {
  readonly scopes: readonly string[]
  readonly forMs: number
  readonly end: () => void
}

/** Something that goes wrong, or that a person does; null when there is nothing to do it to. */
type Fault = (world: World, chance: Chance) => Trouble | null

const MINUTE_MS = 60_000
const MOODS: readonly Mood[] = [
  ...(['trouble', 'gone', 'silent', 'swallowing'] as const),
  ...(['throttling', 'forbidding', 'lying', 'confused'] as const),
]

/** Every fault, by what it does. Which of them a simulation knows is drawn from its seed. */
export const FAULTS: Readonly<Record<string, Fault>> = {
  vendorMood(world, chance) {
    const vendor = chance.pick([...world.vendors.values()])
    if (vendor.mood !== 'well') return null
    vendor.mood = chance.pick(MOODS)
    world.trace.note(`${vendor.host} is ${vendor.mood}`)
    const end = () => {
      vendor.mood = 'well'
    }
    return { scopes: [vendor.host], forMs: chance.spanMs(100, 20 * MINUTE_MS), end }
  },
  vendorDate(world, chance) {
    const vendor = chance.pick([...world.vendors.values()])
    vendor.dateOffsetMs = chance.pick([-600_000, 600_000, -3_600_000, -1_500_000_000_000])
    const end = () => {
      vendor.dateOffsetMs = 0
    }
    return { scopes: [vendor.host], forMs: chance.spanMs(1_000, 20 * MINUTE_MS), end }
  },
  tokensRevoked(world, chance) {
    const { account } = chance.pick(world.plans)
    account.revokeTokens()
    world.trace.note(`tokens of account ${account.id} are revoked`)
    return brief(`account ${account.id}`)
  },
  accountClosed(world, chance) {
    const plan = chance.pick(world.plans)
    const { account } = plan
    if (account.kind === 'family') account.revokeFamily()
    else account.secrets.clear()
    world.trace.note(`account ${account.id} is closed`)
    const end = () => world.spawn(() => repair(world, plan))
    return { scopes: [`account ${account.id}`], forMs: chance.spanMs(1_000, 20 * MINUTE_MS), end }
  },
  vendorWire(world, chance) {
    const vendor = chance.pick([...world.vendors.values()])
    return cutWire(world, chance, [world.gateway.machine, vendor.machine], vendor.host)
  },
  routerWire(world, chance) {
    if (world.routers.length === 0) return null
    const { machine } = chance.pick(world.routers)
    return cutWire(world, chance, [machine, world.gateway.machine], machine.name)
  },
  slowNetwork({ network }, chance) {
    network.lateness = chance.pick([0, 0.05, 0.5])
    network.loss = chance.pick([0, 0.02, 0.2])
    network.doubling = chance.pick([0, 0.3])
    const end = () => {
      network.lateness = 0
      network.loss = 0
      network.doubling = 0
    }
    return { scopes: ['network'], forMs: chance.spanMs(1_000, 10 * MINUTE_MS), end }
  },
  gatewayKilled(world, chance) {
    if (world.gateway.listening === null || world.gateway.isDoomed) return null
    world.gateway.killAfter(chance.whole(1, 60))
    const end = () => {
      world.gateway.kill()
      world.gateway.start()
    }
    return { scopes: ['gateway'], forMs: chance.spanMs(200, 2 * MINUTE_MS), end }
  },
  gatewayRestarted(world, chance) {
    if (world.gateway.listening === null) return null
    world.gateway.stop()
    const end = () => world.gateway.start()
    return { scopes: ['gateway'], forMs: chance.spanMs(10, MINUTE_MS), end }
  },
  gatewaySuspended: ({ gateway }, chance) => suspended(gateway.machine, 'gateway', chance),
  routerSuspended(world, chance) {
    if (world.routers.length === 0) return null
    const { machine } = chance.pick(world.routers)
    return suspended(machine, machine.name, chance)
  },
  gatewayClock: ({ gateway }, chance) => clockSet(gateway.machine, 'gateway', chance),
  routerClock(world, chance) {
    if (world.routers.length === 0) return null
    const { machine } = chance.pick(world.routers)
    return clockSet(machine, machine.name, chance)
  },
  disk({ gateway }, chance) {
    if (gateway.disk !== 'well') return null
    gateway.disk = chance.pick(['full', 'away'])
    const end = () => {
      gateway.disk = 'well'
    }
    return { scopes: ['gateway'], forMs: chance.spanMs(100, 5 * MINUTE_MS), end }
  },
  badPage({ gateway }, chance) {
    gateway.statementsToFailure = chance.whole(1, 40)
    return brief('gateway')
  },
  routerRestarted(world, chance) {
    if (world.routers.length === 0) return null
    const router = chance.pick(world.routers)
    router.stop(chance.pick(['stop', 'kill']))
    const end = () => {
      if (world.routers.includes(router)) router.start()
    }
    return { scopes: [router.machine.name], forMs: chance.spanMs(10, MINUTE_MS), end }
  },
  routerComes(world) {
    if (world.routers.length > 2 * world.shape.routers) return null
    world.spawn(() => world.addRouter())
    return brief('nobody')
  },
  routerGoes(world, chance) {
    if (world.routers.length < 2) return null
    const router = chance.pick(world.routers)
    world.spawn(() => world.removeRouter(router))
    return brief(router.machine.name)
  },
  personRotates(world, chance) {
    const plan = chance.pick(world.plans)
    return doing(world, plan, async () => void (await world.operator.rotate(plan)))
  },
  personUpdates(world, chance) {
    const plan = chance.pick(world.plans)
    return doing(world, plan, () => repair(world, plan))
  },
  personErrs(world, chance) {
    const plan = chance.pick(world.plans)
    const key = Object.keys(materialOf(plan.account))[0] ?? ''
    const wrong = { [key]: `secret-${plan.account.id}-wrong${chance.whole(0, 1e9)}` }
    const noVerify = chance.happens(0.3)
    return doing(world, plan, async () => {
      await world.operator.update(plan, { credentials: wrong, noVerify })
      await repair(world, plan)
    })
  },
  personConfigures(world, chance) {
    const plan = chance.pick(world.plans)
    const config = { NOTE: String(chance.whole(0, 9)) }
    return doing(world, plan, async () => void (await world.operator.update(plan, { config })))
  },
  personReplaces(world, chance) {
    const plan = chance.pick(world.plans)
    return doing(world, plan, async () => {
      if (!(await world.operator.remove(plan))) return
      plan.next = world.openAccount(plan.next.kind)
      await world.operator.add(plan)
    })
  },
  personReroutes(world, chance) {
    const plan = chance.pick(world.plans)
    const name = chance.pick(['inference.local', 'sandbox-system'])
    return doing(world, plan, async () => {
      if (chance.happens(0.3)) await world.operator.unroute(plan.workspace, name)
      await world.operator.route(plan, name)
    })
  },
  personDisables(world, chance) {
    const plan = chance.pick(world.plans)
    return doing(world, plan, async () => {
      await world.operator.disable(plan)
      await world.operator.rotate(plan)
    })
  },
}

/** New material that the vendor takes; the old ends soon, as people are told to do it. */
export async function repair(world: World, plan: Plan): Promise<void> {
  const { account } = plan
  const old = [...account.secrets]
  if (account.kind === 'family') account.signIn()
  else account.addSecret()
  const isDone = await world.operator.update(plan, { credentials: materialOf(account) })
  if (isDone) for (const secret of old) account.secrets.delete(secret)
  world.weather.touch(`account ${account.id}`)
}

function brief(scope: string): Trouble {
  return { scopes: [scope], forMs: 0, end: () => {} }
}

/** A person at work is trouble for the account until the command has ended. */
function doing(world: World, { account }: Plan, work: () => Promise<void>): Trouble {
  const scope = `account ${account.id}`
  world.weather.begin(scope)
  world.spawn(async () => {
    await work()
    world.weather.end(scope)
  })
  return brief(scope)
}

function cutWire(
  world: World,
  chance: Chance,
  [one, other]: readonly [Machine, Machine],
  scope: string,
): Trouble | null {
  if (world.network.cutOf(one, other) !== null) return null
  const cut = chance.pick(['refused', 'silent'] as const)
  world.trace.note(`wire to ${scope} is ${cut}`)
  world.network.cut(one, other, cut)
  const end = () => world.network.mend(one, other)
  return { scopes: [scope], forMs: chance.spanMs(10, 10 * MINUTE_MS), end }
}

function suspended(machine: Machine, scope: string, chance: Chance): Trouble | null {
  if (machine.isSuspended) return null
  machine.suspend()
  return { scopes: [scope], forMs: chance.spanMs(100, 60 * MINUTE_MS), end: () => machine.resume() }
}

function clockSet(machine: Machine, scope: string, chance: Chance): Trouble {
  const ms = chance.spanMs(100, 120 * MINUTE_MS)
  machine.step(chance.happens(0.5) ? ms : -ms)
  machine.drift(1 + (chance.fraction() - 0.5) / 2_500)
  return brief(scope)
}
