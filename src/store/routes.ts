import type { InferenceRoute, RouteName } from '../core/provider.ts'
import type { StoreContext } from './database.ts'
import type { RoutesTable } from './schema.ts'
import { damagedRow } from './trouble.ts'
import { holdWorkspace } from './workspaces.ts'

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
  context: StoreContext,
  route: InferenceRoute,
): Promise<InferenceRoute | null> {
  const row = await (route.version === 0
    ? insertRoute(context, route)
    : updateRoute(context, route))
  return row === undefined ? null : toRoute(row)
}

function insertRoute(
  context: StoreContext,
  route: InferenceRoute,
): Promise<RoutesTable | undefined> {
  const { workspace, name } = route
  return context.database.db.transaction().execute(async db => {
    await holdWorkspace(db, context, workspace)
    return db
      .insertInto('routes')
      .values({ workspace, name, ...contentOf(route) })
      .onConflict(conflict => conflict.columns(['workspace', 'name']).doNothing())
      .returningAll()
      .executeTakeFirst()
  })
}

function updateRoute(
  { database }: StoreContext,
  route: InferenceRoute,
): Promise<RoutesTable | undefined> {
  return database.db
    .updateTable('routes')
    .set(contentOf(route))
    .where('workspace', '=', route.workspace)
    .where('name', '=', route.name)
    .where('version', '=', route.version)
    .returningAll()
    .executeTakeFirst()
}

function contentOf(route: InferenceRoute) {
  return {
    provider_name: route.providerName,
    model_id: route.modelId,
    timeout_seconds: route.timeoutSeconds,
    version: route.version + 1,
  }
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
