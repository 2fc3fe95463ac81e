import type { Kysely } from 'kysely'
import type { Secret } from '../core/secret.ts'
import type { Schema } from './schema.ts'
import type { Sealer } from './seal.ts'

/** Where a piece of credential material belongs; its envelope opens nowhere else. */
export function materialContext(providerId: string, key: string): string {
  return `provider/${providerId}/${key}`
}

/** Seals and stores material; a key that is there already gets the new value. */
export async function putMaterial(
  { db, sealer }: { readonly db: Kysely<Schema>; readonly sealer: Sealer },
  providerId: string,
  material: ReadonlyMap<string, Secret>,
): Promise<void> {
  if (material.size === 0) return
  const rows = [...material].map(([key, secret]) => ({
    provider_id: providerId,
    key,
    envelope: sealer.seal(secret, materialContext(providerId, key)),
  }))
  await db
    .insertInto('provider_secrets')
    .values(rows)
    .onConflict(conflict =>
      conflict
        .columns(['provider_id', 'key'])
        .doUpdateSet(eb => ({ envelope: eb.ref('excluded.envelope') })),
    )
    .execute()
}
