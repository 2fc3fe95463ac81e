import { DATABASE_FAULTS } from './database-faults.ts'
import { materialOf, type Plan } from './operator.ts'
import { brief, clockSet, cutWire, type Fault, suspended, type Trouble } from './trouble.ts'
import type { Mood } from './vendor.ts'
import type { World } from './world.ts'

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
    const gateway = chance.pick(world.gateways)
    const between = [gateway.machine, vendor.machine] as const
    return cutWire(world, chance, { between, scope: vendor.host })
  },
  routerWire(world, chance) {
    if (world.routers.length === 0) return null
    const { machine } = chance.pick(world.routers)
    const between = [machine, chance.pick(world.gateways).machine] as const
    return cutWire(world, chance, { between, scope: machine.name })
  },
  slowNetwork({ network }, chance) {
    const end = network.spoil({
      lateness: chance.pick([0, 0.05, 0.5]),
      loss: chance.pick([0, 0.02, 0.2]),
      doubling: chance.pick([0, 0.3]),
    })
    return { scopes: ['network'], forMs: chance.spanMs(1_000, 10 * MINUTE_MS), end }
  },
  gatewayKilled(world, chance) {
    const gateway = chance.pick(world.gateways)
    if (gateway.listening === null || gateway.isDoomed) return null
    gateway.killAfter(chance.whole(1, 60))
    const end = () => {
      gateway.kill()
      gateway.start()
    }
    return { scopes: [gateway.machine.name], forMs: chance.spanMs(200, 2 * MINUTE_MS), end }
  },
  gatewayRestarted(world, chance) {
    const gateway = chance.pick(world.gateways)
    if (gateway.listening === null) return null
    gateway.stop()
    const end = () => gateway.start()
    return { scopes: [gateway.machine.name], forMs: chance.spanMs(10, MINUTE_MS), end }
  },
  gatewaySuspended({ gateways }, chance) {
    const { machine } = chance.pick(gateways)
    return suspended(machine, chance)
  },
  routerSuspended(world, chance) {
    if (world.routers.length === 0) return null
    const { machine } = chance.pick(world.routers)
    return suspended(machine, chance)
  },
  gatewayClock({ gateways }, chance) {
    const { machine } = chance.pick(gateways)
    return clockSet(machine, chance)
  },
  routerClock(world, chance) {
    if (world.routers.length === 0) return null
    const { machine } = chance.pick(world.routers)
    return clockSet(machine, chance)
  },
  disk({ gateways, database }, chance) {
    const [gateway] = gateways
    if (database !== null || gateway?.disk !== 'well') return null
    gateway.disk = chance.pick(['full', 'away'])
    const end = () => {
      gateway.disk = 'well'
    }
    return { scopes: [gateway.machine.name], forMs: chance.spanMs(100, 5 * MINUTE_MS), end }
  },
  badPage({ gateways, database }, chance) {
    const [gateway] = gateways
    if (database !== null || gateway === undefined) return null
    gateway.statementsToFailure = chance.whole(1, 40)
    return brief(gateway.machine.name)
  },
  ...DATABASE_FAULTS,
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
