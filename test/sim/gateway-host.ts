import { rmSync } from 'node:fs'
import { AppError } from '../../src/core/errors.ts'
import { createAudit } from '../../src/gateway/audit.ts'
import { composeGateway } from '../../src/gateway/compose.ts'
import { openStore } from '../../src/store/open.ts'
import type { Store } from '../../src/store/store.ts'
import type { Clock } from '../../src/system/clock.ts'
import type { Log } from '../../src/system/log.ts'
import type { Chance } from './chance.ts'
import type { DatabaseHost } from './database-host.ts'
import type { Ledger } from './ledger.ts'
import { type Life, type Machine, never } from './machine.ts'
import { noFiles, noPrograms, noVitals, pretendIdentity, watchfulLog } from './outside.ts'
import { openRemoteStore } from './remote-store.ts'
import { RpcTable } from './rpc-table.ts'
import { turn } from './schedule.ts'
import { guardStore, observedStore } from './store-guard.ts'
import { type TokenCallDeps, tokenCalls } from './token-call.ts'

/** How soon a gateway that could not start is started again. */
const RESTART_MS = 1_000

/** More calls to the store in one instant than all that could be due at once. */
const CALLS_MAX = 5_000

/** A question to the database that hangs is given up, and what it was for is tried again. */
const HANGING_MS = 15_000

/** A clock that was wrong for a reason is put right by then. */
const CLOCK_MS = 60_000

/** How the gateway's disk fares. */
export type DiskMood =
  | 'well'
  /** Reads work, writes do not. */
  | 'full'
  /** Nothing works. */
  | 'away'

/** What a process works with: its store, and the clock by which it judges. */
interface Opened {
  readonly store: Store
  readonly clock: Clock
  /** Asks for the time that is shared, until the signal aborts. */
  readonly keepTime: (log: Log, signal: AbortSignal) => Promise<void>
}

/** A gateway's process. */
export interface GatewayProcess {
  readonly life: Life
  readonly table: RpcTable
  /** Tells when it dies or stops; the answer ends that. */
  onDeath(tell: () => void): () => void
  /** Stops as it does on SIGTERM. */
  stop(): void
}

/** What a gateway's machine is made of. */
export interface GatewayHostDeps extends Omit<TokenCallDeps, 'onAnswer'> {
  readonly machine: Machine
  readonly chance: Chance
  readonly ledger: Ledger
  /** The database's file, where it has one of its own. */
  readonly file: string
  /** The database that it shares with others; null where it has one of its own. */
  readonly database: DatabaseHost | null
  readonly masterKey: Uint8Array
  /** Hosts that the operator allows. */
  readonly allowList: readonly string[]
  /** Those that there are from the beginning. */
  readonly workspaces: readonly string[]
}

/**
 * The gateway's machine: a database that outlives every process, and processes that die at any
 * point. Whatever a process does outside itself passes through here, and every such step is a place
 * where it may be killed.
 */
export class GatewayHost {
  readonly machine: Machine
  readonly #deps: GatewayHostDeps
  #listening: GatewayProcess | null = null
  #stopping: GatewayProcess | null = null
  #callsNow = 0
  #callsAtMs = 0
  #stepsToDeath = 0
  #isStarting = false
  #isObserving = false
  /** So many statements from now, one fails. */
  statementsToFailure = 0
  #disk: DiskMood = 'well'
  /** When its disk was last in trouble, in true time; now, while it is. */
  #diskTroubleAtMs = Number.NEGATIVE_INFINITY
  /** When a process began or ended, or the disk was in trouble, in true time. */
  disturbedAtMs = 0
  #starts = 0

  constructor(deps: GatewayHostDeps) {
    this.#deps = deps
    this.machine = deps.machine
  }

  /** The process that takes calls now; null when none does. */
  get listening(): GatewayProcess | null {
    return this.#listening
  }

  /** What its process is called in the store; at a server each start has a name of its own. */
  get name(): string {
    const { name } = this.machine
    return this.#deps.database === null ? name : `${name}-${this.#starts}`
  }

  get disk(): DiskMood {
    return this.#disk
  }

  set disk(mood: DiskMood) {
    this.#note(`disk ${mood}`)
    this.#diskTroubleAtMs = this.machine.schedule.nowMs
    this.#disk = mood
  }

