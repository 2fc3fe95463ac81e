import type { Secret } from '../core/secret.ts'
import type { StoreContext } from './database.ts'
import { damagedRow } from './trouble.ts'

/** See `Store.getGatewaySecret`. */
export async function getGatewaySecret(
  { database, sealer }: StoreContext,
  name: string,
): Promise<Secret | null> {
  const row = await database.db
    .selectFrom('gateway_secrets')
    .select('envelope')
    .where('name', '=', name)
    .executeTakeFirst()
  return row === undefined ? null : sealer.unseal(row.envelope, gatewaySecretContext(name))
}

/** See `Store.putGatewaySecret`. Of several gateways that store at once, all answer the first's. */
export async function putGatewaySecret(
  context: StoreContext,
  name: string,
  value: Secret,
): Promise<Secret> {
  await context.database.db
    .insertInto('gateway_secrets')
    .values({ name, envelope: context.sealer.seal(value, gatewaySecretContext(name)) })
    .onConflict(conflict => conflict.column('name').doNothing())
    .execute()
  const standing = await getGatewaySecret(context, name)
  if (standing === null) throw damagedRow(`gateway secret "${name}"`)
  return standing
}

/** Where a secret of the gateway's own belongs; its envelope opens nowhere else. */
export function gatewaySecretContext(name: string): string {
  return `gateway/${name}`
}
