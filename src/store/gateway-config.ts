import type { GatewayConfigRecord } from '../core/sandbox.ts'
import type { StoreContext } from './database.ts'
import { parseSettings, policyColumns, readPolicy, settingsText } from './policy-columns.ts'

/** The only row's name. */
const NAME = 'gateway'

/** See `Store.getGatewayConfig`. */
export async function getGatewayConfig({ database }: StoreContext): Promise<GatewayConfigRecord> {
  const row = await database.db
    .selectFrom('gateway_config')
    .selectAll()
    .where('name', '=', NAME)
    .executeTakeFirst()
  if (row === undefined) return { settings: new Map(), policy: null, revision: 0 }
  return {
    settings: parseSettings(row.settings, 'the gateway settings'),
    policy: readPolicy(row),
    revision: row.revision,
  }
}

/** See `Store.saveGatewayConfig`. */
export async function saveGatewayConfig(
  { database }: StoreContext,
  config: GatewayConfigRecord,
): Promise<GatewayConfigRecord | null> {
  const revision = config.revision + 1
  const content = {
    settings: settingsText(config.settings),
    ...policyColumns(config.policy),
    revision,
  }
  const saved =
    config.revision === 0
      ? await database.db
          .insertInto('gateway_config')
          .values({ name: NAME, ...content })
          .onConflict(conflict => conflict.column('name').doNothing())
          .returning('revision')
          .executeTakeFirst()
      : await database.db
          .updateTable('gateway_config')
          .set(content)
          .where('name', '=', NAME)
          .where('revision', '=', config.revision)
          .returning('revision')
          .executeTakeFirst()
  return saved === undefined ? null : { ...config, revision }
}
