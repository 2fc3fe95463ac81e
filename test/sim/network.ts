import type { Chance } from './chance.ts'
import type { Machine } from './machine.ts'
import type { Schedule } from './schedule.ts'

/** How a wire between two machines behaves when it is not whole. */
export type Cut =
  /** What is sent comes back as refused. */
  | 'refused'
  /** What is sent is lost, and nobody is told. */
  | 'silent'

/** What becomes of what is sent. */
export type Sending = 'sent' | 'refused' | 'lost'

/** How likely what is sent fares badly. */
interface NetworkWeather {
  /** A message takes up to 3 s more. */
  readonly lateness: number
  /** A message is lost. */
  readonly loss: number
  /** A call that may come twice does. */
  readonly doubling: number
}

const FINE: NetworkWeather = { lateness: 0, loss: 0, doubling: 0 }

/** The wires between the machines: they delay, reorder, lose, double and break. */
export class Network {
  readonly #schedule: Schedule
  readonly #chance: Chance
  readonly #cuts = new Map<string, Cut>()
  readonly #onCut = new Set<(one: Machine, other: Machine, cut: Cut) => void>()
  /** The usual way takes 1 to this many milliseconds. */
  latencyMs = 20
  #weather: NetworkWeather = FINE
  #troubleAtMs = Number.NEGATIVE_INFINITY

  constructor(schedule: Schedule, chance: Chance) {
    this.#schedule = schedule
    this.#chance = chance
  }

  /** Spoils all wires; the answer mends them. */
  spoil(weather: NetworkWeather): () => void {
    this.#weather = weather
    return () => {
      this.#weather = FINE
      this.#troubleAtMs = this.#schedule.nowMs
    }
  }

  /** When all wires were last spoilt, in true time; now, while they are. */
  get troubleAtMs(): number {
    return this.#weather === FINE ? this.#troubleAtMs : this.#schedule.nowMs
  }

  /** Whether a call that may come twice comes twice. */
  isDoubled(): boolean {
    return this.#chance.happens(this.#weather.doubling)
  }

  cut(one: Machine, other: Machine, cut: Cut): void {
    this.#cuts.set(place(one, other), cut)
    for (const listener of [...this.#onCut]) listener(one, other, cut)
  }

  mend(one: Machine, other: Machine): void {
    this.#cuts.delete(place(one, other))
  }

  cutOf(one: Machine, other: Machine): Cut | null {
    return this.#cuts.get(place(one, other)) ?? null
  }

  /** Tells when a wire is cut; the answer ends that. */
  onCut(listener: (one: Machine, other: Machine, cut: Cut) => void): () => void {
    this.#onCut.add(listener)
    return () => this.#onCut.delete(listener)
  }

  /** How many wait to be told of cuts. */
  get listeners(): number {
    return this.#onCut.size
  }

  /** Sends one datagram; those sent later may arrive earlier. */
  send(from: Machine, to: Machine, deliver: () => void): Sending {
    const cut = this.cutOf(from, to)
    if (cut === 'refused') return 'refused'
    if (cut === 'silent' || this.#chance.happens(this.#weather.loss)) return 'lost'
    this.#schedule.after(this.spanMs(), () => to.receive(deliver))
    return 'sent'
  }

  /** How long the next message takes. */
  spanMs(): number {
    const usualMs = this.#chance.whole(1, this.latencyMs)
    return this.#chance.happens(this.#weather.lateness)
      ? usualMs + this.#chance.whole(1, 3_000)
      : usualMs
  }
}

/** One direction of a connection: nothing overtakes, and what waits is lost when it breaks. */
export class Lane {
  readonly #network: Network
  readonly #schedule: Schedule
  readonly #to: Machine
  #freeAtMs = 0
  #isBroken = false

  constructor(network: Network, schedule: Schedule, to: Machine) {
    this.#network = network
    this.#schedule = schedule
    this.#to = to
  }

  send(deliver: () => void): void {
    if (this.#isBroken) return
    this.#freeAtMs = Math.max(this.#freeAtMs, this.#schedule.nowMs + this.#network.spanMs())
    this.#schedule.at(this.#freeAtMs, () => {
      if (!this.#isBroken) this.#to.receive(() => !this.#isBroken && deliver())
    })
  }

  break(): void {
    this.#isBroken = true
  }
}

function place(one: Machine, other: Machine): string {
  return one.name < other.name ? `${one.name} ${other.name}` : `${other.name} ${one.name}`
}
