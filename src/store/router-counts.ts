import { type StoreContext, wholeMs } from './database.ts'
import { parseJsonObject } from './json.ts'
import type { RouterCounts } from './store.ts'

/** A gateway that said nothing for this long has no routers any more. */
const FADED_MS = 15_000

/** What a dead gateway left is taken away after this long. */
const FORGOTTEN_MS = 60_000

/** See `Store.saveRouterCounts`. */
export async function saveRouterCounts(
  { database: { db }, clock }: StoreContext,
  gateway: string,
  counts: ReadonlyMap<string, RouterCounts>,
): Promise<void> {
  const seenAtMs = wholeMs(clock.nowMs())
  const rows = [...counts].map(([workspace, one]) => ({
    gateway_id: gateway,
    workspace,
    counts: JSON.stringify(Object.fromEntries(one)),
    seen_at_ms: seenAtMs,
  }))
  const gone = rows.filter(row => row.counts === '{}').map(row => row.workspace)
  const there = rows.filter(row => row.counts !== '{}')
  if (gone.length > 0) {
    await db
      .deleteFrom('gateway_routers')
      .where('gateway_id', '=', gateway)
      .where('workspace', 'in', gone)
      .execute()
  }
  if (there.length === 0) return
  await db
    .insertInto('gateway_routers')
    .values(there)
    .onConflict(conflict =>
      conflict.columns(['gateway_id', 'workspace']).doUpdateSet(eb => ({
        counts: eb.ref('excluded.counts'),
        seen_at_ms: eb.ref('excluded.seen_at_ms'),
      })),
    )
    .execute()
}

/** See `Store.confirmRouterCounts`. */
export async function confirmRouterCounts(
  { database: { db }, clock }: StoreContext,
  gateway: string,
): Promise<number> {
  const nowMs = wholeMs(clock.nowMs())
  const confirmed = await db
    .updateTable('gateway_routers')
    .set({ seen_at_ms: nowMs })
    .where('gateway_id', '=', gateway)
    .returning('workspace')
    .execute()
  await db
    .deleteFrom('gateway_routers')
    .where('seen_at_ms', '<', nowMs - FORGOTTEN_MS)
    .execute()
  return confirmed.length
}

/** See `Store.listRouterCounts`. */
export async function listRouterCounts(
  { database: { db }, clock }: StoreContext,
  { workspace, except }: { readonly workspace: string; readonly except: string },
): Promise<readonly RouterCounts[]> {
  const rows = await db
    .selectFrom('gateway_routers')
    .select('counts')
    .where('workspace', '=', workspace)
    .where('gateway_id', '!=', except)
    .where('seen_at_ms', '>=', wholeMs(clock.nowMs()) - FADED_MS)
    .execute()
  return rows.map(row => {
    const counts = Object.entries(parseJsonObject(row.counts, 'the routers of a gateway'))
    return new Map(counts.map(([revision, count]) => [revision, Number(count)]))
  })
}
