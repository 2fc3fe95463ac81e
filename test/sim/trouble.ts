import type { Chance } from './chance.ts'
import type { Machine } from './machine.ts'
import type { World } from './world.ts'

/** Trouble that has begun: where, for how long, and how it ends. */
export interface Trouble {
  readonly scopes: readonly string[]
  readonly forMs: number
  readonly end: () => void
}

/** Something that goes wrong, or that a person does; null when there is nothing to do it to. */
export type Fault = (world: World, chance: Chance) => Trouble | null

const MINUTE_MS = 60_000

/** Trouble that is over as soon as it has begun. */
export function brief(scope: string): Trouble {
  return { scopes: [scope], forMs: 0, end: () => {} }
}

/** Cuts the wire between two machines; null when it is cut. */
export function cutWire(
  world: World,
  chance: Chance,
  {
    between: [one, other],
    scope,
  }: {
    readonly between: readonly [Machine, Machine]
    readonly scope: string
  },
): Trouble | null {
  if (world.network.cutOf(one, other) !== null) return null
  const cut = chance.pick(['refused', 'silent'] as const)
  world.trace.note(`wire to ${scope} is ${cut}`)
  world.network.cut(one, other, cut)
  const end = () => world.network.mend(one, other)
  return { scopes: [scope], forMs: chance.spanMs(10, 10 * MINUTE_MS), end }
}

/** Suspends a machine; null when it is. */
export function suspended(machine: Machine, chance: Chance): Trouble | null {
  if (machine.isSuspended) return null
  machine.suspend()
  const forMs = chance.spanMs(100, 60 * MINUTE_MS)
  return { scopes: [machine.name], forMs, end: () => machine.resume() }
}

/** Sets a machine's wall clock, and lets it drift from now on. */
export function clockSet(machine: Machine, chance: Chance): Trouble {
  const ms = chance.spanMs(100, 120 * MINUTE_MS)
  machine.step(chance.happens(0.5) ? ms : -ms)
  machine.drift(1 + (chance.fraction() - 0.5) / 2_500)
  return brief(machine.name)
}
