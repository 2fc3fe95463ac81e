import type { Kysely, SelectQueryBuilder } from 'kysely'
import { AppError } from '../core/errors.ts'
import type { SandboxRecord } from '../core/provider.ts'
import type { FullSandbox } from '../core/sandbox.ts'
import { Secret } from '../core/secret.ts'
import { type StoreContext, wholeMs } from './database.ts'
import { hasLabels, labelsText, parseLabels } from './labels.ts'
import { parseSettings, policyColumns, readPolicy, settingsText } from './policy-columns.ts'
import { putAttachments } from './sandbox-providers.ts'
import type { SandboxesTable, Schema } from './schema.ts'
import type { Sealer } from './seal.ts'
import type { Page } from './store.ts'
import { holdWorkspace } from './workspaces.ts'

/** See `Store.createSandbox`. */
export async function createSandbox(context: StoreContext, sandbox: FullSandbox): Promise<void> {
  await context.database.db.transaction().execute(async db => {
    await holdWorkspace(db, context, sandbox.workspace)
    const created = await db
      .insertInto('sandboxes')
      .values({
        id: sandbox.id,
        workspace: sandbox.workspace,
        name: sandbox.name,
        created_at_ms: wholeMs(sandbox.createdAtMs),
        version: 1,
        ...contentColumns(sandbox, context.sealer),
      })
      .onConflict(conflict => conflict.columns(['workspace', 'name']).doNothing())
      .returning('id')
      .executeTakeFirst()
    if (created === undefined) {
      throw new AppError('already_exists', `Sandbox "${sandbox.name}" exists already`)
    }
    await putAttachments(db, context, sandbox)
  })
}

/** See `Store.getSandbox`. */
export async function getSandbox(
  context: StoreContext,
  workspace: string,
  name: string,
): Promise<FullSandbox | null> {
  const found = selectSandboxes(context).where('workspace', '=', workspace).where('name', '=', name)
  const [sandbox] = await readSandboxes(context, found)
  return sandbox ?? null
}

/** See `Store.getSandboxById`. */
export async function getSandboxById(
  { database }: StoreContext,
  id: string,
): Promise<SandboxRecord | null> {
  const row = await database.db
    .selectFrom('sandboxes')
    .select(['id', 'workspace', 'name', 'created_at_ms'])
    .where('id', '=', id)
    .executeTakeFirst()
  return row === undefined ? null : toRecord(row)
}

/** See `Store.getFullSandbox`. */
export async function getFullSandbox(
  context: StoreContext,
  id: string,
): Promise<FullSandbox | null> {
  const [sandbox] = await readSandboxes(context, selectSandboxes(context).where('id', '=', id))
  return sandbox ?? null
}

/** See `Store.listSandboxes`. */
export async function listSandboxes(
  context: StoreContext,
  which: { readonly workspace: string | null; readonly labels: ReadonlyMap<string, string> },
  page: Page,
): Promise<readonly FullSandbox[]> {
  const { workspace, labels } = which
  const found = selectSandboxes(context)
    .$if(workspace !== null, query => query.where('workspace', '=', workspace))
    .where(eb => hasLabels(eb.ref('labels'), labels))
    .orderBy('name')
    .orderBy('workspace')
    .limit(page.limit)
    .offset(page.offset)
  return readSandboxes(context, found)
}

/** See `Store.updateSandbox`. */
export async function updateSandbox(
  context: StoreContext,
  sandbox: FullSandbox,
): Promise<FullSandbox | null> {
  const version = sandbox.version + 1
  return context.database.db.transaction().execute(async db => {
    const updated = await db
      .updateTable('sandboxes')
      .set({ version, ...contentColumns(sandbox, context.sealer) })
      .where('id', '=', sandbox.id)
      .where('version', '=', sandbox.version)
      .returning('id')
      .executeTakeFirst()
    if (updated === undefined) return null
    await putAttachments(db, context, sandbox)
    return { ...sandbox, version }
  })
}

/** See `Store.deleteSandbox`. */
export async function deleteSandbox(
  { database }: StoreContext,
  workspace: string,
  name: string,
): Promise<boolean> {
  const deleted = await database.db
    .deleteFrom('sandboxes')
    .where('workspace', '=', workspace)
    .where('name', '=', name)
    .returning('id')
    .executeTakeFirst()
  return deleted !== undefined
}

type SandboxQuery = SelectQueryBuilder<Schema, 'sandboxes', SandboxesTable>

function selectSandboxes({ database }: StoreContext): SandboxQuery {
  return database.db.selectFrom('sandboxes').selectAll()
}

/** Sandboxes and their providers in one statement, hence as of one instant. */
async function readSandboxes(
  {
    database,
    sealer,
  }: { readonly database: { readonly db: Kysely<Schema> }; readonly sealer: Sealer },
  found: SandboxQuery,
): Promise<readonly FullSandbox[]> {
  const rows = await database.db
    .selectFrom(found.as('sandbox'))
    .leftJoin('sandbox_providers as attached', 'attached.sandbox_id', 'sandbox.id')
    .leftJoin('providers as provider', 'provider.id', 'attached.provider_id')
    .selectAll('sandbox')
    .select('provider.name as provider_name')
    .orderBy('sandbox.name')
    .orderBy('sandbox.workspace')
    .orderBy('attached.position')
    .execute()
  const byId = Map.groupBy(rows, row => row.id)
  return [...byId.values()].flatMap(group => {
    const [row] = group
    if (row === undefined) return []
    const providers = group.flatMap(one => (one.provider_name === null ? [] : [one.provider_name]))
    return [toFullSandbox(row, providers, sealer)]
  })
}

function contentColumns(sandbox: FullSandbox, sealer: Sealer) {
  const spec = Buffer.from(sandbox.spec).toString('base64')
  return {
    labels: labelsText(sandbox.labels),
    annotations: labelsText(sandbox.annotations),
    settings: settingsText(sandbox.settings),
    spec_envelope: spec === '' ? null : sealer.seal(new Secret(spec), specContext(sandbox.id)),
    ...policyColumns(sandbox.policy),
    loaded_policy_version: sandbox.loadedPolicyVersion,
    main_process_id: sandbox.mainProcessId,
    exit_code: sandbox.exitCode,
  }
}

function toFullSandbox(
  row: SandboxesTable,
  providers: readonly string[],
  sealer: Sealer,
): FullSandbox {
  const what = `sandbox "${row.name}"`
  const envelope = row.spec_envelope
  const spec = envelope === null ? '' : sealer.unseal(envelope, specContext(row.id)).reveal()
  return {
    ...toRecord(row),
    labels: parseLabels(row.labels, what),
    annotations: parseLabels(row.annotations, what),
    spec: new Uint8Array(Buffer.from(spec, 'base64')),
    providers,
    policy: readPolicy(row),
    settings: parseSettings(row.settings, what),
    loadedPolicyVersion: row.loaded_policy_version,
    mainProcessId: row.main_process_id,
    exitCode: row.exit_code,
    version: row.version,
  }
}

function toRecord(
  row: Pick<SandboxesTable, 'id' | 'workspace' | 'name' | 'created_at_ms'>,
): SandboxRecord {
  return {
    id: row.id,
    workspace: row.workspace,
    name: row.name,
    createdAtMs: row.created_at_ms,
  }
}

/** Where a spec belongs; its envelope opens nowhere else. */
export function specContext(sandboxId: string): string {
  return `sandbox/${sandboxId}/spec`
}
