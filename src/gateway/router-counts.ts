import { AppError } from '../core/errors.ts'
import type { RouterCounts, Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'

/** How old what other gateways read may be. */
const TELL_MS = 1_000

/** How often a gateway says that what it told still holds. */
const CONFIRM_MS = 5_000

/** For how long what others told is not asked for again. */
const REMEMBERED_MS = 500

/** What is needed to speak with other gateways about routers. */
interface CountsDeps {
  readonly store: Store
  readonly clock: Clock
  readonly log: Log
  /** Names this gateway in the store. */
  readonly gateway: string
}

/**
 * Tells other gateways on the same database which routers this one has, by workspace and revision: one
 * small row a workspace, when it has changed. Runs until the signal aborts, and takes the rows away then.
 */
export async function tellRouterCounts(
  deps: CountsDeps,
  countsNow: () => ReadonlyMap<string, RouterCounts>,
  stopping: AbortSignal,
): Promise<void> {
  const { store, clock, log, gateway } = deps
  const told = new Map<string, string>()
  let confirmedMs = clock.monotonicMs()
  const say = async (now: ReadonlyMap<string, RouterCounts>): Promise<void> => {
    const changed = new Map<string, RouterCounts>()
    for (const workspace of new Set([...told.keys(), ...now.keys()])) {
      const counts: RouterCounts = now.get(workspace) ?? new Map()
      const text = JSON.stringify([...counts].sort())
      if (text !== (told.get(workspace) ?? '[]')) changed.set(workspace, counts)
    }
    if (changed.size > 0) await store.saveRouterCounts(gateway, changed)
    for (const [workspace, counts] of changed) {
      if (counts.size === 0) told.delete(workspace)
      else told.set(workspace, JSON.stringify([...counts].sort()))
    }
    if (told.size === 0 || clock.monotonicMs() - confirmedMs < CONFIRM_MS) return
    // Whoever was silent for long may have been forgotten: it says all of it anew.
    if ((await store.confirmRouterCounts(gateway)) < told.size) told.clear()
    confirmedMs = clock.monotonicMs()
  }
  const orLogged = (work: Promise<void>): Promise<void> =>
    work.catch((error: unknown) => {
      if (!(error instanceof AppError)) throw error
      log.debug('routers.untold', { error })
    })
  while (!stopping.aborted) {
    await orLogged(say(countsNow()))
    await clock.sleep(TELL_MS, stopping)
  }
  await orLogged(say(new Map()))
}

/** The routers of a workspace that other gateways have; none while the database is away. */
export function routersElsewhere(
  deps: CountsDeps,
): (workspace: string) => Promise<readonly RouterCounts[]> {
  const { store, clock, log, gateway } = deps
  let remembered = new Map<string, Promise<readonly RouterCounts[]>>()
  let sinceMs = Number.NEGATIVE_INFINITY
  return workspace => {
    if (clock.monotonicMs() - sinceMs >= REMEMBERED_MS) {
      remembered = new Map()
      sinceMs = clock.monotonicMs()
    }
    const known = remembered.get(workspace)
    if (known !== undefined) return known
    const asked = store.listRouterCounts({ workspace, except: gateway }).catch((error: unknown) => {
      if (!(error instanceof AppError)) throw error
      log.debug('routers.untold', { error })
      return []
    })
    remembered.set(workspace, asked)
    return asked
  }
}
