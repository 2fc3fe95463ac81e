import type { InferenceRoute, RouteName } from '../core/provider.ts'
import type { StoreContext } from './database.ts'
import type { RoutesTable } from './schema.ts'
import { damagedRow } from './trouble.ts'

const ROUTE_NAMES = ['inference.local', 'sandbox-system'] as const

/** See `Store.getRoute`. */
export async function getRoute(
  { database }: StoreContext,
  workspace: string,
  name: RouteName,
): Promise<InferenceRoute | null> {
  const row = await database.db
    .selectFrom('routes')
    .selectAll()
    .where('workspace', '=', workspace)
    .where('name', '=', name)
    .executeTakeFirst()
  return row === undefined ? null : toRoute(row)
}

/** See `Store.listRoutes`. */
export async function listRoutes(
  { database }: StoreContext,
  workspace: string,
): Promise<readonly InferenceRoute[]> {
  const rows = await database.db
    .selectFrom('routes')
    .selectAll()
    .where('workspace', '=', workspace)
    .orderBy('name')
    .execute()
  return rows.map(toRoute)
}

/** See `Store.listRouteWorkspaces`. */
export async function listRouteWorkspaces({ database }: StoreContext): Promise<readonly string[]> {
  const rows = await database.db
    .selectFrom('routes')
    .select('workspace')
    .distinct()
    .orderBy('workspace')
    .execute()
  return rows.map(row => row.workspace)
}

/** See `Store.saveRoute`. */
export async function saveRoute(
  { database }: StoreContext,
  route: InferenceRoute,
): Promise<InferenceRoute | null> {
  const content = {
    provider_name: route.providerName,
    model_id: route.modelId,
    timeout_seconds: route.timeoutSeconds,
    version: route.version + 1,
  }
  const { workspace, name } = route
  const row =
    route.version === 0
      ? await database.db
          .insertInto('routes')
          .values({ workspace, name, ...content })
          .onConflict(conflict => conflict.columns(['workspace', 'name']).doNothing())
          .returningAll()
          .executeTakeFirst()
      : await database.db
          .updateTable('routes')
          .set(content)
          .where('workspace', '=', workspace)
          .where('name', '=', name)
          .where('version', '=', route.version)
          .returningAll()
          .executeTakeFirst()
  return row === undefined ? null : toRoute(row)
}

/** See `Store.deleteRoute`. */
export async function deleteRoute(
  { database }: StoreContext,
  workspace: string,
  name: RouteName,
): Promise<boolean> {
  const deleted = await database.db
    .deleteFrom('routes')
    .where('workspace', '=', workspace)
    .where('name', '=', name)
    .returning('name')
    .executeTakeFirst()
  return deleted !== undefined
}

function toRoute(row: RoutesTable): InferenceRoute {
  const name = ROUTE_NAMES.find(one => one === row.name)
  if (name === undefined) throw damagedRow(`route "${row.name}" of workspace "${row.workspace}"`)
  return {
    workspace: row.workspace,
    name,
    providerName: row.provider_name,
    modelId: row.model_id,
    timeoutSeconds: row.timeout_seconds,
    version: row.version,
  }
}
