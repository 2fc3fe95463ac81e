import { AppError } from '../core/errors.ts'
import { type StoreContext, wholeMs } from './database.ts'
import { waitForWriters } from './rekey.ts'

const MOVED = 'moved'

/**
 * Marks the store as moved away: from now on nothing is minted from it, whatever gateway tries. It can
 * still be read and exported.
 *
 * @throws AppError `failed_precondition` while a gateway mints, because what the vendor gives it then
 * could not be stored.
 */
export async function retireStore({ database, clock }: StoreContext): Promise<void> {
  const nowMs = wholeMs(clock.nowMs())
  await database.db.transaction().execute(async db => {
    await waitForWriters(db, database.kind)
    const claims = await db
      .selectFrom('credentials')
      .select(eb => eb.fn.countAll<number | string>().as('count'))
      .where('claimed_until_ms', '>', nowMs)
      .executeTakeFirstOrThrow()
    if (Number(claims.count) > 0) {
      throw new AppError('failed_precondition', `Refreshes are under way: ${claims.count}`, {
        hint: 'Stop the gateways and repeat this; after a gateway was killed it takes a minute',
      })
    }
    await db
      .insertInto('store_marks')
      .values({ name: MOVED, at_ms: nowMs })
      .onConflict(conflict => conflict.column('name').doNothing())
      .execute()
  })
}

/** Takes a store up again that was marked as moved away; answers whether it was. */
export async function reopenStore({ database }: StoreContext): Promise<boolean> {
  const deleted = await database.db
    .deleteFrom('store_marks')
    .where('name', '=', MOVED)
    .returning('name')
    .executeTakeFirst()
  return deleted !== undefined
}

/** When the store was marked as moved away; null when it was not. */
export async function movedAtMs({ database }: StoreContext): Promise<number | null> {
  const row = await database.db
    .selectFrom('store_marks')
    .select('at_ms')
    .where('name', '=', MOVED)
    .executeTakeFirst()
  return row?.at_ms ?? null
}

/**
 * A gateway on a store that was moved away could mint nothing.
 *
 * @throws AppError `failed_precondition`.
 */
export async function refuseMoved(context: StoreContext): Promise<void> {
  const atMs = await movedAtMs(context)
  if (atMs === null) return
  const when = new Date(atMs).toISOString()
  throw new AppError(
    'failed_precondition',
    `The store "${context.database.location}" was moved away at ${when}`,
    {
      hint: 'Start the gateway on the new store; "openshell store reopen" takes this one up again if nothing was minted from the new one',
    },
  )
}
