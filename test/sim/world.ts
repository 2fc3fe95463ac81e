import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Chance } from './chance.ts'
import { DatabaseHost } from './database-host.ts'
import { GatewayHost } from './gateway-host.ts'
import { Ledger } from './ledger.ts'
import { Machine } from './machine.ts'
import { Network } from './network.ts'
import { Operator, Plan } from './operator.ts'
import { RouterHost } from './router-host.ts'
import { Schedule } from './schedule.ts'
import { Trace } from './trace.ts'
import { Vendor } from './vendor.ts'
import { Account, type AccountKind } from './vendor-account.ts'
import { Weather } from './weather.ts'

/** How a world is made. */
export interface WorldShape {
  readonly providers: number
  readonly routers: number
  /** So many gateways share a database server; 0 for one gateway with a file of its own. */
  readonly replicas: number
  /** Lives of tokens to choose from. */
  readonly livesMs: readonly number[]
  readonly pollIntervalMs: number
  /** An agent asks this often, on the average; 0 for never. */
  readonly requestEveryMs: number
  /** Vendors state the life of a token in all forms, true or not. */
  readonly areVendorsOdd: boolean
}

const VENDORS: readonly (readonly [host: string, kind: AccountKind])[] = [
  ['clients.sim', 'client'],
  ['caches.sim', 'cached'],
  ['families.sim', 'family'],
  ['keys.sim', 'key'],
]

/** Memory, where there is such a disk: the database is made anew for each simulation. */
const FOLDER = existsSync('/dev/shm') ? '/dev/shm' : tmpdir()

/** How far the clocks of machines that share a database are off, at the beginning. */
const CLOCK_MS = 10 * 60_000

/** How often people look whether the gateways have started. */
const START_MS = 100

let worlds = 0

/** Everything there is in one simulation. */
export class World {
  readonly shape: WorldShape
  readonly chance: Chance
  readonly schedule = new Schedule()
  readonly trace: Trace
  readonly ledger: Ledger
  readonly weather: Weather
  readonly network: Network
  readonly gateways: readonly GatewayHost[]
  /** The database that the gateways share; null where there is one gateway with a file. */
  readonly database: DatabaseHost | null
  readonly operator: Operator
  readonly vendors: ReadonlyMap<string, Vendor>
  readonly plans: Plan[] = []
  readonly routers: RouterHost[] = []
  readonly #api: Machine
  /** Hosts that the gateway may send anything to; it grows with the accounts. */
  readonly #allowList: string[]
  #accounts = 0
  #sandboxes = 0
  /** How many answers the agents got, by status. */
  readonly answers = new Map<number, number>()