  /** When its disk, or its way to the database, was last in trouble, in true time. */
  get storeTroubleAtMs(): number {
    const { database } = this.#deps
    const { machine } = this
    if (database !== null) {
      const troubleAtMs = Math.max(database.troubleAtMs(machine), this.#deps.network.troubleAtMs)
      // What hangs is given up after a while, and then tried again.
      return Math.max(troubleAtMs + HANGING_MS, machine.disturbedAtMs)
    }
    return this.#disk === 'well' ? this.#diskTroubleAtMs : this.machine.schedule.nowMs
  }

  /** What the clock shows by which its process judges tokens. */
  nowMs(): number {
    return this.#listening?.life.judgesBy.nowMs() ?? this.machine.nowMs()
  }

  get isDoomed(): boolean {
    return this.#stepsToDeath > 0
  }

  /** Kills the process at one of its next steps: a store call, a statement, a request, an answer. */
  killAfter(steps: number): void {
    this.#stepsToDeath = steps
  }

  kill(): void {
    this.#stepsToDeath = 0
    if (this.#listening === null) return
    this.#note('killed')
    this.#listening.life.kill()
    this.#listening = null
    for (const { underWay } of this.#deps.ledger.allDealings)
      for (const asking of underWay) if (!asking.life.isAlive) underWay.delete(asking)
  }

  /** The process finishes what is under way, and takes no more calls. */
  stop(): void {
    this.machine.receive(() => {
      if (this.#listening === null) return
      this.#note('stops')
      this.#stopping = this.#listening
      this.#listening = null
      this.#stopping.stop()
    })
  }

  /** Starts a process, after the one before it has ended. */
  start(): void {
    this.machine.receive(() => {
      if (this.#listening !== null || this.#isStarting) return
      if (this.#stopping?.life.isAlive) this.#stopping.onDeath(() => this.#start())
      else this.#start()
    })
  }

  #start(): void {
    if (this.#isStarting) return
    const { machine, ledger } = this.#deps
    const life = machine.boot()
    this.#isStarting = true
    this.#starts += 1
    this.#note('starts')
    const started = this.#open(life).then(opened => {
      life.judgesBy = opened.clock
      life.troubleAtMs = () => Math.max(this.storeTroubleAtMs, this.machine.disturbedAtMs)
      return life.while(this.#compose(life, opened))
    })
    started
      .then(
        process => {
          this.#listening = process
        },
        (error: unknown) => {
          // Whoever supervises it tries again.
          life.kill()
          ledger.trace.note(`${machine.name} does not start: ${error}`)
          machine.schedule.after(RESTART_MS, () => this.start())
        },
      )
      .finally(() => {
        this.#isStarting = false
      })
  }

  async #open(life: Life): Promise<Opened> {
    const { database, chance, ledger, workspaces, masterKey } = this.#deps
    if (database === null) return this.#openFile(life)
    const { name } = this
    const step = (): boolean => {
      this.#step()
      return life.isAlive && !this.#isSpinning()
    }
    const onWrongClock = (): void => this.#checkClock()
    const deps = { database, random: chance, masterKey, ledger, name, step, onWrongClock }
    const { store, clock } = await this.#atOnce(openRemoteStore(deps, life))
    // As a gateway at a server does it: it does not begin before it knows what time it is.
    await clock.sample()
    await makeWorkspaces(store, workspaces)
    return { store, clock, keepTime: clock.run }
  }

  async #openFile(life: Life): Promise<Opened> {
    const { chance, file, workspaces, masterKey } = this.#deps
    const clock = this.#storeClock(life)
    const opening = openStore({ clock, random: chance, masterKey }, `sqlite:${file}`)
    const store = await this.#atOnce(opening)
    await makeWorkspaces(store, workspaces)
    clock.isOpen = true
    life.onDeath(() => void closeQuietly(store))
    return { store: this.#guard(life, store), clock: life, keepTime: async () => {} }
  }

  /** No time passes while it is done. */
  #atOnce<T>(work: Promise<T>): Promise<T> {
    this.machine.schedule.stall(work)
    return work
  }

  async #compose(life: Life, { store, clock, keepTime }: Opened): Promise<GatewayProcess> {
    const { chance, ledger, allowList } = this.#deps
    const stopping = new AbortController()
    const identity = pretendIdentity(ledger)
    const log = watchfulLog(ledger)
    const audit = createAudit(log)
    const fetch = tokenCalls({ ...this.#deps, onAnswer: () => this.#step() }, life)
    const gateway = await composeGateway(
      {
        ...{ clock, random: chance, files: noFiles, execute: noPrograms, vitals: noVitals },
        tracer: null,
        ...{ fetch, store, identity, log, audit, stopping: stopping.signal },
      },
      {
        rules: { allowList, subjectTokenDirs: [], mayExecute: false },
        gatewayId: this.name,
        sweepMs: 600_000,
        version: 'sim',
      },
    )
    const table = new RpcTable()
    for (const rpc of gateway.rpcs) rpc(table, { store, identity, log, audit })
    void keepTime(log, stopping.signal)
    gateway.run().then(
      () => life.kill(),
      (error: unknown) => ledger.violate('nothing breaks inside', `the gateway ended: ${error}`),
    )
    return {
      ...{ life, table },
      onDeath: tell => life.onDeath(tell),
      stop: () => stopping.abort(),
    }
  }

  /** Removes the database. */
  remove(): void {
    for (const end of ['', '-wal', '-shm']) rmSync(`${this.#deps.file}${end}`, { force: true })
  }

  #note(what: string): void {
    this.disturbedAtMs = this.machine.schedule.nowMs
    this.#deps.ledger.trace.note(`${this.machine.name} ${what}`)
  }

  /**
   * While the database is away a gateway goes by its machine's wall clock if that is later, and until it
   * has asked again it may claim too much. Otherwise its clock has no reason to be wrong.
   */
  #checkClock(): void {
    const { ledger } = this.#deps
    const { schedule, name } = this.machine
    ledger.trace.note(`${name} goes by a clock that is wrong`)
    ledger.renewedAtMs = schedule.nowMs
    if (schedule.nowMs - this.storeTroubleAtMs <= CLOCK_MS) return
    ledger.violate('each mint has a reason', `${name} goes by a wrong clock, without any trouble`)
  }

  #step(): void {
    if (this.#stepsToDeath === 0) return
    this.#stepsToDeath -= 1
    if (this.#stepsToDeath === 0) this.kill()
  }

  /** The store reads the clock before each statement, so that is where its disk fails. */
  #storeClock(life: Life): Clock & { isOpen: boolean } {
    const clock = {
      // While a store is opened no time passes.
      isOpen: false,
      nowMs: () => life.nowMs(),
      monotonicMs: () => {
        if (!this.#isObserving) this.#beforeStatement(life)
        return life.monotonicMs()
      },
      sleep: (ms: number, signal: AbortSignal) => (clock.isOpen ? life.sleep(ms, signal) : turn()),
    }
    return clock
  }

  #beforeStatement(life: Life): void {
    this.#step()
    if (!life.isAlive) throw new Error('The process is dead')
    if (this.statementsToFailure === 0) return
    this.statementsToFailure -= 1
    if (this.statementsToFailure > 0) return
    this.#note('fails to write one page')
    this.#diskTroubleAtMs = this.machine.schedule.nowMs
    throw new Error('disk I/O error')
  }

  /** Whoever asks the store without end in one instant starves everything else. */
  #isSpinning(): boolean {
    const { nowMs } = this.machine.schedule
    this.#callsNow = nowMs === this.#callsAtMs ? this.#callsNow + 1 : 1
    this.#callsAtMs = nowMs
    if (this.#callsNow <= CALLS_MAX) return false
    this.#deps.ledger.violate('nothing spins', `${CALLS_MAX} calls to the store in one millisecond`)
    return true
  }

  #guard(life: Life, store: Store): Store {
    const quietly = async (work: () => Promise<void>): Promise<void> => {
      this.#isObserving = true
      await work()
      this.#isObserving = false
    }
    const observed = observedStore(this.#deps.ledger, store, { by: this.name, quietly })
    return guardStore(observed, async ({ isWrite, work }) => {
      this.#step()
      if (!life.isAlive || this.#isSpinning()) return never()
      if (this.#disk === 'away' || (this.#disk === 'full' && isWrite)) {
        throw new AppError('store_unavailable', `Cannot use the database: disk ${this.#disk}`)
      }
      const value = await life.while(work())
      this.#step()
      return life.isAlive ? value : never()
    })
  }
}

async function closeQuietly(store: Store): Promise<void> {
  // A process that was killed in a transaction leaves it to the database to undo that.
  await store.close().catch(() => {})
}

/** An administrator made them before anything else. */
async function makeWorkspaces(store: Store, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const workspace = { id: name, name, labels: new Map(), createdAtMs: 0, version: 1 }
    if ((await store.getWorkspace(name)) !== null) continue
    await store.createWorkspace(workspace).catch((error: unknown) => {
      // Of several gateways that start, another was faster.
      if (!(error instanceof AppError && error.code === 'already_exists')) throw error
    })
  }
}
