import { cutWire, type Fault } from './trouble.ts'

const MINUTE_MS = 60_000

/** What goes wrong between gateways and a database that they share. */
export const DATABASE_FAULTS: Readonly<Record<string, Fault>> = {
  /** One gateway's wire is cut; or answers do not come back; or all takes long. */
  databaseWire(world, chance) {
    const { database, network, trace } = world
    if (database === null) return null
    const { machine } = chance.pick(world.gateways)
    if (network.cutOf(machine, database.machine) !== null || !database.isWellFor(machine))
      return null
    const kind = chance.pick(['cut', 'unanswered', 'late'] as const)
    if (kind === 'cut') {
      const between = [machine, database.machine] as const
      const trouble = cutWire(world, chance, { between, scope: machine.name })
      if (trouble === null) return null
      const end = (): void => {
        trouble.end()
        database.mended()
      }
      return { ...trouble, end }
    }
    trace.note(`wire of ${machine.name} to the database is ${kind}`)
    const how = kind === 'late' ? { lateMs: chance.spanMs(200, 15_000) } : kind
    const end = database.spoilWire(machine, how)
    return { scopes: [machine.name], forMs: chance.spanMs(100, 10 * MINUTE_MS), end }
  },
  databaseAway({ database }, chance) {
    if (database === null || database.mood !== 'well') return null
    database.mood = chance.pick(['full', 'away', 'away'])
    const end = () => {
      database.mood = 'well'
    }
    return { scopes: ['database'], forMs: chance.spanMs(100, 10 * MINUTE_MS), end }
  },
  databaseSuspended({ database }, chance) {
    if (database === null || database.machine.isSuspended) return null
    database.suspend()
    const end = () => database.resume()
    return { scopes: ['database'], forMs: chance.spanMs(100, 5 * MINUTE_MS), end }
  },
  /** Changes are told by the counters alone, which costs a second: no trouble for anybody. */
  databaseLosesNotification({ database }, chance) {
    if (database === null || database.deafness > 0) return null
    database.deafness = chance.pick([0.5, 1])
    const end = () => {
      database.deafness = 0
    }
    return { scopes: ['nobody'], forMs: chance.spanMs(1_000, 20 * MINUTE_MS), end }
  },
}