  constructor(seed: number, shape: WorldShape, onLine: ((line: string) => void) | null) {
    this.shape = shape
    this.chance = new Chance(seed)
    const { schedule } = this
    const nowMs = () => schedule.nowMs
    this.trace = new Trace(nowMs, onLine)
    this.ledger = new Ledger(this.trace, nowMs)
    this.weather = new Weather(nowMs)
    this.network = new Network(schedule, this.chance.fork())
    this.#api = new Machine(schedule, 'api')
    this.vendors = new Map(
      VENDORS.map(([host]) => [host, new Vendor(new Machine(schedule, host), this.chance.fork())]),
    )
    for (const vendor of this.vendors.values()) vendor.isOdd = shape.areVendorsOdd
    this.#allowList = [...this.vendors.keys()]
    worlds += 1
    const file = path.join(FOLDER, `openshell-sim-${process.pid}-${worlds}.db`)
    this.database = shape.replicas === 0 ? null : this.#makeDatabase(file)
    const masterKey = this.chance.bytes(32)
    this.gateways = this.#makeMachines().map(
      machine =>
        new GatewayHost({
          machine,
          ...{ chance: this.chance.fork(), network: this.network, ledger: this.ledger },
          ...{ vendors: this.vendors, file, database: this.database, masterKey },
          allowList: this.#allowList,
          workspaces: this.workspaces,
        }),
    )
    const life = new Machine(schedule, 'operator').boot()
    const { network, gateways } = this
    const chance = this.chance.fork()
    const caller = () => ({ life, network, gateway: chance.pick(gateways), token: 'admin' })
    this.operator = new Operator(caller, this.ledger)
  }

  /** What the clock shows by which tokens are stamped. */
  get stampingMachine(): Machine {
    const machine = this.database?.machine ?? this.gateways[0]?.machine
    if (machine === undefined) throw new TypeError('A world without a gateway')
    return machine
  }

  #makeDatabase(file: string): DatabaseHost {
    const { schedule, chance, network } = this
    const note = (what: string): void => this.trace.note(what)
    const machine = new Machine(schedule, 'database', chance.whole(-CLOCK_MS, CLOCK_MS))
    return new DatabaseHost({ machine, network, chance: chance.fork(), file, note })
  }

  /** Machines that share a database may disagree about the time by minutes. */
  #makeMachines(): readonly Machine[] {
    const { schedule, chance, shape } = this
    if (shape.replicas === 0) return [new Machine(schedule, 'gateway')]
    return Array.from({ length: shape.replicas }, (_, index) => {
      const offsetMs = chance.whole(-CLOCK_MS, CLOCK_MS)
      return new Machine(schedule, `gateway${index + 1}`, offsetMs)
    })
  }

  get workspaces(): readonly string[] {
    const count = Math.max(1, Math.ceil(this.shape.providers / 2))
    return Array.from({ length: count }, (_, index) => `w${index}`)
  }

  /** Starts the gateway, then adds the providers and routes and starts the routers. */
  begin(): void {
    for (const gateway of this.gateways) gateway.start()
    const kinds = VENDORS.map(([, kind]) => kind)
    for (let index = 0; index < this.shape.providers; index += 1) {
      const workspace = this.workspaces[Math.floor(index / 2)] ?? 'w0'
      const account = this.openAccount(this.chance.pick(kinds))
      this.plans.push(new Plan({ workspace, name: `p${index}` }, account, this.ledger))
    }
    this.spawn(async () => {
      while (this.gateways.some(({ listening }) => listening === null)) await this.#pause()
      for (const plan of this.plans) await this.operator.add(plan)
      for (const [index, plan] of this.plans.entries())
        await this.operator.route(plan, index % 2 === 0 ? 'inference.local' : 'sandbox-system')
      for (let index = 0; index < this.shape.routers; index += 1) await this.addRouter()
    })
  }

  openAccount(kind: AccountKind): Account {
    const { chance, shape } = this
    const host = VENDORS.find(one => one[1] === kind)?.[0] ?? ''
    this.#accounts += 1
    const graceMs = chance.pick([0, 0, 60_000])
    const lifeMs = chance.pick(shape.livesMs)
    const account = new Account({ id: this.#accounts, kind, host, lifeMs, graceMs })
    this.vendors.get(host)?.open(account)
    this.ledger.opened(account)
    this.#allowList.push(account.apiHost)
    return account
  }

  /** A new sandbox with its router. */
  async addRouter(): Promise<void> {
    const { chance, schedule, network, ledger, gateways } = this
    const { pollIntervalMs } = this.shape
    this.#sandboxes += 1
    const name = `router${this.#sandboxes}`
    const workspace = this.workspaces[this.#sandboxes % this.workspaces.length] ?? 'w0'
    const sandboxId = await this.operator.sandbox(workspace, name)
    if (sandboxId === null) return
    const router = new RouterHost(
      { machine: new Machine(schedule, name), workspace, sandboxId },
      { network, ledger, gateways, machine: this.#api, chance: chance.fork(), pollIntervalMs },
    )
    this.routers.push(router)
    router.start()
    this.#askNow(router)
  }

  /** Takes a router away, and its sandbox. */
  async removeRouter(router: RouterHost): Promise<void> {
    this.routers.splice(this.routers.indexOf(router), 1)
    router.stop('stop')
    await this.operator.removeSandbox(router.workspace, router.machine.name)
  }

  /** Does work that nobody waits for; what it throws is a fault of the simulation itself. */
  spawn(work: () => Promise<void>): void {
    work().catch((error: unknown) =>
      this.ledger.violate(
        'nothing breaks inside',
        `the simulation itself: ${error instanceof Error ? error.stack : error}`,
      ),
    )
  }

  async close(): Promise<void> {
    for (const router of this.routers) router.stop('kill')
    for (const gateway of this.gateways) gateway.kill()
    await this.database?.close()
    for (const gateway of this.gateways) gateway.remove()
  }

  #pause(): Promise<void> {
    return new Promise(resolve => void this.schedule.after(START_MS, resolve))
  }

  #askNow(router: RouterHost): void {
    const { requestEveryMs } = this.shape
    if (requestEveryMs === 0) return
    const spanMs = this.chance.whole(1, 2 * requestEveryMs)
    this.schedule.after(spanMs, () => {
      if (!this.routers.includes(router)) return
      if (!router.machine.isSuspended) this.spawn(() => this.#ask(router))
      this.#askNow(router)
    })
  }

  async #ask(router: RouterHost): Promise<void> {
    const asked = await router.ask()
    if (asked !== null) this.answers.set(asked.status, (this.answers.get(asked.status) ?? 0) + 1)
  }
}
