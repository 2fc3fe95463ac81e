import { audit } from './audit.ts'
import { Chance } from './chance.ts'
import { FAULTS, repair } from './faults.ts'
import type { Ledger, Violation } from './ledger.ts'
import type { Plan } from './operator.ts'
import type { RouterHost } from './router-host.ts'
import { World, type WorldShape } from './world.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

/** How often everything is looked at. */
const AUDIT_MS = 5_000
const CALM_AUDIT_MS = MINUTE_MS

/** After the last fault; a probe of what an administrator may have mended comes later. */
const SETTLE_MS = 6 * MINUTE_MS
const PROBE_MS = 18 * MINUTE_MS

/** A simulation is cut so that it takes about so many mints and requests: seeds are worth more. */
const MINTS_MAX = 150
const REQUESTS_MAX = 300

/** What a seed draws from: mostly one gateway with a file, or several that share a database. */
const REPLICAS: readonly number[] = [0, 0, 0, 0, 1, 3, 3, 5]

/** A simulation, as its seed makes it. */
export interface Scenario {
  readonly seed: number
  readonly shape: WorldShape
  /** Names of `FAULTS`. */
  readonly faults: readonly string[]
  /** One fault this often, on the average. */
  readonly faultEveryMs: number
  readonly forMs: number
}

/** What came of a simulation. */
export interface Report {
  readonly seed: number
  readonly replicas: number
  readonly violation: Violation | null
  /** Two runs with the same hash went the same way. */
  readonly hash: string
  /** Lines of the trace. */
  readonly lines: number
  /** The last of them. */
  readonly last: readonly string[]
  readonly simulatedMs: number
  readonly mints: number
  readonly answers: ReadonlyMap<number, number>
}

/**
 * What a seed stands for: the world, and what goes wrong in it. `replicas` gateways share a database,
 * or 0 stands for one with a file; null leaves that to the seed.
 */
export function scenarioOf(seed: number, replicas: number | null = null): Scenario {
  const chance = new Chance(seed)
  const lives = [20_000, MINUTE_MS, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS]
  const livesMs = chance.some(lives, 0.4)
  const meanLifeMs = livesMs.length / livesMs.reduce((sum, lifeMs) => sum + 1 / lifeMs, 0)
  const providers = chance.whole(1, 6)
  const routers = chance.whole(1, 5)
  const lifeMs = livesMs.length === 0 ? HOUR_MS : meanLifeMs
  const gateways = replicas ?? chance.pick(REPLICAS)
  // More gateways make more to do in the same time.
  const longestMs = (2 * HOUR_MS) / Math.max(1, gateways)
  const mintsMax = gateways > 1 ? MINTS_MAX / 2 : MINTS_MAX
  const forMs = Math.min(longestMs, Math.ceil((mintsMax * lifeMs) / providers))
  return {
    seed,
    shape: {
      ...{ providers, routers, replicas: gateways },
      livesMs: livesMs.length === 0 ? [HOUR_MS] : livesMs,
      pollIntervalMs: chance.pick([30_000, 300_000]),
      requestEveryMs: Math.max(5_000, (forMs * routers) / REQUESTS_MAX),
      areVendorsOdd: chance.happens(0.5),
    },
    faults: chance.some(Object.keys(FAULTS), 0.5),
    faultEveryMs: Math.min(chance.spanMs(10_000, 5 * MINUTE_MS), forMs / 15),
    forMs,
  }
}

/** A calm week, for the figure of how much a CPU second simulates. */
export function calmScenario(options: {
  readonly providers: number
  readonly routers: number
  readonly forMs: number
}): Scenario {
  const { providers, routers, forMs } = options
  const livesMs = [HOUR_MS]
  const requestEveryMs = 30 * MINUTE_MS
  // Push does the work; what a poll costs is no question of tokens.
  const pollIntervalMs = 30 * MINUTE_MS
  return {
    seed: 1,
    shape: {
      providers,
      routers,
      replicas: 0,
      livesMs,
      pollIntervalMs,
      requestEveryMs,
      areVendorsOdd: false,
    },
    faults: [],
    faultEveryMs: HOUR_MS,
    forMs,
  }
}

/** Runs a scenario to its end, or to the first invariant that does not hold. */
export async function simulate(
  scenario: Scenario,
  onLine: ((line: string) => void) | null = null,
): Promise<Report> {
  const { seed, shape, forMs } = scenario
  const world = new World(seed, shape, onLine)
  const { schedule, ledger, trace } = world
  const isFine = (): boolean => ledger.violation === null
  const auditLater = (): void => {
    audit(world)
    schedule.after(scenario.faults.length > 0 ? AUDIT_MS : CALM_AUDIT_MS, auditLater)
  }
  try {
    world.begin()
    auditLater()
    const storm = new Storm(world, scenario)
    storm.begin()
    await schedule.runUntil(forMs, isFine)
    if (isFine() && scenario.faults.length > 0) {
      storm.end()
      await schedule.runUntil(forMs + SETTLE_MS, isFine)
      const isForbidden = [...ledger.standing.values()].some(
        ({ credential }) => credential?.failure?.class === 'Q',
      )
      if (isForbidden) await schedule.runUntil(forMs + PROBE_MS, isFine)
      if (isFine()) await checkEnd(world, isFine)
    }
    return {
      ...{ seed, replicas: shape.replicas, violation: ledger.violation, hash: trace.hash },
      ...{ lines: trace.count, last: trace.last, simulatedMs: schedule.nowMs },
      ...{ mints: ledger.mints, answers: world.answers },
    }
  } finally {
    await world.close()
  }
}

