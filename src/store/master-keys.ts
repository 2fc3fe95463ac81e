import type { Kysely } from 'kysely'
import { AppError } from '../core/errors.ts'
import { Secret } from '../core/secret.ts'
import { type StoreContext, wholeMs } from './database.ts'
import { RETIRED_KEY_WORDS } from './fences.ts'
import { gatewaySecretContext, getGatewaySecret, putGatewaySecret } from './gateway-secrets.ts'
import type { KeysInUse } from './key-ring.ts'
import type { Schema } from './schema.ts'
import { type Sealer, sealedBy } from './seal.ts'
import { damagedRow } from './trouble.ts'

/** The gateway secret that only the right master key opens; the key that sealed it seals the rest. */
export const CHECK_NAME = 'master-key-check'

/** Seals the check of a new database; of several gateways that make one at once, the first does. */
export async function sealCheck(context: StoreContext): Promise<void> {
  await putGatewaySecret(context, CHECK_NAME, new Secret(CHECK_NAME))
}

/** The check under the key that seals now. */
export function freshCheck(sealer: Sealer): { readonly name: string; readonly envelope: string } {
  const envelope = sealer.seal(new Secret(CHECK_NAME), gatewaySecretContext(CHECK_NAME))
  return { name: CHECK_NAME, envelope }
}

/** What the database says about its master keys; null when none has sealed anything yet. */
export async function readKeysInUse(
  db: Kysely<Schema>,
  schema: { readonly hasRetiredKeys: boolean },
): Promise<KeysInUse | null> {
  const check = await db
    .selectFrom('gateway_secrets')
    .select('envelope')
    .where('name', '=', CHECK_NAME)
    .executeTakeFirst()
  if (check === undefined) return null
  const sealing = sealedBy(check.envelope)
  if (sealing === null) throw damagedRow(`gateway secret "${CHECK_NAME}"`)
  const retired = schema.hasRetiredKeys
    ? await db.selectFrom('retired_master_keys').selectAll().orderBy('retired_at_ms').execute()
    : []
  return {
    sealing,
    leaving: retired.filter(row => row.emptied_at_ms === null).map(row => row.id),
    emptied: retired.filter(row => row.emptied_at_ms !== null).map(row => row.id),
  }
}

/**
 * Seals with the key that the database names from now on.
 *
 * @throws AppError `wrong_master_key` when a key that is needed is not held.
 */
export async function followKeys(
  context: StoreContext,
  schema: { readonly hasRetiredKeys: boolean } = { hasRetiredKeys: true },
): Promise<void> {
  const { database, ring } = context
  const said = await readKeysInUse(database.db, schema)
  if (said === null) return
  try {
    ring.follow(said)
    await getGatewaySecret(context, CHECK_NAME)
  } catch (error) {
    if (!(error instanceof AppError && error.code === 'wrong_master_key')) throw error
    const message = `The master key does not open the database "${database.location}"`
    throw new AppError('wrong_master_key', message, { hint: error.hint, cause: error })
  }
}

/**
 * Runs a piece of database work; when the key that it sealed with was retired meanwhile, nothing of it
 * was kept, and it runs once more with the new one.
 */
export async function underCurrentKey<T>(
  context: StoreContext,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof Error && error.message.includes(RETIRED_KEY_WORDS))) throw error
  }
  await followKeys(context)
  return work()
}

/** How long a gateway that said nothing is taken to be at work. */
const GATEWAY_SEEN_FOR_MS = 60_000

/** After this long the row of a gateway that was killed is taken away. */
const GATEWAY_FORGOTTEN_MS = 86_400_000

/** See `Store.announce`. */
export async function announce(context: StoreContext, gateway: string): Promise<void> {
  const { database, ring, clock } = context
  const trouble = await ring.reload().then(
    () => null,
    (error: unknown) => error,
  )
  const row = { master_key_ids: ring.ids().join(' '), seen_at_ms: wholeMs(clock.nowMs()) }
  await database.db
    .insertInto('gateways')
    .values({ id: gateway, ...row })
    .onConflict(conflict => conflict.column('id').doUpdateSet(row))
    .execute()
  await database.db
    .deleteFrom('gateways')
    .where('seen_at_ms', '<', row.seen_at_ms - GATEWAY_FORGOTTEN_MS)
    .execute()
  await followKeys(context)
  if (trouble !== null) throw trouble
}

/** See `Store.withdraw`. */
export async function withdraw({ database }: StoreContext, gateway: string): Promise<void> {
  await database.db.deleteFrom('gateways').where('id', '=', gateway).execute()
}

/** A gateway that said lately that it is at work. */
export interface GatewayAtWork {
  readonly id: string
  readonly masterKeyIds: readonly string[]
  readonly seenAtMs: number
}

/** The gateways that are at work on this database, as far as they say. */
export async function gatewaysAtWork(
  db: Kysely<Schema>,
  nowMs: number,
): Promise<readonly GatewayAtWork[]> {
  const rows = await db
    .selectFrom('gateways')
    .selectAll()
    .where('seen_at_ms', '>', wholeMs(nowMs - GATEWAY_SEEN_FOR_MS))
    .orderBy('id')
    .execute()
  return rows.map(row => ({
    id: row.id,
    masterKeyIds: row.master_key_ids.split(' '),
    seenAtMs: row.seen_at_ms,
  }))
}
