import { DatabaseSync } from 'node:sqlite'
import type { CompiledQuery } from 'kysely'
import { AppError } from '../../src/core/errors.ts'
import type { Listening } from '../../src/store/database.ts'
import type { Chance } from './chance.ts'
import type { Life, Machine } from './machine.ts'
import { Lane, type Network } from './network.ts'

/** How a database fares. */
export type DatabaseMood =
  | 'well'
  /** Reads work, writes do not. */
  | 'full'
  /** Nothing works. */
  | 'away'

/** The driver gives up a statement that is not answered. */
const QUERY_MS = 12_000

/** The same on the connection that listens. */
const LISTENING_MS = 2_000

/** What was on its way when a process died may still be done. */
const LINGER_MS = 30_000

/** A question to the database. */
export interface Question<T> {
  readonly work: () => Promise<T>
  readonly isWrite: boolean
  /** The id of what it is about; '' when that is nothing that has one. */
  readonly about: string
  /** What the connection is called that asks. */
  readonly by: string
  readonly timeoutMs?: number
}

interface Subscriber {
  readonly life: Life
  readonly lost: AbortController
  readonly tell: (text: string) => void
}

/** What a database's machine is made of. */
export interface DatabaseHostDeps {
  readonly machine: Machine
  readonly network: Network
  readonly chance: Chance
  readonly file: string
  readonly note: (what: string) => void
}

/**
 * A database server that several gateways share. Questions reach it over the network and are worked
 * off one after the other, as if each were a serialisable transaction; whether an answer comes back
 * says nothing of whether it was committed. It tells those that listen of what was changed, mostly.
 */
export class DatabaseHost {
  readonly machine: Machine
  readonly file: string
  readonly #deps: DatabaseHostDeps
  readonly #subscribers = new Set<Subscriber>()
  /** Machines whose questions arrive, and to which no answer comes. */
  readonly #unanswered = new Set<Machine>()
  /** Machines to which the way takes up to so much longer. */
  readonly #lateMs = new Map<Machine, number>()
  readonly #counters = new Map<string, number>()
  readonly #connections = new Set<() => Promise<void>>()
  #reader: DatabaseSync | null = null
  #line: Promise<unknown> = Promise.resolve()
  #mood: DatabaseMood = 'well'
  #troubleAtMs = Number.NEGATIVE_INFINITY
  /** How likely a notification is lost. */
  deafness = 0

  constructor(deps: DatabaseHostDeps) {
    this.#deps = deps
    this.machine = deps.machine
    this.file = deps.file
    deps.network.onCut((one, other, cut) => {
      if (cut !== 'refused' || ![one, other].includes(this.machine)) return
      this.#disconnect(one === this.machine ? other : one)
    })
  }

  get mood(): DatabaseMood {
    return this.#mood
  }

  set mood(mood: DatabaseMood) {
    this.#deps.note(`database ${mood}`)
    this.#touch()
    this.#mood = mood
    if (mood === 'away') this.#disconnect(null)
  }

  /** When it was last in trouble for the machine, in true time; now, while it is. */
  troubleAtMs(machine: Machine): number {
    return this.isWellFor(machine) ? this.#troubleAtMs : this.machine.schedule.nowMs
  }

  /** Whether a machine's questions are answered, and in time. */
  isWellFor(machine: Machine): boolean {
    const isSilent = this.#unanswered.has(machine) || this.#lateMs.has(machine)
    const isCut = this.#deps.network.cutOf(machine, this.machine) !== null
    return this.#mood === 'well' && !isSilent && !isCut && !this.machine.isSuspended
  }

  /** Nothing is answered, as by a server that was stopped; what came meanwhile is done afterwards. */
  suspend(): void {
    this.machine.suspend()
  }

  resume(): void {
    this.#touch()
    this.machine.resume()
  }

  /** Makes the wire half open, or slow by up to so much; the answer mends it. */
  spoilWire(machine: Machine, how: { readonly lateMs: number } | 'unanswered'): () => void {
    if (how === 'unanswered') this.#unanswered.add(machine)
    else this.#lateMs.set(machine, how.lateMs)
    return () => {
      this.#touch()
      this.#unanswered.delete(machine)
      this.#lateMs.delete(machine)
    }
  }

  /** A wire that was cut is whole again. */
  mended(): void {
    this.#touch()
  }