/** Faults that come and go. */
class Storm {
  readonly #world: World
  readonly #scenario: Scenario
  readonly #chance: Chance
  readonly #active = new Set<() => void>()
  #isOver = false

  constructor(world: World, scenario: Scenario) {
    this.#world = world
    this.#scenario = scenario
    this.#chance = world.chance.fork()
  }

  begin(): void {
    const { faultEveryMs, faults } = this.#scenario
    if (faults.length === 0 || this.#isOver) return
    this.#world.schedule.after(this.#chance.whole(1, 2 * faultEveryMs), () => {
      if (this.#isOver) return
      this.#strike()
      this.begin()
    })
  }

  /** All is well from now on, and people mend what only they can. */
  end(): void {
    const { plans, routers, gateways, schedule, trace } = this.#world
    trace.note('the storm is over')
    this.#isOver = true
    for (const end of [...this.#active]) end()
    for (const gateway of gateways) gateway.start()
    for (const router of routers) router.start()
    for (const plan of plans) {
      schedule.after(this.#chance.whole(1_000, MINUTE_MS), () =>
        this.#world.spawn(() => restore(this.#world, plan)),
      )
    }
  }

  #strike(): void {
    const { schedule, weather, trace } = this.#world
    const name = this.#chance.pick(this.#scenario.faults)
    const trouble = FAULTS[name]?.(this.#world, this.#chance) ?? null
    if (trouble === null) return
    trace.note(`fault ${name}: ${trouble.scopes.join(', ')} for ${trouble.forMs} ms`)
    for (const scope of trouble.scopes) weather.begin(scope)
    const end = (): void => {
      if (!this.#active.delete(end)) return
      trace.note(`fault ${name} ends: ${trouble.scopes.join(', ')}`)
      trouble.end()
      for (const scope of trouble.scopes) weather.end(scope)
    }
    this.#active.add(end)
    if (trouble.forMs === 0) end()
    else schedule.after(trouble.forMs, end)
  }
}

/** A person comes back until it is done: a command may lose a race against a refresh. */
async function restore(world: World, plan: Plan): Promise<void> {
  for (let visits = 0; visits < 3; visits += 1) {
    await mend(world, plan)
    await new Promise<void>(resolve => void world.schedule.after(MINUTE_MS, resolve))
  }
}

/** A provider that is gone is added, one that waits for a person gets what it needs. */
async function mend(world: World, plan: Plan): Promise<void> {
  const { ledger, operator } = world
  const standing = ledger.named(plan.workspace, plan.name)
  if (standing === undefined) {
    await operator.add(plan)
    return
  }
  const { credential, record } = standing
  const isGood = [...record.material.values()].some(one => plan.account.takes(one.reveal()))
  if (credential?.dueAtMs === null || !isGood) await repair(world, plan)
}

/** Whichever gateway is asked knows of the routers that are there, and of no others. */
async function checkRoster({ operator, routers, ledger }: World, workspace: string): Promise<void> {
  const known = await operator.routersOf(workspace)
  const there = routers.filter(one => one.isRunning && one.workspace === workspace).length
  if (known === null || known === there) return
  const what = `the gateway counts ${known} routers in ${workspace}, there are ${there}`
  ledger.violate('what waits is bounded', what)
}

/** In peace every provider has a token, and every agent gets its answer. */
async function checkEnd(world: World, isFine: () => boolean): Promise<void> {
  const { ledger, stampingMachine, routers, schedule } = world
  for (const { workspace, name } of world.plans) {
    const token = ledger.named(workspace, name)?.credential?.token ?? null
    if (token !== null && token.expiresAtMs > stampingMachine.nowMs()) continue
    ledger.violate('the gateway recovers', `"${name}" has no good token at the end`)
  }
  for (const workspace of world.workspaces) world.spawn(() => checkRoster(world, workspace))
  for (const router of routers) {
    if (router.bundle?.routes.every(route => route.name !== 'inference.local')) continue
    world.spawn(async () => {
      const asked = await router.ask()
      if (asked?.status === 200 || isLiedTo(ledger, router)) return
      const { name } = router.machine
      ledger.violate(
        'routers converge',
        `${name} answers ${asked?.status} ${asked?.code} at the end`,
      )
    })
  }
  await schedule.runUntil(schedule.nowMs + MINUTE_MS, isFine)
}

/** A vendor that says that tokens live longer than they do is asked again no sooner than it may be. */
function isLiedTo(ledger: Ledger, { bundle }: RouterHost): boolean {
  return (bundle?.routes ?? []).some(route => {
    const token = ledger.tokenOf(route.credential.reveal())
    return token !== undefined && token.endMs < token.statedEndMs
  })
}

/** A failed simulation in words: what did not hold, what led there, and how to see it again. */
export function describeFailure({ seed, replicas, violation, last }: Report): string {
  if (violation === null) throw new TypeError('Nothing failed')
  return [
    ...last,
    '',
    `Seed ${seed} breaks "${violation.invariant}" after ${violation.atMs} ms:`,
    `  ${violation.what}`,
    `Replay it with: npm run sim -- --seed ${seed} --replicas ${replicas} --trace`,
  ].join('\n')
}
