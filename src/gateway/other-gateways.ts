import type { Change, ChangeCounts, Store } from '../store/store.ts'
import type { Clock } from '../system/clock.ts'
import type { Log } from '../system/log.ts'
import type { Delivery } from './delivery.ts'
import type { Identity } from './identity.ts'
import type { Reporting } from './reporting.ts'
import { tellRouterCounts } from './router-counts.ts'

/** The refresh task looks at most this often for what others have made due. */
const WAKE_MS = 1_000

/** Whom a change at another gateway concerns here. */
export interface OtherGatewaysDeps {
  readonly store: Store
  readonly clock: Clock
  readonly log: Log
  /** Names this gateway in the store. */
  readonly gateway: string
  readonly identity: Pick<Identity, 'forget'>
  readonly delivery: Pick<Delivery, 'changed' | 'dismiss' | 'sandboxIds' | 'counts'>
  readonly task: { wake(): void }
  readonly reporting: Pick<Reporting, 'changedElsewhere'>
}

/**
 * Works beside other gateways on the same database: tells them of this one's routers, and carries what
 * they change to this one's routers, refresh task and metrics, until the signal aborts. What this gateway
 * changes itself has been told already; its routers are told again all the same, for an answer of the
 * database may have been lost.
 */
export async function workBesideOthers(
  deps: OtherGatewaysDeps,
  since: ChangeCounts,
  signal: AbortSignal,
): Promise<void> {
  const { store, log, delivery, reporting } = deps
  const wake = atMostEvery(deps.clock, WAKE_MS, { work: () => deps.task.wake(), signal })
  const changed = (change: Change): void => {
    if (change.kind === 'sandboxes') {
      void dismissDeleted(deps, change)
      return
    }
    delivery.changed(change.workspace)
    if (change.isOwn) return
    wake()
    reporting.changedElsewhere(change)
  }
  const listener = {
    changed,
    lost: (error: Error) => log.warn('changes.lost', { error }),
    found: () => log.info('changes.found'),
  }
  await Promise.all([
    store.followChanges(since, listener, signal),
    store.isShared && tellRouterCounts(deps, delivery.counts, signal),
  ])
}

/** Ends the streams of sandboxes that were deleted. */
async function dismissDeleted(
  { store, log, identity, delivery }: OtherGatewaysDeps,
  { workspace, id }: Change,
): Promise<void> {
  identity.forget(id)
  if (id !== null) return delivery.dismiss({ workspace, id })
  try {
    for (const one of delivery.sandboxIds(workspace)) {
      if ((await store.getSandboxById(one)) === null) delivery.dismiss({ workspace, id: one })
    }
  } catch (error) {
    // Whoever asks anew is asked for a sandbox that exists.
    log.warn('sandboxes.unchecked', { workspace, error })
  }
}

/** Does the work at once, and again for whatever was wanted meanwhile, but no more often than that. */
function atMostEvery(
  clock: Clock,
  ms: number,
  { work, signal }: { readonly work: () => void; readonly signal: AbortSignal },
): () => void {
  let isResting = false
  let isWanted = false
  const begin = (): void => {
    isWanted = false
    isResting = true
    work()
    void clock.sleep(ms, signal).then(() => {
      isResting = false
      if (isWanted && !signal.aborted) begin()
    })
  }
  return () => {
    if (isResting) isWanted = true
    else begin()
  }
}