  /** Does work as the database does it: one thing after the other. */
  run<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#line.then(work)
    this.#line = done.catch(() => {})
    return done
  }

  /** Asks over the network. Rejects with `store_unavailable` when no answer comes. */
  ask<T>(life: Life, question: Question<T>): Promise<T> {
    const { network } = this.#deps
    const { schedule } = this.machine
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    let isOver = false
    const settle = (end: () => void): void => {
      if (isOver) return
      isOver = true
      schedule.cancel(timer)
      if (life.isAlive) end()
    }
    const fail = (why: string): void => settle(() => reject(unavailable(why)))
    const timer = schedule.after(question.timeoutMs ?? QUERY_MS, () =>
      life.machine.receive(() => fail('no answer')),
    )
    const back = (deliver: () => void): void => {
      if (this.#unanswered.has(life.machine)) return
      this.#later(life.machine, () => network.send(this.machine, life.machine, deliver))
    }
    const arrive = (): void => {
      const refusal = this.#refusalOf(question)
      if (refusal !== null) {
        back(() => fail(refusal))
        return
      }
      void this.#answer(question).then(
        value => back(() => settle(() => resolve(value))),
        (error: unknown) => back(() => settle(() => reject(error))),
      )
    }
    this.#later(life.machine, () => {
      if (network.send(life.machine, this.machine, arrive) !== 'refused') return
      schedule.after(1, () => life.machine.receive(() => fail('connection refused')))
    })
    return promise
  }

  /** Listens for changes on a connection of its own. `query` runs what is asked over it. */
  async listen(
    life: Life,
    { by, onNotice, query }: Pick<Question<unknown>, 'by'> & ListenerParts,
  ): Promise<Listening> {
    const { network } = this.#deps
    const lane = new Lane(network, this.machine.schedule, life.machine)
    const subscriber: Subscriber = {
      life,
      lost: new AbortController(),
      tell: text => lane.send(() => life.isAlive && onNotice(text)),
    }
    const rest = { isWrite: false, about: '', by, timeoutMs: LISTENING_MS }
    await this.ask(life, { ...rest, work: async () => void this.#subscribers.add(subscriber) })
    const forget = life.onDeath(() => this.#subscribers.delete(subscriber))
    return {
      lost: subscriber.lost.signal,
      query: asked => this.ask(life, { ...rest, work: () => query(asked) }),
      close: () => {
        forget()
        subscriber.lost.abort()
        this.#subscribers.delete(subscriber)
      },
    }
  }

  /** A process's connection; it is closed some time after the process has ended. */
  connected(life: Life, close: () => Promise<void>): void {
    this.#connections.add(close)
    life.onDeath(() =>
      this.machine.schedule.after(LINGER_MS, () => {
        if (this.#connections.delete(close)) void this.run(close)
      }),
    )
  }

  /** Ends all connections; resolves when the file may be removed. */
  async close(): Promise<void> {
    for (const close of this.#connections) await this.run(close)
    this.#connections.clear()
    this.#reader?.close()
  }

  #refusalOf({ isWrite }: Pick<Question<unknown>, 'isWrite'>): string | null {
    if (this.#mood === 'away') return 'connection refused'
    return this.#mood === 'full' && isWrite ? 'disk full' : null
  }

  async #answer<T>({ work, isWrite, about, by }: Question<T>): Promise<T> {
    return this.run(async () => {
      try {
        return await work()
      } finally {
        if (isWrite) this.#tell(`${about} ${by}`)
      }
    })
  }

  /** Counts are raised by the schema's own triggers; a server's would notify as well. */
  #tell(rest: string): void {
    this.#reader ??= new DatabaseSync(this.file, { readOnly: true })
    const rows = this.#reader.prepare('select workspace, kind, counter from changes').all()
    for (const { workspace, kind, counter } of rows) {
      const place = `${kind} ${workspace}`
      if (this.#counters.get(place) === counter) continue
      this.#counters.set(place, Number(counter))
      for (const subscriber of this.#subscribers) {
        const { machine } = subscriber.life
        const isHeard = this.#deps.network.cutOf(machine, this.machine) === null
        if (!isHeard || this.#unanswered.has(machine)) continue
        if (this.#deps.chance.happens(this.deafness)) continue
        this.#later(machine, () => subscriber.tell(`${place} ${counter} ${rest}`))
      }
    }
  }

  #later(machine: Machine, go: () => void): void {
    const lateMs = this.#lateMs.get(machine) ?? 0
    if (lateMs === 0) go()
    else this.machine.schedule.after(this.#deps.chance.whole(0, lateMs), go)
  }

  /** Whoever listens from a machine, or from any, learns that the connection is gone. */
  #disconnect(machine: Machine | null): void {
    for (const subscriber of [...this.#subscribers]) {
      if (machine !== null && subscriber.life.machine !== machine) continue
      this.#subscribers.delete(subscriber)
      this.machine.schedule.after(1, () =>
        subscriber.life.machine.receive(() => subscriber.lost.abort()),
      )
    }
  }

  #touch(): void {
    this.#troubleAtMs = this.machine.schedule.nowMs
  }
}

interface ListenerParts {
  readonly onNotice: (text: string) => void
  readonly query: <R>(asked: CompiledQuery<R>) => Promise<readonly R[]>
}

/** The database cannot be reached. */
export function unavailable(why: string): AppError {
  return new AppError('store_unavailable', `Cannot use the database: ${why}`)
}
